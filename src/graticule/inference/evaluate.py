"""Evaluation: prediction plus sums, on the samples' own pixels, their scenes' grids, or any other grid."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graticule.data.datamodule import DataModule
from graticule.data.splits import Part
from graticule.files import whole_file
from graticule.grids import Grid, parse_grid
from graticule.inference.examples import Examples
from graticule.inference.exchange import Canvas, Piece
from graticule.inference.predict import Task, on_any_square
from graticule.inference.samples import Samples
from graticule.inference.stitch import Predict
from graticule.inference.summary import summarise
from graticule.inference.tally import Tally, codes_of
from graticule.runs import write_json
from graticule.schema import AREA, IGNORE, INDEX, SEEN, TARGETS, VALID, Target


@dataclass(frozen=True)
class EvaluateOptions:
    """How a part is evaluated.

    Attributes:
        grid: "store" for the samples' own pixels; "scene" to blend overlapping samples on their scene's grid first; or
            a grid to exchange predictions and truth to, such as "healpix:256" or "raster:0.1deg".
        area_weighted: weigh pixels by their area on the sphere; else each counts 1.
        bootstrap: draws of parents for the intervals; 0 gives none.
        seed: of the draws.
        tta: mean over the eight flips and quarter turns of each sample; eight times the cost.
        examples: windows kept as pictures for the report.
        device: where the net runs, as torch names it.
        progress: show a progress bar.
    """

    grid: str = "store"
    area_weighted: bool = True
    bootstrap: int = 1000
    seed: int = 42
    tta: bool = False
    examples: int = 8
    device: str = "cpu"
    progress: bool = True


def evaluate(
    tasks: Task | Sequence[Task],
    datamodule: DataModule,
    part: Part,
    folder: Path,
    options: EvaluateOptions | None = None,
    *,
    checkpoint: str = "",
) -> dict[str, Any]:
    """Evaluate one part of a split and write `metrics.json`, `sums.npz` and `examples.npz`.

    Args:
        tasks: one task, or several of which the mean is taken.
        datamodule: the store, its split, and the train part's statistics for the baselines.
        part: "train", "val" or "test".
        folder: where the files are written.
        options: how.
        checkpoint: what the numbers belong to, noted in `metrics.json`.

    Returns:
        The content of `metrics.json`.

    Raises:
        GridError: if the grid cannot be parsed.
        OutputError: if a file cannot be written.
    """
    options = options or EvaluateOptions()
    tasks = [tasks] if not isinstance(tasks, Sequence) else list(tasks)
    other = None if options.grid in ("store", "scene") else parse_grid(options.grid)
    began = time.perf_counter()
    samples = Samples(datamodule, part, tasks[0].targets)
    constants = {t.name: float(t.mean or 0.0) for t in datamodule.targets if t.kind in ("height", "depth")}
    tally = Tally(samples.targets, {t.name: constants[t.name] for t in samples.targets if t.name in constants})
    examples = Examples(options.examples, datamodule.bands, samples.targets)
    predict = on_any_square(tasks, options.device, options.tta)
    if options.grid == "store":
        _on_store(samples, predict, tally, examples, options)
    else:
        for piece in _on_scenes(samples, predict, examples, options, other):
            _add(tally, piece, options.area_weighted, grid_changed=other is not None)
    return _write(samples, tally, examples, folder, options, checkpoint, began)


def _title(samples: Samples, options: EvaluateOptions) -> str:
    return f"Evaluating {samples.part} on {options.grid}"


def _on_store(samples: Samples, predict: Predict, tally: Tally, examples: Examples, options: EvaluateOptions) -> None:
    regions = {row: samples.pairs[pair][1] for row, pair in samples.pair_of.items()}
    for batch, predictions in samples.predicted(predict, _title(samples, options), options.progress):
        weight = {t.name: batch[AREA] for t in samples.targets} if options.area_weighted else None
        tally.add(predictions, batch[TARGETS], batch[VALID], weight, samples.codes(batch))
        examples.add(batch, predictions, regions)


def _on_scenes(
    samples: Samples, predict: Predict, examples: Examples, options: EvaluateOptions, grid: Grid | None
) -> Iterator[Piece]:
    """The pixels of each scene, one scene after the other, as the store has them."""
    regions = {row: samples.pairs[pair][1] for row, pair in samples.pair_of.items()}
    last = {samples.scene(row): row for row in samples.rows.tolist()}
    canvases: dict[str, Canvas] = {}
    for batch, predictions in samples.predicted(predict, _title(samples, options), options.progress):
        examples.add(batch, predictions, regions)
        fields = {name: samples.from_square(values.float().cpu().numpy()) for name, values in predictions.items()}
        truth = {}
        for target in samples.targets:
            kept = batch[TARGETS][target.name].numpy().astype(np.uint8 if target.is_categorical else np.float32)
            kept[~batch[VALID][target.name].numpy()] = IGNORE if target.is_categorical else np.nan
            truth[target.name] = samples.from_square(kept)
        seen = samples.from_square(batch[SEEN].numpy())
        for slot, row in enumerate(batch[INDEX].tolist()):
            if row < 0:
                continue
            scene = samples.scene(row)
            if scene not in canvases:
                canvases[scene] = Canvas(samples.store.scenes[scene], samples.store.space, samples.targets)
            field, known = ({name: values[slot] for name, values in group.items()} for group in (fields, truth))
            canvases[scene].add(samples.place(row), field, known, seen[slot], samples.pair_of[row])
            if row == last[scene]:
                yield from canvases.pop(scene).pieces(grid)


def _add(tally: Tally, piece: Piece, area_weighted: bool, *, grid_changed: bool) -> None:
    """Add a run of pixels: by the area that is known of each; or, counted, those of which at least half is known."""
    valid, weight = dict(piece.valid), None
    if area_weighted:
        area = piece.area.astype(np.float32)
        weight = {name: torch.from_numpy(area * share)[None] for name, share in piece.share.items()}
    elif grid_changed:
        valid = {name: own & (piece.share[name] >= 0.5) for name, own in valid.items()}
    truth = {}
    for target in tally.targets:
        known = np.where(valid[target.name], piece.truth[target.name], 0)
        truth[target.name] = torch.from_numpy(known.astype(np.int64 if target.is_categorical else np.float32))[None]
    fields = {
        name: torch.from_numpy(values.astype(np.float32, copy=False))[None]
        for name, values in piece.predictions.items()
    }
    codes = torch.from_numpy(codes_of(piece.pairs, piece.lat))[None]
    tally.add(fields, truth, {name: torch.from_numpy(own)[None] for name, own in valid.items()}, weight, codes)


def _write(
    samples: Samples, tally: Tally, examples: Examples, folder: Path, options: EvaluateOptions, checkpoint: str,
    began: float,
) -> dict[str, Any]:  # fmt: skip
    """The three files of an evaluation; `metrics.json` last, since it is what tells that the others are there."""
    targets: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for target in samples.targets:
        entry, sums = summarise(
            tally, target, samples.pairs, draws=options.bootstrap, seed=options.seed,
            majority=_majority(samples.datamodule, target),
        )  # fmt: skip
        targets[target.name] = entry
        arrays |= {f"{target.name}/{name}": values for name, values in sums.items()}
    first: dict[str, Any] = next(iter(targets.values()), {})
    content = {
        "part": samples.part,
        "grid": options.grid,
        "checkpoint": checkpoint,
        "area_weighted": options.area_weighted,
        "tta": options.tta,
        "targets": targets,
        "baseline": first.get("baseline", {}),
        "pixels": first.get("pixels", 0),
        "seconds": round(time.perf_counter() - began, 3),
    }
    names = {int(row): str(samples.store.metadata["sample_id"].iat[row]) for row in samples.rows}
    for name, kept in (("sums.npz", arrays), ("examples.npz", examples.arrays(names, _places(samples)))):
        with whole_file(folder / name) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **kept)
    write_json(folder / "metrics.json", content)
    return content


def _places(samples: Samples) -> dict[int, tuple[str, str]] | None:
    """Of photographs, the grid and the camera of each sample as JSON."""
    cameras = samples.store.config["window"].get("cameras")
    if not cameras:
        return None
    text = {name: json.dumps(camera) for name, camera in cameras.items()}
    grids = {row: json.dumps(samples.store.grid(row).to_dict()) for row in samples.rows.tolist()}
    return {row: (grid, text[samples.scene(row)]) for row, grid in grids.items()}


def _majority(datamodule: DataModule, target: Target) -> int | None:
    """The class of most valid pixels of the train part."""
    if not target.is_categorical:
        return None
    return int(datamodule.statistics.pixels[target.name].sum(axis=0).argmax())
