"""What a net must beat: a linear model on colours, and boosted trees on colours and texture, on a run's own split.

Usage: python benchmarks/baselines.py RUN [--pixels N] [--iterations N]

Same grid, same training and test pixels, same weights by area, same intervals over parents as the run's evaluation.
The trees see the mean and the standard deviation of each colour in squares of 3, 9 and 27 pixels, across the borders
of the split. Where the run's store has bands of texture, trees on these very bands are a third baseline. Writes
`baselines.json` into the run folder, where the report finds it. For runs on the built-in Earth with a split by blocks.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.ndimage import distance_transform_edt, uniform_filter
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graticule.data.prepare import RasterScene
from graticule.data.sources.earth import LANDCOVER, EarthSource
from graticule.data.splits import Assignment
from graticule.grids.healpix import HealpixGrid
from graticule.grids.windows import healpix_halo, morton_inverse
from graticule.objectives.metrics import bootstrap, metrics
from graticule.objectives.sums import class_sums
from graticule.runs import find_run, write_json
from graticule.schema import IGNORE

SIDES = (3, 9, 27)


def texture(x: np.ndarray, mode: str) -> np.ndarray:
    """[bands, h, w] → [features, h, w]: the bands, and their mean and standard deviation in each square."""
    layers = [*x]
    for band in x:
        for side in SIDES:
            mean = uniform_filter(band, side, mode=["nearest", mode])
            square = uniform_filter(band * band, side, mode=["nearest", mode])
            layers += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return np.stack(layers)


def features(source: EarthSource) -> np.ndarray:
    """[pixels, features] of the whole Earth on the source's grid."""
    x = source.fields.x.astype(np.float32) / 255
    if not isinstance(source.grid, HealpixGrid):
        return texture(x, "wrap").reshape(-1, source.grid.size).T
    side, halo, rows = source.side, max(SIDES) // 2, []
    for start in range(0, source.grid.size, side * side):
        cells = healpix_halo(source.grid.nside, start, side, halo)
        nearest = distance_transform_edt(cells < 0, return_distances=False, return_indices=True)
        square = texture(x[:, cells[tuple(nearest)]], "nearest")[:, halo:-halo, halo:-halo]
        rows.append(square.reshape(len(square), -1)[:, morton_inverse(side)].T)
    return np.concatenate(rows)


def own_bands(source: EarthSource) -> np.ndarray:
    """[pixels, bands] of the whole Earth as the run's store has them, texture among them."""
    reader = source.read_scene()
    if not isinstance(reader, RasterScene):
        return reader.cells(np.arange(source.grid.size)).T
    height, width = source.grid.shape
    strips = [reader.read(row, 0, min(300, height - row), width)[0] for row in range(0, height, 300)]
    return np.concatenate(strips, axis=1).reshape(len(source.bands), -1).T


def score(model: object, table: np.ndarray, truth: np.ndarray, area: np.ndarray, parent: np.ndarray) -> dict:
    """Metrics and intervals over parents, with every pixel weighted by its area."""
    scores = model.predict_proba(table)  # type: ignore[attr-defined]
    full = np.zeros((len(truth), len(LANDCOVER.legend)), np.float32)
    full[:, model.classes_] = scores  # type: ignore[attr-defined]
    groups, index = np.unique(parent, return_inverse=True)
    sums = class_sums(
        torch.from_numpy(full.T[None].copy()), torch.from_numpy(truth[None].astype(np.int64)),
        torch.ones(1, len(truth), dtype=torch.bool), torch.from_numpy(area[None].astype(np.float32)),
        torch.from_numpy(index[None].astype(np.int64)), len(groups),
    )  # fmt: skip
    names = [entry.name for entry in LANDCOVER.legend]
    return {"metrics": metrics("classes", sums, names), "intervals": bootstrap("classes", sums, names=names)}


def parents(source: EarthSource) -> np.ndarray:
    """Number of the parent of each pixel, flat."""
    if isinstance(source.grid, HealpixGrid):
        return np.arange(source.grid.size) // source.side**2
    height, width = source.grid.shape
    block = width // 24
    return (np.arange(height)[:, None] // block * 24 + np.arange(width)[None] // block).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pixels", type=int, default=100_000, help="training pixels, rare classes drawn more often")
    parser.add_argument("--iterations", type=int, default=60, help="boosting rounds of the trees")
    given = parser.parse_args()
    run = find_run(given.run)
    config = yaml.safe_load(run.config.read_text())
    source = EarthSource(**{key: value for key, value in config["source"].items() if key != "name"})
    blocks = Assignment.load(run.assignment).blocks
    if blocks is None:
        parser.error("the run's split is not by blocks")
    part = blocks.at(*source.grid.lonlat()).ravel()
    truth, area = source.fields.y.ravel(), source.grid.areas().ravel()
    table, known = features(source), truth != IGNORE
    train, test = np.flatnonzero(known & (part == 0)), np.flatnonzero(known & (part == 2))
    share = np.bincount(truth[train], area[train], len(LANDCOVER.legend))
    chance = area[train] / np.sqrt(share[truth[train]])
    drawn = np.random.default_rng(0).choice(train, min(given.pixels, len(train)), p=chance / chance.sum())
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    trees = HistGradientBoostingClassifier(max_iter=given.iterations, max_leaf_nodes=63, l2_regularization=1.0)
    found = {}
    models = [("linear on colour", linear, table[:, :3]), ("trees on texture", trees, table)]
    if source.texture:
        models.append(("trees on the net's bands", clone(trees), own_bands(source)))
    for name, model, inputs in models:
        started = time.perf_counter()
        model.fit(inputs[drawn], truth[drawn])
        result = score(model, inputs[test], truth[test], area[test], parents(source)[test])
        found[name] = {"target": "landcover", "part": "test", **result, "seconds": time.perf_counter() - started}
        short = {key: round(result["metrics"][key], 4) for key in ("accuracy", "iou")}
        print(f"{name}: {json.dumps(short)} in {found[name]['seconds']:.0f} s")
    write_json(run.folder / "baselines.json", found)


if __name__ == "__main__":
    main()
