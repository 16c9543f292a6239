"""Draw the figures of the documentation with the project's own functions: `python tools/docs_figures.py [folder]`.

A figure that is drawn by the code it explains cannot come to disagree with it.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from graticule.data.sampler import positions
from graticule.data.splits import BlockParts, fold_rows
from graticule.grids import HealpixGrid
from graticule.grids.windows import healpix_halo, morton, morton_inverse, partition, starts
from graticule.reporting.earth import PART_COLOURS
from graticule.studies.scoring import Scoring, Strategy

INK, SOFT, BLUE, ORANGE, PAPER = "#1b2530", "#6b7580", "#14608f", "#c2571a", "#fbfaf7"


def morton_window() -> Figure:
    """Nested order within a window of 8 × 8 cells: the path that the cells follow, and their offsets."""
    side = 8
    figure, axes = _canvas(4.2, 4.2)
    rows, columns = np.divmod(morton_inverse(side), side)
    axes.imshow(morton(side), cmap=_fade(), origin="upper")
    axes.plot(columns, rows, color=BLUE, linewidth=1.4, alpha=0.8)
    for row in range(side):
        for column in range(side):
            axes.text(column, row, morton(side)[row, column], ha="center", va="center", fontsize=8, color=INK)
    _frame(axes, "column = x (even bits)", "row = y (odd bits)")
    axes.set_title(f"A nested window of {side * side} cells is a square", loc="left", fontsize=10)
    return figure


def halo() -> Figure:
    """A window at the corner of a base pixel with its halo: from which base pixel each neighbour comes."""
    nside, side, width = 16, 8, 4
    corner = 3 * nside**2 + int(morton(nside)[0, nside - side])
    ids = healpix_halo(nside, corner - corner % side**2, side, width)
    faces = np.where(ids >= 0, ids // nside**2, -1)
    figure = Figure(figsize=(8.2, 4.2), facecolor=PAPER)
    flat, globe = figure.subplots(1, 2, width_ratios=(1, 1.15))
    names = [int(face) for face in np.unique(faces) if face >= 0]
    colours = {-1: "#ffffff"} | dict(zip(names, ("#9fc3dc", "#e7c98a", "#b5cfa2", "#d9aaa0"), strict=False))
    order = sorted(colours)
    flat.imshow(
        np.vectorize(order.index)(faces), cmap=ListedColormap([colours[face] for face in order]), origin="upper"
    )
    flat.add_patch(Rectangle((width - 0.5, width - 0.5), side, side, fill=False, edgecolor=INK, linewidth=2))
    for face in names:
        row, column = (float(np.mean(place)) for place in np.nonzero(faces == face))
        flat.text(column, row, f"base pixel {face}", ha="center", va="center", fontsize=8, color=INK)
    gap = np.argwhere(faces < 0).mean(axis=0)
    flat.text(gap[1], gap[0], "no cells", ha="center", va="center", fontsize=8, color=SOFT)
    _frame(flat, "", "")
    flat.set_title(f"Window {side} × {side} and its halo of {width}", loc="left", fontsize=10)
    _scatter_on_sphere(globe, nside, ids, {face: colours[face] for face in names}, (width, side))
    return figure


def _scatter_on_sphere(
    axes: Axes, nside: int, ids: np.ndarray, colours: dict[int, str], window: tuple[int, int]
) -> None:
    lon, lat = (values[np.maximum(ids, 0)] for values in HealpixGrid(nside).lonlat())
    width, side = window
    middle = np.median(lon[width : width + side, width : width + side])
    around = (lon - middle + 180) % 360 - 180
    for face, colour in colours.items():
        here = ids // nside**2 == face
        axes.scatter(around[here], lat[here], s=26, color=colour, edgecolor="none", marker="D")
    core = np.zeros(ids.shape, bool)
    core[width : width + side, width : width + side] = True
    axes.scatter(around[core], lat[core], s=5, color=INK)
    axes.set_xlabel("longitude from the window’s middle, °", fontsize=8, color=SOFT)
    axes.set_ylabel("latitude, °", fontsize=8, color=SOFT)
    axes.tick_params(labelsize=7, colors=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_facecolor(PAPER)
    axes.set_title("The same cells on the sphere", loc="left", fontsize=10)


def blocks() -> Figure:
    """The 15° blocks of the Earth and their parts, as the block split draws them with seed 1529."""
    codes = np.random.RandomState(1529).choice(3, size=(12, 24), p=[0.7, 0.15, 0.15])
    parts = BlockParts(15.0, tuple(tuple(int(code) for code in row) for row in codes))
    lon, lat = np.meshgrid(np.arange(-179.5, 180), np.arange(89.5, -90, -1))
    figure, axes = _canvas(7.2, 3.9)
    colours = ListedColormap([colour for _, colour in PART_COLOURS])
    axes.imshow(parts.at(lon, lat), cmap=colours, vmin=0, vmax=2, extent=(-180, 180, -90, 90))
    axes.set_xticks(range(-180, 181, 60), [f"{x}°" for x in range(-180, 181, 60)])
    axes.set_yticks(range(-90, 91, 45), [f"{y}°" for y in range(-90, 91, 45)])
    axes.tick_params(labelsize=8, colors=SOFT, length=0)
    axes.grid(color="white", linewidth=0.5, alpha=0.6)
    for code, (name, colour) in enumerate(PART_COLOURS):
        share = np.mean(codes == code)
        axes.plot([], [], "s", color=colour, label=f"{name}: {np.sum(codes == code)} blocks ({share:.0%})")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=3, frameon=False, fontsize=8)
    axes.spines[:].set_visible(False)
    return figure


def blending() -> Figure:
    """Blending weights of overlapping windows along one axis: they add to exactly one everywhere."""
    length, size, overlap = 300, 96, 32
    figure, axes = _canvas(7.2, 2.8)
    total = np.zeros(length)
    weights = partition(length, size, overlap)
    for k, (start, weight) in enumerate(zip(starts(length, size, overlap), weights, strict=True)):
        place = np.arange(start, start + size)
        axes.fill_between(place, weight, color=(BLUE, ORANGE)[k % 2], alpha=0.35, linewidth=0)
        axes.plot(place, weight, color=(BLUE, ORANGE)[k % 2], linewidth=1.4)
        total[start : start + size] += weight
    axes.plot(total, color=INK, linewidth=1.2, linestyle=(0, (3, 2)), label="their sum")
    axes.set_ylim(0, 1.15)
    axes.set_xlabel("pixel", fontsize=8, color=SOFT)
    axes.tick_params(labelsize=8, colors=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncol=2)
    axes.set_title(
        f"{len(weights)} windows of {size} pixels, overlapping by {overlap} or more", loc="left", fontsize=10
    )
    return figure


def sample_order() -> Figure:
    """Which sample stands where in the epoch: a function of seed and epoch alone."""
    n, epochs = 16, 4
    figure = Figure(figsize=(7.2, 2.5), facecolor=PAPER)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, seed in zip(panels, (42, 43), strict=True):
        table = np.stack([positions(seed, epoch, n, n) for epoch in range(epochs)])
        axes.imshow(table, cmap=_fade(), aspect="auto")
        for epoch in range(epochs):
            for place in range(n):
                axes.text(place, epoch, table[epoch, place], ha="center", va="center", fontsize=7, color=INK)
        axes.set_title(f"seed {seed}", loc="left", fontsize=10)
        axes.set_xlabel("position in the epoch", fontsize=8, color=SOFT)
        axes.set_yticks(range(epochs), [f"epoch {epoch}" for epoch in range(epochs)])
        axes.set_xticks([])
        axes.tick_params(labelsize=8, colors=SOFT, length=0)
        axes.spines[:].set_visible(False)
    return figure


def score_strategies() -> Figure:
    """How the four strategies combine two metrics: lines of equal score, for IoU with recall and IoU with a loss."""
    figure = Figure(figsize=(9.6, 5.2), facecolor=PAPER)
    rows = figure.subplots(2, 4, sharex=True, sharey="row")
    iou = np.linspace(0.01, 1, 34)
    second = {"recall": np.linspace(0.01, 1, 34), "loss": np.linspace(0.05, 2, 34)}
    levels = np.linspace(0, 1.2, 13)
    for line, (name, values) in zip(rows, second.items(), strict=True):
        for axes, strategy in zip(line, get_args(Strategy), strict=True):
            scoring = Scoring.parse(["val/iou", f"val/{name}:{'lower' if name == 'loss' else 'higher'}"], strategy)
            scores = [[scoring.of_run({"val/iou": a, f"val/{name}": b}) for a in iou] for b in values]
            axes.contourf(iou, values, scores, levels=levels, cmap=_fade(), extend="max")
            drawn = axes.contour(iou, values, scores, levels=levels[1::2], colors=INK, linewidths=0.7)
            axes.clabel(drawn, fontsize=6, fmt="%.1f")
            axes.tick_params(labelsize=7, colors=SOFT)
            axes.spines[:].set_color(SOFT)
            if name == "recall":
                axes.set_title(strategy, loc="left", fontsize=10)
            else:
                axes.set_xlabel("IoU", fontsize=8, color=SOFT)
        line[0].set_ylabel("recall" if name == "recall" else "loss (:lower)", fontsize=8, color=SOFT)
    figure.tight_layout()
    return figure


def folding() -> Figure:
    """What five folds validate on, by fold method: samples, and how many of them are positive, in made-up regions."""
    rng = np.random.default_rng(4)
    sizes, positive = [6, 6, 8, 10, 12, 14, 20, 24], [0.05, 0.6, 0.1, 0.5, 0.05, 0.3, 0.1, 0.35]
    rows = pd.DataFrame(
        [
            {"sample_id": f"{region}-{parent}-{k}", "parent": f"{region}-{parent}", "region": str(region),
             "empty": rng.random() > positive[region]}
            for region, size in enumerate(sizes) for parent in range(size) for k in range(4)
        ]
    )  # fmt: skip
    methods = ("kfold", "stratified", "shuffle", "region", "region-stratified")
    figure = Figure(figsize=(9.6, 2.5), facecolor=PAPER)
    for axes, method in zip(figure.subplots(1, len(methods), sharey=True), methods, strict=True):
        for fold in range(5):
            chosen = rows[fold_rows(rows, method, 5, fold, 42)]
            axes.bar(fold, len(chosen), color="#cfd8de", width=0.7)
            axes.bar(fold, int((~chosen["empty"]).sum()), color=BLUE, width=0.7)
            share = (~chosen["empty"]).mean()
            axes.text(fold, len(chosen) + 4, f"{share:.0%}", ha="center", fontsize=7, color=INK)
        axes.set_title(method, loc="left", fontsize=9)
        axes.set_facecolor(PAPER)
        axes.set_xlabel("fold", fontsize=8, color=SOFT)
        axes.tick_params(labelsize=7, colors=SOFT)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("samples, positive in blue", fontsize=8, color=SOFT)
    figure.tight_layout()
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "morton-window": morton_window, "healpix-halo": halo, "split-blocks": blocks, "blending-weights": blending,
    "sample-order": sample_order,
    "score-strategies": score_strategies,
    "folding": folding,
}  # fmt: skip


def draw_all(folder: Path) -> list[Path]:
    """Draw every figure into `folder` as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in FIGURES.items():
        path = folder / f"{name}.svg"
        # Fixed ids and no date, so that a file changes only when what it shows does.
        with matplotlib.rc_context({"svg.hashsalt": "graticule"}):
            draw().savefig(path, bbox_inches="tight", facecolor=PAPER, metadata={"Date": None})
        paths.append(path)
    return paths


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    axes = figure.subplots()
    axes.set_facecolor(PAPER)
    return figure, axes


def _fade() -> ListedColormap:
    ramp = np.linspace(0, 1, 128)[:, None]
    low, high = np.array([0.93, 0.95, 0.96]), np.array([0.55, 0.74, 0.86])
    return ListedColormap(low + ramp * (high - low))


def _frame(axes: Axes, across: str, down: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(across, fontsize=8, color=SOFT)
    axes.set_ylabel(down, fontsize=8, color=SOFT)
    axes.spines[:].set_visible(False)


if __name__ == "__main__":
    default = Path(__file__).parent.parent / "docs" / "figures"
    for written in draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else default):
        print(os.path.relpath(written), f"{written.stat().st_size / 1000:.0f} kB")
