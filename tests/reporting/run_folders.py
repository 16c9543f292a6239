"""Synthetic run folders in the form that training, evaluation and prediction leave behind."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from graticule.runs import Run

CLASSES = ("water", "forest", "shrub", "savanna", "grass", "wetland", "crop", "urban", "ice", "barren")
COLOURS = "#2b5d8a #1e6b3a #a8955a #c2b04e #8fbf5a #4fa3a0 #e0a43a #b23a48 #e8f1f5 #c9b79c".split()
LEGEND = [{"value": k, "name": n, "colour": c} for k, (n, c) in enumerate(zip(CLASSES, COLOURS, strict=True))]
REGIONS = [f"{a} {b}" for a in ("north", "tropics", "south") for b in ("americas", "europe-africa", "asia-pacific")]


def synthetic_maps(height: int = 90, width: int = 180) -> dict[str, np.ndarray]:
    """A made-up Earth: input, labels and heights of a plate carrée, smooth enough to look at."""
    lat = np.linspace(90, -90, height)[:, None] + np.zeros((1, width))
    lon = np.linspace(-180, 180, width)[None] + np.zeros((height, 1))
    relief = np.sin(np.radians(lon * 2)) * np.cos(np.radians(lat * 3)) + 0.4 * np.sin(np.radians(5 * lon + 3 * lat))
    labels = np.where(relief < 0.2, 0, 1 + np.clip((90 - np.abs(lat)) // 10, 0, 8)).astype(np.uint8)
    labels[:2] = 255
    heights = np.where(relief < 0.2, np.nan, 1800 * relief).astype(np.float32)
    rgb = np.stack([120 + 60 * relief, 100 + 40 * np.cos(np.radians(lat)), 140 - 50 * relief], -1)
    return {"rgb": np.clip(rgb, 0, 255).astype(np.uint8), "landcover": labels, "height": heights}


def make_run(
    folder: Path,
    name: str = "quiet-fjord-27",
    seed: int = 42,
    *,
    grid: str = "raster:0.1deg",
    maps: dict[str, np.ndarray] | None = None,
    skill: float = 0.8,
) -> Path:
    """A finished run with every file that a report reads; `skill` is the share of right pixels."""
    run, rng = Run(folder), np.random.Generator(np.random.Philox(key=seed))
    maps = maps or synthetic_maps()
    run.update_manifest(
        name=name, id=f"abcd{seed:04d}", seed=seed, state="finished",
        created="2026-05-04T10:00:00+00:00", finished="2026-05-04T10:03:20+00:00",
    )  # fmt: skip
    run.config.write_text(
        f"run:\n  name: {json.dumps(name)}\n  seed: {seed}\nmodel:\n  _target_: graticule.models.unet.UNet\n"
        f"source:\n  grid: {grid}\ndata:\n  store: stores/earth\n"
        "split:\n  method: block\n  by: 15\n  shares: [0.7, 0.15, 0.15]\n  seed: 1529\n"
    )
    _logs(run, rng)
    _split(run)
    predicted = _predicted(maps, rng, skill)
    _evaluation(run, maps, predicted, rng, grid)
    run.predictions.mkdir()
    written = json.dumps({"kind": "raster", "height": maps["rgb"].shape[0], "width": maps["rgb"].shape[1],
                          "transform": [360 / maps["rgb"].shape[1], 0, -180, 0, -180 / maps["rgb"].shape[0], 90],
                          "crs": "EPSG:4326"})  # fmt: skip
    np.savez_compressed(
        run.predictions / "overview.npz", rgb=maps["rgb"], grid=np.array(written), **_pairs(maps, predicted)
    )
    (folder / "runtime_tags.20260504_100000.log").write_text(json.dumps({"python": "3.11.9", "cpus": 2}))
    (folder / "installed_pkgs.20260504_100000.log").write_text("numpy==2.4.6\npandas==3.1.1\n")
    linear = {"accuracy": 0.80, "iou": 0.28, "interval": {"accuracy": [0.78, 0.82], "iou": [0.25, 0.31]}}
    trees = {"accuracy": 0.91, "iou": 0.47, "interval": {"accuracy": [0.90, 0.925], "iou": [0.44, 0.50]}}
    (folder / "baselines.json").write_text(json.dumps({"linear": linear, "boosted trees": trees}))
    return folder


def _split(run: Run) -> None:
    codes = np.random.RandomState(1529).choice(3, size=(12, 24), p=[0.7, 0.15, 0.15])
    parts = np.array(["train", "val", "test"])[codes.ravel()]
    names = [f"r{k // 24:02d}c{k % 24:02d}" for k in range(codes.size)]
    table = pa.Table.from_pandas(pd.DataFrame({"sample": names, "part": parts}))
    note = json.dumps({"blocks": {"degrees": 15.0, "parts": codes.tolist()}}).encode()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"graticule": note}), run.assignment)
    nothing = {"ground_pixels": 0, "content_samples": 0, "constant_samples": 3, "parents": 0, "examples": []}
    pairs = dict.fromkeys(("train/val", "train/test", "val/test"), nothing)
    run.audit.write_text(json.dumps({"leaks": False, "summary": "no two parts share anything", "pairs": pairs}))


def _pairs(maps: dict[str, np.ndarray], predicted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    truth = {f"{name}/truth": maps[name] for name in predicted}
    return truth | {f"{name}/prediction": values for name, values in predicted.items()}


def _predicted(maps: dict[str, np.ndarray], rng: np.random.Generator, skill: float) -> dict[str, np.ndarray]:
    labels, shape = maps["landcover"], maps["landcover"].shape
    patches = np.kron(rng.random((shape[0] // 6 + 1, shape[1] // 6 + 1)), np.ones((6, 6)))[: shape[0], : shape[1]]
    guess = rng.integers(1, 10, shape).astype(np.uint8)
    wrong = (patches > skill) & (labels != 0)
    heights = 0.8 * maps["height"] + rng.normal(0, 120, shape).astype(np.float32)
    return {"landcover": np.where(wrong, guess, np.where(labels == 255, 0, labels)), "height": heights}


def _logs(run: Run, rng: np.random.Generator) -> None:
    steps = np.arange(1, 601)
    fall = 0.4 + 1.9 * np.exp(-steps / 120)
    rows = pd.DataFrame({"step": steps, "epoch": steps // 60, "train/loss": fall + rng.normal(0, 0.05, 600),
                         "lr": 1e-3 * (1 + np.cos(np.pi * steps / 600)) / 2})  # fmt: skip
    ends = steps % 60 == 0
    for name, values in {"val/loss": 1.08 * fall, "val/iou": 0.55 - fall / 5, "val/accuracy": 1 - fall / 9,
                         "val/height/mae": 180 + 90 * fall}.items():  # fmt: skip
        rows[name] = np.where(ends, values, np.nan)
    rows.to_csv(run.metrics, index=False)
    speed = pd.DataFrame({"step": steps[::20], "samples_per_second": 31 + rng.normal(0, 1.5, 30),
                          "waiting_share": 0.02 + 0.01 * rng.random(30)})  # fmt: skip
    speed.to_csv(run.throughput, index=False)


def _evaluation(
    run: Run, maps: dict[str, np.ndarray], predicted: dict[str, np.ndarray], rng: np.random.Generator, grid: str
) -> None:
    truth, guess = maps["landcover"].ravel(), predicted["landcover"].ravel()
    known = truth != 255
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (truth[known], guess[known]), 1)
    hits, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, precision, recall = hits / union, hits / counts.sum(0), hits / counts.sum(1)
        f1 = 2 * hits / (counts.sum(0) + counts.sum(1))
    accuracy = float(hits.sum() / counts.sum())
    means = {"iou": float(np.nanmean(iou)), "f1": float(np.nanmean(f1))}
    metrics = {"accuracy": accuracy, **means, "kappa": accuracy - 0.1, "calibration_error": 0.031}
    for family, values in {"iou": iou, "precision": precision, "recall": recall, "f1": f1}.items():
        metrics |= {f"{family}/{name}": float(value) for name, value in zip(CLASSES, values, strict=True)}
    intervals = {m: [v - 0.02 - 0.02 * rng.random(), v + 0.03] for m, v in metrics.items() if v == v}

    def wobble() -> dict[str, float]:
        return {m: metrics[m] - 0.15 * rng.random() for m in ("accuracy", "iou", "f1")}

    confidence = [0.05 + 0.1 * k for k in range(10)]
    landcover = {
        "kind": "classes", "legend": LEGEND, "unit": None, "metrics": metrics, "intervals": intervals,
        "by_region": {name: wobble() for name in REGIONS},
        "by_parent": {f"r{k:02d}c{3 * k:02d}": wobble() for k in range(8)},
        "by_latitude": {f"{low}..{low + 15}": wobble() for low in range(-90, 90, 15)}, "confusion": counts.tolist(),
        "calibration": {"bins": [k / 10 for k in range(11)], "confidence": confidence,
                        "accuracy": [0.0, 0.0, 0.21, 0.30, 0.41, 0.49, 0.60, 0.69, 0.80, 0.97],
                        "weight": [0.0, 0.0, 2.0, 6.0, 11.0, 13.0, 14.0, 22.0, 40.0, 300.0]},
    }  # fmt: skip
    height = {"kind": "height", "legend": [], "unit": "m",
              "metrics": {"mae": 312.5, "rmse": 498.0, "absrel": 0.61, "delta1": 0.31},
              "intervals": {"mae": [290.1, 339.9]},
              "by_region": {name: {"mae": 250 + 200 * rng.random(), "rmse": 500.0} for name in REGIONS}}  # fmt: skip
    folder = run.evaluation("test", "store")
    folder.mkdir(parents=True)
    content = {"part": "test", "grid": grid, "checkpoint": "checkpoints/best.ckpt", "area_weighted": True,
               "targets": {"landcover": landcover, "height": height},
               "baseline": {"majority": {"accuracy": 0.718, "iou": 0.0718, "f1": 0.084, "kappa": 0.0}},
               "seconds": 12.4, "pixels": 1_240_000}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(content))
    np.savez_compressed(folder / "examples.npz", **_examples(maps, predicted))


def _examples(maps: dict[str, np.ndarray], predicted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    side = maps["rgb"].shape[0] // 8
    corners = [(side * (1 + k % 5), side * (2 * k % 11)) for k in range(6)]

    def cut(array: np.ndarray) -> np.ndarray:
        return np.stack([array[r : r + side, c : c + side] for r, c in corners])

    arrays = {"rgb": cut(maps["rgb"]), "sample_id": np.array([f"r{r}c{c}" for r, c in corners])}
    return arrays | {key: cut(value) for key, value in _pairs(maps, predicted).items()}
