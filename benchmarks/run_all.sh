#!/usr/bin/env bash
# Measure everything. Each line: a figure, its ratio in this run, its goal. About 25 minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")"
for name in store_read loader metrics resampling projection prediction training_step rendering climate_events studies terrain augmentation preparation scene_prediction; do
  echo "== $name"
  python "$name.py"
done
