#!/usr/bin/env bash
# The main job, whole: the built-in Earth on two grids, from preparation to one report. About 8 minutes on 2 cores.
set -euo pipefail
export DATA_ROOT="${DATA_ROOT:-stores}" OUTPUT_ROOT="${OUTPUT_ROOT:-runs}"
started=$SECONDS
folders=()
for grid in raster:0.1deg healpix:256; do
  graticule prepare experiment=earth_small source.grid="$grid" --overwrite
  graticule train experiment=earth_small source.grid="$grid" run.name="demo-${grid%%:*}" | tee .demo.log
  run=$(tail -n 1 .demo.log)
  rm .demo.log
  python benchmarks/baselines.py "$run"
  graticule predict "$run"
  folders+=("$run")
done
echo "The demo took $((SECONDS - started)) s. Open this page in a browser:"
graticule report "${folders[@]}"
