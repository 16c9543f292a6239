"""Small simulated tiles in the layout of DFC2021: images of 80 x 80 pixels, cells of 5 x 5."""

from datetime import date, timedelta

import numpy as np
from PIL import Image

from graticule.data.sources.dfc2021_files import SENSORS, file_name
from graticule.data.tile_files import write_tiles

SIDE = 80


def small_tiles(root, tiles=4, seed=0):
    """A simulated data set whose source needs `size=SIDE`."""
    write_tiles(root, tiles=tiles, seed=seed, side=SIDE)
    return root


def flat_tile(folder, value, labels, side=SIDE):
    """A tile whose images hold `value(sensor name, date, band)` (a number or an image), with labels [16, 16]."""
    folder.mkdir(parents=True)
    for sensor in SENSORS:
        for when in range(sensor.dates):
            for band in sensor.bands:
                pixels = np.broadcast_to(value(sensor.name, when, band), (side, side)).astype(sensor.dtype)
                name = file_name(sensor, date(2020, 1, 1) + timedelta(days=5 * when), band)
                Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    if labels is not None:
        Image.fromarray(labels.astype(np.uint8)).save(folder / "groundTruth.tif")
