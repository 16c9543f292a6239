"""The simulated land written with the folders and file names of IEEE GRSS DFC2021 DSE."""

from pathlib import Path

import numpy as np
from PIL import Image

from graticule.data.sources.dfc2021 import LEGEND
from graticule.data.sources.dfc2021_files import CELLS, SIDE, TRUTH, TRUTH_COLOURS, file_name
from graticule.data.tiles import make_land, see
from graticule.errors import ConfigError
from graticule.files import whole_folder

_README = """Simulated: land with towns, seen by four made sensors, by `graticule generate dfc2021`.
Folders, file names and types are those of IEEE GRSS DFC2021, track DSE; no image or label is of that data set.
{tiles} tiles, seed {seed}, images of {side} x {side} pixels.
"""
_SMALLER = """The published images have 800 x 800 pixels. These are smaller, for quick trials: give source.size={side}.
"""


def write_tiles(root: Path, *, tiles: int = 6, seed: int = 0, side: int = SIDE) -> list[str]:
    """Write a simulated data set, `Train/Tile1` and so on, and return the names of its tiles.

    Each tile has 100 files: 98 images, `groundTruth.tif` (16 x 16, values 1..4) and `groundTruthRGB.png`. The same seed
    gives the same files. A tile of full size takes 180 MB, as the published ones do.

    Args:
        root: the folder to make; whole or not at all.
        tiles: how many.
        seed: of all that is drawn.
        side: pixels along a side of the images. Others than the published 800 are a different layout, as README.txt
            says.

    Raises:
        ConfigError: if there is nothing to write, or the side is not of whole cells.
        OutputError: if the folder exists or cannot be written.
    """
    if tiles < 1:
        raise ConfigError(f"{tiles} tiles cannot be made; give --tiles 1 or more.")
    if side < 2 * CELLS or side % CELLS:
        raise ConfigError(f"images of {side} pixels do not hold {CELLS} cells a side; give a multiple of {CELLS}.")
    names = [f"Tile{number}" for number in range(1, tiles + 1)]
    with whole_folder(root) as folder:
        said = _README.format(tiles=tiles, seed=seed, side=side)
        (folder / "Train").mkdir()
        (folder / "README.txt").write_text(said + (_SMALLER.format(side=side) if side != SIDE else ""))
        for number, name in enumerate(names, 1):
            _write_tile(folder / "Train" / name, seed, number, side)
    return names


def _write_tile(folder: Path, seed: int, number: int, side: int) -> None:
    folder.mkdir()
    land = make_land(seed, number, side)
    for sensor, day, band, pixels in see(land, seed, number):
        Image.fromarray(pixels).save(folder / file_name(sensor, day, band))
    colours = np.array([tuple(bytes.fromhex(entry.colour[1:])) for entry in LEGEND], np.uint8)
    Image.fromarray(land.labels).save(folder / TRUTH)
    Image.fromarray(colours[land.labels - 1]).save(folder / TRUTH_COLOURS)
