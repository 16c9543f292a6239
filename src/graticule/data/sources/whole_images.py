"""What sources of labelled images share: one sample per image, all of one size, with one label each."""

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Num
from PIL import Image

from graticule.data.sources.rasters import COLOURS, file_bands, open_raster
from graticule.errors import ConfigError, SourceError
from graticule.grids import Grid, RasterGrid
from graticule.schema import IGNORE, Band, LegendClass, Target

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_TIFF = (".tif", ".tiff")
_SCENE = "image"
_TO_8_BIT = {"1": "L", "LA": "L", "La": "L"}
"""Modes of Pillow that are grey; all others but these, 16 bits and RGB become RGB."""

Part = Literal["train", "val", "test"]


class Labelled(NamedTuple):
    """One image: its name, x [bands, h, w], its class (or those of its pixels), and further columns of the metadata.

    Unknown classes are 255.
    """

    name: str
    x: np.ndarray
    label: int | np.ndarray
    columns: dict[str, Any]


class WholeImages:
    """A source whose samples are whole images without a place, each its own parent.

    A source of this kind is a subclass with `name` and `images`. Their target is most often one label of each.

    Args:
        target: what is told of each image.
        bands: of x.
        size: (height, width) of all samples.
        dtype: of x.
        count: how many images there are, if that is known.
        options: of the source, to make it again.
    """

    name = "images"

    def __init__(
        self, target: Target, bands: Sequence[Band], size: tuple[int, int], dtype: Any, count: int | None,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.targets, self.bands, self.space = (target,), tuple(bands), size
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.n_samples, self._options = count, dict(options)
        self.skipped: list[tuple[str, str]] = []

    def images(self) -> Iterator[Labelled]:
        """All images, always in the same order."""
        raise NotImplementedError

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut: they are not."""
        return {"height": self.space[0], "width": self.space[1], "overlap": 0}

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """One plane of unknown place, which every image covers."""
        return {_SCENE: RasterGrid.local(*self.space, 1.0)}

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All images; those left out are in `skipped` once all have passed."""
        self.skipped = []
        known = False
        for image in self.images():
            label = np.asarray(image.label, np.uint8)
            known |= bool((label != IGNORE).any())
            row = {"sample_id": image.name, "scene": _SCENE, "parent": image.name, "region": "all", "place": (0, 0)}
            yield image.x, {self.targets[0].array: label}, row | image.columns
        if not known:
            raise SourceError(f"no image of source '{self.name}' is whole and has a label; check source.root.")

    def remarks(self) -> list[tuple[str, str, bool]]:
        """What was left out: which, why, and that it is lost."""
        return [(which, why, True) for which, why in self.skipped]

    def read_scene(self, scene: str) -> Any:
        """Refused: there is no scene to be walked over."""
        raise SourceError(f"source '{self.name}' has single images and no scene '{scene}'; evaluate its parts instead.")

    def truth(self, scene: str) -> None:
        """None: there are no scenes."""
        return


def legend_of(names: Sequence[str]) -> tuple[LegendClass, ...]:
    """Classes by name, each with a colour of its own."""
    colours = list(COLOURS) if len(names) <= len(COLOURS) else [_hue(number) for number in range(len(names))]
    return tuple(LegendClass(number, name, colours[number]) for number, name in enumerate(names))


def _hue(number: int) -> str:
    """Hues that are a golden angle apart, light and dark in turn."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.61803 % 1, (0.38, 0.55, 0.7)[number % 3], 0.6)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def size_of(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) of the option `source.size`.

    Raises:
        ConfigError: if it is no size.
    """
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise ConfigError(f"source.size is {size}; give a side in pixels, or [height,width].")
    return int(sides[0]), int(sides[1])


def bands_of(path: Path) -> tuple[tuple[Band, ...], np.dtype[Any]]:
    """The bands of an image file and the type of its values: a TIFF's own, or red, green and blue, or grey.

    Raises:
        SourceError: if it cannot be read.
    """
    if path.suffix.lower() in _TIFF:
        with open_raster(path) as dataset:
            dtype = np.dtype(dataset.dtypes[0])
            plain = dtype == np.uint8 and dataset.count in (1, 3, 4) and not any(dataset.descriptions)
        if not plain:
            return file_bands(path), dtype
    x = read_image(path)
    return named_bands(len(x), x.dtype), x.dtype


def named_bands(count: int, dtype: np.dtype[Any]) -> tuple[Band, ...]:
    """Red, green and blue, or grey, with the range of their type."""
    limits = (0.0, float(np.iinfo(dtype).max)) if dtype.kind in "iu" else None
    names = ("red", "green", "blue") if count == 3 else ("grey",)
    return tuple(Band(name, valid_range=limits) for name in names)


def read_image(
    path: Path, bands: Sequence[Band] | None = None, size: tuple[int, int] | None = None
) -> Num[np.ndarray, "c h w"]:
    """The values of an image file.

    Args:
        path: PNG, JPEG or TIFF.
        bands: what it must have; a grey image is taken for one of colour and the other way round. None takes its own.
        size: resize to cover (height, width), and cut the middle out; None leaves the size.

    Raises:
        SourceError: if it is damaged or has other bands.
    """
    x = _tiff(path, bands) if path.suffix.lower() in _TIFF else _picture(path, bands)
    return x if size is None or x.shape[1:] == size else fitted(x, size)


def _tiff(path: Path, bands: Sequence[Band] | None) -> np.ndarray:
    with open_raster(path) as dataset:
        x: np.ndarray = dataset.read()
    if bands is None:
        return x[:3] if len(x) == 4 else x
    if len(x) == 4 and len(bands) == 3:  # the fourth is opacity
        return x[:3]
    if len(x) == 1 and [band.name for band in bands] == ["red", "green", "blue"]:
        return x.repeat(3, axis=0)
    if len(x) != len(bands):
        raise SourceError(f"{path} has {len(x)} bands; it must have {len(bands)}, as the first image.")
    return x


def _picture(path: Path, bands: Sequence[Band] | None) -> np.ndarray:
    try:
        with Image.open(path) as image:
            wide = image.mode.startswith("I")
            mode = _TO_8_BIT.get(image.mode, image.mode if image.mode in ("L", "RGB") else "RGB")
            if bands is not None and not wide:
                mode = "RGB" if len(bands) == 3 else "L"
            values = np.asarray(image, np.uint16) if wide else np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise SourceError(f"{path} cannot be read as an image ({reason}); replace it with a whole one.") from error
    return values[None] if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0))


def fitted(x: Num[np.ndarray, "c h w"], size: tuple[int, int]) -> Num[np.ndarray, "c h2 w2"]:
    """The largest middle part of the wanted shape, resized to it: means where it shrinks, bilinear where it grows."""
    height, width = x.shape[1:]
    scale = min(height / size[0], width / size[1])
    tall, wide = scale * size[0], scale * size[1]
    box = ((width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2)
    bands = [
        np.asarray(
            Image.fromarray(band.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
        )
        for band in x
    ]
    values = np.stack(bands)
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(x.dtype)
