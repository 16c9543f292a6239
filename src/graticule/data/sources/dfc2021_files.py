"""The files of a tile of IEEE GRSS DFC2021, track DSE: which there are, and what their names say.

Source of the names: the data set (DOI 10.21227/vfbk-6325), 98 images of 800 x 800 pixels of 10 m in each tile, 16 x 16
labels of 500 m in `groundTruth.tif`, and these in colours in `groundTruthRGB.png`. No file has a georeference.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from rasterio.errors import NotGeoreferencedWarning

from graticule.data.sources.rasters import open_raster
from graticule.errors import SourceError

CELLS = 16
"""Labels along a side of a tile."""
SIDE = 800
"""Pixels along a side of an image, as published."""
CELL_METRES = 500.0
TRUTH, TRUTH_COLOURS = "groundTruth.tif", "groundTruthRGB.png"


@dataclass(frozen=True)
class Sensor:
    """One of the four sensors.

    Attributes:
        name: as the course has it; also the key of `source.bands`.
        short: the first part of a band's name in a store.
        pattern: of the file names; groups: what says the date, and the band.
        form: of a file name, with `date` and `band`.
        day: how a date is written in it.
        dates: acquisitions of each tile.
        bands: names of the bands, as in the file names.
        dtype: of the images.
    """

    name: str
    short: str
    pattern: re.Pattern[str]
    form: str
    day: str
    dates: int
    bands: tuple[str, ...]
    dtype: str


_S2 = (*(f"B{n:02d}" for n in range(1, 9)), "B8A", "B09", "B11", "B12")
SENSORS = (
    Sensor(
        "sentinel1", "S1", re.compile(r"S1[AB]_IW_GRDH_(\d{8})_(V[VH])\.tif"), "S1A_IW_GRDH_{date}_{band}.tif",
        "%Y%m%d", 4, ("VV", "VH"), "float32",
    ),
    Sensor(
        "sentinel2", "S2", re.compile(r"L2A_(\d{8})_(B(?:\d\d|8A))\.tif"), "L2A_{date}_{band}.tif",
        "%Y%m%d", 4, _S2, "uint16",
    ),
    Sensor(
        "landsat", "L8", re.compile(r"LC08_L1TP_(\d{4}-\d\d-\d\d)_(B\d{1,2})\.tif"), "LC08_L1TP_{date}_{band}.tif",
        "%Y-%m-%d", 3, tuple(f"B{n}" for n in range(1, 12)), "float32",
    ),
    Sensor(
        "viirs", "VIIRS", re.compile(r"DNB_VNP46A1_A(\d{7})()\.tif"), "DNB_VNP46A1_A{date}.tif",
        "%Y%j", 9, ("",), "uint16",
    ),
)  # fmt: skip
"""In the order of their channels: 8 + 48 + 33 + 9 = 98."""


def parse_name(name: str) -> tuple[Sensor, date, str] | None:
    """Sensor, day and band (empty for VIIRS, which has one) of a file name; None for any other name."""
    for sensor in SENSORS:
        if match := sensor.pattern.fullmatch(name):
            return sensor, _day(match[1], sensor), match[2]
    return None


def _day(text: str, sensor: Sensor) -> date:
    if sensor.day == "%Y%j":
        return date(int(text[:4]), 1, 1) + timedelta(days=int(text[4:]) - 1)
    year, month, day = int(text[:4]), *(int(part) for part in re.findall(r"\d\d", text[4:]))
    return date(year, month, day)


def file_name(sensor: Sensor, day: date, band: str) -> str:
    """The inverse of `parse_name`."""
    return sensor.form.format(date=day.strftime(sensor.day), band=band)


@dataclass(frozen=True)
class Tile:
    """A folder with the images of one tile.

    Attributes:
        folder: of the tile; its name is the tile's.
        images: path by sensor, number of the date from 0 (the earliest), and band.
        days: of each sensor, in order.
        side: pixels along a side of the images.
    """

    folder: Path
    images: dict[tuple[str, int, str], Path]
    days: dict[str, tuple[date, ...]]
    side: int

    @classmethod
    def find(cls, folder: Path, side: int = SIDE) -> "Tile":
        """The tile in a folder; its files are not opened.

        Raises:
            SourceError: naming the sensor, date and band that are missing.
        """
        found: dict[str, dict[tuple[date, str], Path]] = {sensor.name: {} for sensor in SENSORS}
        for path in sorted(folder.iterdir()):
            if parsed := parse_name(path.name):
                found[parsed[0].name][parsed[1:]] = path
        images, days = {}, {}
        for sensor in SENSORS:
            own = found[sensor.name]
            days[sensor.name] = tuple(sorted({day for day, _ in own}))
            if len(days[sensor.name]) != sensor.dates:
                example = file_name(sensor, date(2020, 8, 16), sensor.bands[-1])
                raise SourceError(
                    f"{folder} has {len(days[sensor.name])} dates of {sensor.name}; there must be {sensor.dates} "
                    f"(files such as {example}): unpack the tile again."
                )
            for number, day in enumerate(days[sensor.name]):
                for band in sensor.bands:
                    if (day, band) not in own:
                        raise SourceError(
                            f"{folder} has no {file_name(sensor, day, band)} ({sensor.name}, {day}); a tile has "
                            f"{len(sensor.bands)} bands of each date: unpack the tile again."
                        )
                    images[sensor.name, number, band] = own[day, band]
        return cls(folder, images, days, side)

    def read(self, sensor: Sensor, dates: int, bands: Sequence[str]) -> Float32[np.ndarray, "dates bands side side"]:
        """The images of one sensor as the files have them; float32 holds uint16 exactly.

        Raises:
            SourceError: if a file is truncated or of another size.
        """
        stack = np.empty((dates, len(bands), self.side, self.side), np.float32)
        for number in range(dates):
            for place, band in enumerate(bands):
                stack[number, place] = _read(self.images[sensor.name, number, band], self.side)
        return stack

    @property
    def is_labelled(self) -> bool:
        """Whether there is a ground truth; only the published train tiles have one."""
        return (self.folder / TRUTH).exists()

    def labels(self) -> UInt8[np.ndarray, "16 16"]:
        """The classes 0..3 of the cells: the published 1..4, less 1.

        Raises:
            SourceError: if there are none, or others than 1..4.
        """
        path = self.folder / TRUTH
        if not path.exists():
            raise SourceError(
                f"{self.folder} has no {TRUTH}, so it can be predicted but not prepared; "
                "give the folder of the train tiles as source.root."
            )
        values = _read(path, CELLS)
        wrong = values[~np.isin(values, (1, 2, 3, 4))]
        if wrong.size:
            raise SourceError(f"{path} has label {wrong[0]:g}; labels are 1, 2, 3 and 4: unpack the tile again.")
        return (values - 1).astype(np.uint8)


def _read(path: Path, side: int) -> np.ndarray:
    """The only band of a square image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(path) as dataset:
            if dataset.shape != (side, side):
                told = f"{path} has {dataset.height} x {dataset.width} pixels; it must have {side} x {side}"
                remedy = "set source.size where all images of all tiles are of that size" if side != CELLS else ""
                raise SourceError(f"{told}: {remedy or 'unpack the tile again'}.")
            values: np.ndarray = dataset.read(1)
    return values


def find_tiles(root: Path, side: int = SIDE) -> dict[str, Tile]:
    """The tiles under a folder, by name, in the order of their numbers.

    Args:
        root: the folder that holds Tile1, Tile2, ..., or a folder Train with these.
        side: pixels along a side of their images.

    Raises:
        SourceError: if there is no tile, or a tile lacks an image.
    """
    folders = _folders(root) or _folders(root / "Train")
    if not folders:
        raise SourceError(
            f"{root} has no folder Tile1, Tile2, ...; give the unpacked Train folder of DFC2021 DSE as source.root."
        )
    ordered = sorted(folders, key=lambda folder: int(folder.name.removeprefix("Tile")))
    return {folder.name: Tile.find(folder, side) for folder in ordered}


def _folders(root: Path) -> list[Path]:
    return [path for path in root.glob("Tile*") if path.is_dir() and path.name.removeprefix("Tile").isdigit()]
