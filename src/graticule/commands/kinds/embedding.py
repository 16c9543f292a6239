"""Pictures of a pretraining: the views that it compares, what its features hold to be alike, and a map of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from graticule.data.pretraining import PretrainingData
from graticule.data.views import as_square
from graticule.files import whole_file
from graticule.inference.pictures import display_bands, to_rgb
from graticule.objectives.probes import neighbours
from graticule.reporting.embedding import draw_embedding
from graticule.reporting.figures import captioned
from graticule.runs import Run
from graticule.schema import KEPT, SEEN, VIEWS, Band, Target, X
from graticule.tasks.pretraining import Pretraining
from graticule.tasks.pretraining.monitors import label_of
from graticule.training.record import Draw

_ROWS, _TILE, _COLUMNS, _MOST = 6, 96, 8, 1500


def draw_views(bands: Sequence[Band]) -> Draw:
    """A function (batch, predictions) -> picture: a row per sample, with the window and each of its views."""

    def picture(batch: Mapping[str, Any], _: Mapping[str, Tensor]) -> np.ndarray:
        columns = [_tiles(batch[X][:_ROWS], batch[SEEN][:_ROWS], bands)]
        for view in batch[VIEWS]:
            x = torch.where(view[KEPT][:_ROWS, :, None, None], view[X][:_ROWS], 0.0)
            if batch[X].dtype == torch.uint8:
                x = x.round().clamp(0, 255).to(torch.uint8)  # so that the light of a view can be told
            columns.append(_tiles(x, view[SEEN][:_ROWS], bands))
        return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)

    return picture


def save_pictures(run: Run, task: Pretraining, datamodule: PretrainingData) -> None:
    """Write `figures/neighbours.png` and `figures/embedding.png` of the validation part."""
    rows = datamodule.assignment.samples("val")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).astype(int))]
    features, labels = features_of_rows(task, datamodule, rows)
    target = task.targets[0] if task.targets else None
    title = f"{task.method_name}: {len(rows)} held-out samples"
    pictures = {"embedding": draw_embedding(features, labels, target.legend if target else (), title)}
    if len(rows) > _COLUMNS:
        pictures["neighbours"] = _neighbours(task, datamodule, rows, features, labels, target)
    for name, picture in pictures.items():
        with whole_file(run.figures / f"{name}.png") as path:
            Image.fromarray(picture).save(path, format="PNG")


def features_of_rows(
    task: Pretraining, datamodule: PretrainingData, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Features [n, d] of rows of the store, and their labels (-1 where unknown) where there is a target."""
    features, labels, size = [], [], datamodule.eval_batch_size
    reader = datamodule.plain_reader("val")
    with torch.inference_mode():
        for first in range(0, len(rows), size):
            batch = reader([(0, 0, int(row)) for row in rows[first : first + size]])
            features.append(task.features(batch[X], batch[SEEN]).float().numpy())
            if task.targets:
                labels.append(label_of(batch, task.targets[0]).numpy())
    return np.concatenate(features), np.concatenate(labels) if labels else None


def _neighbours(
    task: Pretraining, datamodule: PretrainingData, rows: np.ndarray, features: np.ndarray, labels: np.ndarray | None,
    target: Target | None,
) -> np.ndarray:  # fmt: skip
    """Some samples, each with those whose features are nearest by the cosine; another class in red."""
    asked = _queries(labels, len(rows))
    near, apart = neighbours(features, features[asked], _COLUMNS, "cosine")
    chosen = near.reshape(-1)
    batch = datamodule.plain_reader("val")([(0, 0, int(row)) for row in rows[chosen]])
    tiles = _tiles(batch[X], batch[SEEN], task.bands)
    said: list[tuple[str, bool]] = []
    for place, distance in zip(chosen, apart.reshape(-1), strict=True):
        query = int(near[len(said) // _COLUMNS, 0])
        if labels is None or target is None:
            said.append((f"{1 - distance:.2f}", False))
        else:
            name = target.legend[labels[place]].name if labels[place] >= 0 else "?"
            said.append((f"{name} {1 - distance:.2f}", bool(labels[place] != labels[query])))
    return captioned(tiles, said, _COLUMNS)


def _queries(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Samples evenly over all; where there are labels one of each class first."""
    even = np.linspace(0, count - 1, _ROWS + 2).astype(int)[1:-1]
    if labels is None:
        return even
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels[labels >= 0])]
    return np.array([*firsts, *even][: max(_ROWS, len(firsts))])


def _tiles(x: Tensor, seen: Tensor, bands: Sequence[Band]) -> np.ndarray:
    """Pictures [n, tile, tile, 3] uint8 of stored values on any grid."""
    if seen.ndim == 2:
        x, seen = as_square(x), as_square(seen)
    colours = to_rgb(x[:, display_bands(bands)].numpy(), seen.numpy())
    as_floats = torch.from_numpy(colours).permute(0, 3, 1, 2).float()
    return interpolate(as_floats, (_TILE, _TILE)).permute(0, 2, 3, 1).to(torch.uint8).numpy()
