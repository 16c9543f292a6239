"""Example windows: input, truth, prediction and error side by side."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from graticule.grids import CameraGrid, HealpixGrid, grid_from_dict, morton_inverse
from graticule.reporting.earth import legend_strip, value_strip
from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import data_uri, paint_classes, paint_mistakes, paint_values, value_limits
from graticule.reporting.markup import Html, tag
from graticule.reporting.sections import missing, section
from graticule.reporting.spheres import axes_of, globe, mollweide, on_photo
from graticule.reporting.tables import legend_of
from graticule.reporting.words import kind_of, number
from graticule.schema import IGNORE

SHOWN, LARGEST = 8, 256
_KINDS = ("input", "truth", "prediction", "error")


def windows(found: Evidence, prefix: str) -> Html:
    """A few windows of the evaluated part, for every target."""
    main = found.main_evaluation
    if main is None or "rgb" not in main.examples:
        note = missing("There are no example windows.", f"graticule evaluate {found.run.folder}")
        return section(f"{prefix}-windows", "Windows", None, note)
    pieces = []
    for name, result in main.targets.items():
        if f"{name}/truth" in main.examples and f"{name}/prediction" in main.examples:
            of_samples = main.examples[f"{name}/truth"].ndim == 1
            pieces += [tag("h3", name), (_of_samples if of_samples else _of_target)(main.examples, name, result)]
    if main.metrics.get("per") == "sample":
        lead = "Some samples of each class, with what they are and what they were taken for."
        return section(f"{prefix}-windows", "Samples", lead, pieces)
    grid = str(main.metrics.get("grid", ""))
    lead = "Input, truth, prediction, and where they differ. Grey is unknown."
    if "camera" in main.examples:
        lead += " Photographs that lie on the sphere are shown as their camera sees it."
    elif "healpix" in grid or "healpix" in str(found.config.get("source", "")):
        lead += (
            " Windows of the HEALPix sphere are shown as their squares of nested cells, so north is up only roughly."
        )
    return section(f"{prefix}-windows", "Windows", lead, pieces)


def _of_samples(arrays: Mapping[str, np.ndarray], name: str, result: Mapping[str, Any]) -> Html:
    """Samples with one label each: what they are, what they were taken for, and how surely."""
    names = [entry.name for entry in legend_of(result)]
    truth, guess, sure = (arrays[f"{name}/{key}"] for key in ("truth", "prediction", "probability"))
    sample = arrays.get("sample_id", np.arange(len(truth)))
    cells = []
    for k in range(min(len(truth), 2 * SHOWN)):
        known = truth[k] != IGNORE
        word = "unlabelled" if not known else "right" if truth[k] == guess[k] else "wrong"
        said = f"{word}: {names[guess[k]]} {float(sure[k]):.0%}"
        cells.append(
            tag(
                "figure",
                tag("img", src=data_uri(arrays["rgb"][k], photo=True), alt=f"sample {sample[k]}", loading="lazy"),
                tag("figcaption", tag("b", names[truth[k]] if known else "?"), tag("br"), said),
            )
        )
    return tag("div", cells, class_="four")


def _of_target(arrays: Mapping[str, np.ndarray], name: str, result: Mapping[str, Any]) -> Html:
    legend = legend_of(result) if kind_of(result) != "values" else ()
    # On the sphere cells are looked up by their place, so none may be left out.
    on_sphere = "camera" in arrays and '"healpix"' in str(arrays["grid"][0])
    step = 1 if on_sphere else max(1, -(-arrays["rgb"].shape[1] // LARGEST))
    rgb, truth, prediction = (
        arrays[key][:SHOWN, ::step, ::step] for key in ("rgb", f"{name}/truth", f"{name}/prediction")
    )
    names = arrays.get("sample_id", np.arange(len(rgb)))
    unit = str(result.get("unit") or "")
    limits = value_limits(truth, prediction) if not legend else (0.0, 1.0)
    bound = float(np.max(np.abs(value_limits(prediction - truth)))) if not legend else 1.0
    cards = []
    for k in range(len(rgb)):
        if legend:
            painted = [
                paint_classes(truth[k], legend),
                paint_classes(prediction[k], legend),
                paint_mistakes(truth[k], prediction[k]),
            ]
            known = truth[k] != IGNORE
            right = (truth[k] == prediction[k])[known].mean() if known.any() else float("nan")
            said = f"{right:.0%} right" if known.any() else "no label"
        else:
            difference = prediction[k] - truth[k]
            painted = [paint_values(truth[k], limits), paint_values(prediction[k], limits)]
            painted.append(paint_values(difference, (-bound, bound), signed=True))
            known = np.isfinite(difference)
            said = f"mean error {number(float(np.abs(difference[known]).mean()))} {unit}" if known.any() else "no value"
        pictures = [rgb[k], *painted]
        spheres = sphere_views(arrays, k, pictures) if on_sphere else []
        cards.append(_card(str(names[k]), said, pictures, spheres))
    strip = legend_strip(legend) if legend else value_strip(limits, unit)
    signed = None if legend else value_strip((-bound, bound), f"{unit} error".strip(), signed=True)
    return tag("div", strip, signed, tag("div", cards, class_="windows"))


def _card(sample: str, said: str, pictures: list[np.ndarray], spheres: list[tuple[str, np.ndarray]]) -> Html:
    caption = tag("p", tag("b", sample), tag("span", said), class_="window-name")
    if spheres:
        cells = [_figure(picture, text, sample) for text, picture in spheres]
        return tag("article", caption, tag("div", cells, class_="four views"), class_="window")
    cells = [_figure(picture, kind, sample) for kind, picture in zip(_KINDS, pictures, strict=True)]
    return tag("article", caption, tag("div", cells, class_="four"), class_="window")


def _figure(picture: np.ndarray, kind: str, sample: str) -> Html:
    uri = data_uri(picture, photo=kind == "input")
    return tag("figure", tag("img", src=uri, alt=f"{kind} of window {sample}", loading="lazy"), tag("figcaption", kind))


def sphere_views(arrays: Mapping[str, np.ndarray], k: int, pictures: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """An example on the sphere as the camera sees it, as a globe and as a Mollweide map, with a caption each.

    Args:
        arrays: of the examples, with `grid` and `camera` as JSON.
        k: which of them.
        pictures: input, truth, prediction and error of its cells, as squares one below the other.

    Returns:
        Nothing for photographs that never left their camera, whose pictures show what there is.
    """
    grid, camera = (grid_from_dict(json.loads(str(arrays[key][k]))) for key in ("grid", "camera"))
    if not isinstance(grid, HealpixGrid) or not isinstance(camera, CameraGrid):
        return []
    order, axes = morton_inverse(pictures[0].shape[1]), axes_of(camera)
    cells = [p.reshape(-1, p.shape[1] ** 2, p.shape[-1])[:, order].reshape(grid.size, -1) for p in pictures]
    views = [(kind, on_photo(grid, own, camera)) for kind, own in zip(_KINDS, cells, strict=True)]
    for kind, own in list(zip(_KINDS, cells, strict=True))[1:3]:
        views += [(f"{kind}, globe", globe(grid, own, axes)), (f"{kind}, Mollweide", mollweide(grid, own, axes))]
    return views
