"""Evaluation: prediction plus sums, on the samples' own pixels, their scenes' grids, or any other grid."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from graticule.data.datamodule import DataModule
from graticule.data.splits import Part
from graticule.errors import GridError
from graticule.files import whole_file
from graticule.grids import parse_grid
from graticule.inference.canvases import Canvases
from graticule.inference.examples import Examples
from graticule.inference.exchange import Canvas, Piece, check_exchangeable
from graticule.inference.flood_scores import FloodScores
from graticule.inference.gallery import Gallery, Shown
from graticule.inference.guide import Guide, guide_names
from graticule.inference.object_scores import ObjectScores, named_by_darts, targets_with_objects
from graticule.inference.photographs import Photographs, Place, TruthOf, are_photographs
from graticule.inference.predict import Task, on_any_square
from graticule.inference.restitch import Restitch
from graticule.inference.samples import Samples
from graticule.inference.stitch import Predict
from graticule.inference.summary import plain, summarise
from graticule.inference.tally import Tally, codes_of
from graticule.runs import write_json
from graticule.schema import AREA, TARGETS, VALID, Target
from graticule.tasks.cells import counted

Draw = Callable[[Shown], np.ndarray]
"""A photograph with its truth and prediction in, a picture [h, w, 3] uint8 out."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How a part is evaluated.

    Attributes:
        grid: "store" for the samples' own pixels; "scene" to blend overlapping samples on their scene's grid first; or
            a grid to exchange predictions and truth to, such as "healpix:256" or "raster:0.1deg". Photographs have
            grids of their own (see `photographs.Place`).
        area_weighted: weigh pixels by their area on the sphere; else each counts 1.
        bootstrap: draws of parents for the intervals; 0 gives none.
        seed: of the draws.
        tta: mean over the eight flips and quarter turns of each sample; eight times the cost.
        examples: windows kept as pictures for the report.
        base_pixels: of photographs: those that the mask of a masked grid leaves open; the store's if None.
        chamfer: of photographs with depth: measure the Chamfer distance of the point clouds.
        pictures: of photographs: draw the first so many.
        top_k: of photographs: draw as many of the best, and of the worst.
        ranking: the measure by which they are.
        threshold: of binary targets: positive is p >= threshold.
        objects: count objects, on the store's windows or on scenes of rasters: those of binary targets (None), of
            classes too (True), none (False).
        device: where the net runs, as torch names it.
        progress: show a progress bar.
    """

    grid: str = "store"
    area_weighted: bool = True
    bootstrap: int = 1000
    seed: int = 42
    tta: bool = False
    examples: int = 8
    base_pixels: tuple[int, ...] | None = None
    chamfer: bool = False
    pictures: int = 0
    top_k: int = 0
    ranking: str | None = None
    threshold: float = 0.5
    objects: bool | None = None
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
    truth_of: TruthOf | None = None,
    draw: Draw | None = None,
    restitch: Restitch | None = None,
) -> dict[str, Any]:
    """Evaluate one part of a split and write `metrics.json`, `sums.npz` and `examples.npz`.

    Of photographs also the measures of HEAL-SWIN's experiments are written, as `guide` in `metrics.json`, and
    `pictures/`.

    Args:
        tasks: one task, or several of which the mean is taken.
        datamodule: the store, its split, and the train part's statistics for the baselines.
        part: "train", "val" or "test".
        folder: where the files are written.
        options: how.
        checkpoint: what the numbers belong to, noted in `metrics.json`.
        truth_of: of photographs: the truth of a whole one, needed on other grids than the store's.
        draw: of photographs: makes the pictures.
        restitch: of rasters: writes each scene, put together from its samples.

    Returns:
        The content of `metrics.json`.

    Raises:
        GridError: if the grid cannot be parsed, or scenes without a place are to be brought onto another.
        OutputError: if a file cannot be written.
    """
    options = options or EvaluateOptions()
    tasks = [tasks] if not isinstance(tasks, Sequence) else list(tasks)
    began = time.perf_counter()
    samples = Samples(datamodule, part, tasks[0].targets)
    constants = {t.name: t.typical for t in datamodule.targets if t.kind in ("height", "depth")}
    if samples.of_samples and options.grid != "store":
        raise GridError(
            f"target '{samples.targets[0].name}' is known once per sample and cannot be brought onto another grid; "
            f"evaluate.grid is '{options.grid}' and must be store."
        )
    tally = Tally(samples.targets, {t.name: constants[t.name] for t in samples.targets if t.name in constants})
    examples = Examples(options.examples, datamodule.bands, samples.targets)
    objects = _object_scores(samples, options)
    floods = FloodScores(datamodule.store, samples.targets, options.threshold)
    predict = on_any_square(tasks, options.device, options.tta)
    further: dict[str, Any] = {}
    if are_photographs(datamodule.store):
        photos = Photographs(
            datamodule.store, Place.parse(options.grid), samples.targets, truth_of, options.base_pixels
        )
        further = _on_photographs(samples, predict, tally, examples, options, photos, checkpoint, folder, draw)
    elif options.grid == "store":
        _on_store(samples, predict, tally, examples, options, objects, floods, restitch)
    else:
        other = None if options.grid == "scene" else parse_grid(options.grid)
        if other is not None:
            check_exchangeable(datamodule.store.scenes, options.grid)
        for row, canvas in _canvases(samples, predict, examples, options, restitch.keep if restitch else ()):
            if restitch is not None:
                restitch.add(samples.scene(row), canvas)
            if objects.targets:
                objects.add(canvas.fields, canvas.truth, canvas.blended() > 0, canvas.pairs)
            for piece in canvas.pieces(other):
                _add(tally, piece, options.area_weighted, grid_changed=other is not None)
    return _write(samples, tally, objects, floods, examples, folder, options, checkpoint, began, further)


def _object_scores(samples: Samples, options: EvaluateOptions) -> ObjectScores:
    """For the targets whose objects are counted; none on the sphere, on photographs, and on other grids."""
    store, on = samples.store, {"store": "windows", "scene": "scenes"}.get(options.grid)
    counts = on is not None and not (samples.is_sphere or samples.of_samples or are_photographs(store))
    targets = targets_with_objects(samples.targets, options.objects) if counts else ()
    return ObjectScores(targets, store.space, options.threshold, "scenes" if on == "scenes" else "windows")


def _title(samples: Samples, options: EvaluateOptions) -> str:
    return f"Evaluating {samples.part} on {options.grid}"


def _on_store(
    samples: Samples, predict: Predict, tally: Tally, examples: Examples, options: EvaluateOptions,
    objects: ObjectScores, floods: FloodScores, restitch: Restitch | None,
) -> None:  # fmt: skip
    canvases = Canvases(samples, restitch.keep) if restitch and not samples.of_samples else None
    by_area = options.area_weighted and not samples.of_samples
    regions = {row: samples.pairs[pair][1] for row, pair in samples.pair_of.items()}
    for batch, predictions in samples.predicted(predict, _title(samples, options), options.progress):
        weight = {t.name: batch[AREA] for t in samples.targets} if by_area else None
        valid = {t.name: counted(batch[VALID][t.name], t.cell) for t in samples.targets}
        tally.add(predictions, batch[TARGETS], valid, weight, samples.codes(batch))
        examples.add(batch, predictions, regions)
        objects.add_windows(batch, predictions, samples.pair_of)
        floods.add(batch, predictions)
        if canvases is not None and restitch is not None:
            for row, canvas in canvases.add(batch, predictions):
                restitch.add(samples.scene(row), canvas)


def _on_photographs(
    samples: Samples, predict: Predict, tally: Tally, examples: Examples, options: EvaluateOptions,
    photos: Photographs, checkpoint: str, folder: Path, draw: Draw | None,
) -> dict[str, Any]:  # fmt: skip
    """Count all photographs and draw some; returns what `metrics.json` says beside the tally."""
    guide = Guide(samples.targets, tally.constants, photos.base_pixels, options.chamfer)
    drawn = (options.pictures, options.top_k) if draw else (0, 0)
    gallery = Gallery(*drawn, options.ranking, samples.targets, samples.datamodule.bands)
    bands = range(len(samples.datamodule.bands)) if gallery.is_open else ()
    for row, canvas in _canvases(samples, predict, examples, options, bands):
        photo = photos.exchange(samples.canvas(row), samples.scene(row), canvas)
        for piece in photo.pieces(samples.pair_of[row], samples.targets):
            _add(tally, piece, options.area_weighted, grid_changed=False)
        gallery.add(photo, guide.add(photo, canvas))
    measures = guide.measures()
    if draw is not None:
        for name, shown in gallery.pictures().items():
            with whole_file(folder / "pictures" / f"{name}.png") as temporary:
                Image.fromarray(draw(shown)).save(temporary)
    names = guide_names(
        measures, photos.place, part=samples.part, checkpoint=Path(checkpoint).stem, on_sphere=samples.is_sphere
    )
    return {"guide": plain(names), "base_pixels": list(photos.base_pixels), "chamfer": _rounded(guide.chamfer)}


def _rounded(chamfer: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The Chamfer distance of each photograph, by target."""
    return {target: plain(distances) for target, distances in chamfer.items()}


def _canvases(
    samples: Samples, predict: Predict, examples: Examples, options: EvaluateOptions, keep: Sequence[int] = ()
) -> Iterator[tuple[int, Canvas]]:
    """The scenes (of photographs, each) one after the other, as the store has them: a row of each, and its canvas."""
    regions = {row: samples.pairs[pair][1] for row, pair in samples.pair_of.items()}
    canvases = Canvases(samples, keep)
    for batch, predictions in samples.predicted(predict, _title(samples, options), options.progress):
        examples.add(batch, predictions, regions)
        yield from canvases.add(batch, predictions)


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
    samples: Samples, tally: Tally, objects: ObjectScores, floods: FloodScores, examples: Examples, folder: Path,
    options: EvaluateOptions, checkpoint: str, began: float, further: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The three files of an evaluation; `metrics.json` last, since it is what tells that the others are there."""
    targets: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for target in samples.targets:
        entry, sums = summarise(
            tally, target, samples.pairs, draws=options.bootstrap, seed=options.seed,
            majority=_majority(samples.datamodule, target), threshold=options.threshold,
        )  # fmt: skip
        counted_objects = objects.entry(target, samples.pairs, draws=options.bootstrap, seed=options.seed)
        targets[target.name] = entry | counted_objects | floods.entry(target)
        arrays |= {f"{target.name}/{name}": values for name, values in sums.items()}
    first: dict[str, Any] = next(iter(targets.values()), {})
    content = {
        "part": samples.part,
        "grid": options.grid,
        "checkpoint": checkpoint,
        "area_weighted": options.area_weighted and not samples.of_samples,
        "per": "sample" if samples.of_samples else "pixel",
        "tta": options.tta,
        "targets": targets,
        "baseline": first.get("baseline", {}),
        "pixels": first.get("pixels", 0),
        "darts": named_by_darts(samples.part, targets),
        **further,
        "seconds": round(time.perf_counter() - began, 3),
    }
    told = samples.store.metadata["sample_id"].iloc[samples.rows]
    names = {int(row): str(name) for row, name in zip(samples.rows, told, strict=True)}
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
