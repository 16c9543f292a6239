"""Folders of images by class: the layout of EuroSAT, UC Merced, AID and many others.

```
root/Forest/Forest_1.jpg ...     PNG, JPEG or TIFF with any number of bands; the folder's name is the class
root/River/...
```

A folder that holds only that one (`2750`, `Images`) is stepped into. Folders `train`, `val` and `test` above those of
the classes are the published split, see `split=published`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from pyproj import Transformer

from graticule.data.sources.rasters import open_raster
from graticule.data.sources.whole_images import (
    SUFFIXES,
    Labelled,
    Part,
    WholeImages,
    bands_of,
    legend_of,
    read_image,
    size_of,
)
from graticule.errors import SourceError
from graticule.schema import Target


@dataclass(frozen=True)
class _File:
    path: Path
    label: int
    part: Part | None


class ImagesSource(WholeImages):
    """A folder with a folder of images for each class.

    Images are scaled to cover `size` and their middle is cut out; without it all must have the same size. The first
    image decides the bands and their type. Images that lie on the Earth (TIFF with CRS) have as their region the degree
    that they are in, so that `split=region` keeps neighbours together.

    Args:
        root: the folder of the class folders.
        size: side of the samples in pixels, or [height, width]; the size of the images if null.
        target: name of the target.
        skip_corrupt: leave images out that cannot be read, and tell how many; else the first of them is an error.

    Raises:
        SourceError: if there is no class folder, one of them is empty, or an image is damaged or differs.
    """

    name = "images"

    def __init__(
        self, root: str, size: int | list[int] | None = None, target: str = "class", skip_corrupt: bool = False
    ) -> None:
        self.root, self.skip_corrupt, wanted = Path(root), skip_corrupt, size_of(size)
        classes, self.files = find_images(self.root)
        bands, dtype, own = self._first()
        super().__init__(
            Target(target, "classes", legend_of(classes), per="sample"), bands, wanted or own, dtype, len(self.files),
            {"root": root, "size": size, "target": target, "skip_corrupt": skip_corrupt},
        )  # fmt: skip
        self._scaled = wanted is not None

    def images(self) -> Iterator[Labelled]:
        """All images, class by class."""
        for file in self.files:
            try:
                x = read_image(file.path, self.bands, self.space if self._scaled else None)
            except SourceError as error:
                if not self.skip_corrupt:
                    raise SourceError(f"{error} Or leave such images out with source.skip_corrupt=true.") from error
                self.skipped.append((str(file.path), str(error)))
                continue
            name = str(file.path.relative_to(self.root))
            if x.shape[1:] != self.space or x.dtype != self.dtype:
                found = f"{x.shape[1]} x {x.shape[2]} pixels of type {x.dtype}"
                raise SourceError(
                    f"{file.path} has {found}, the first image {self.space[0]} x {self.space[1]} of type {self.dtype}; "
                    "give the size that all are scaled to as source.size."
                )
            columns: dict[str, Any] = {"published": file.part} if file.part else {}
            if (region := _region(file.path)) is not None:
                columns["region"] = region
            yield Labelled(name, x, file.label, columns)

    def _first(self) -> tuple[Any, Any, tuple[int, int]]:
        """Bands, type and size of the first image that can be read."""
        for file in self.files:
            try:
                x = read_image(file.path)
                return *bands_of(file.path), cast(tuple[int, int], x.shape[1:])
            except SourceError as error:
                if not self.skip_corrupt:
                    raise SourceError(f"{error} Or leave such images out with source.skip_corrupt=true.") from error
        raise SourceError(f"none of the {len(self.files)} images in {self.root} can be read; give whole ones.")


def find_images(root: Path) -> tuple[list[str], list[_File]]:
    """The classes by name, and the images: class by class, in order of name.

    Raises:
        SourceError: if there is nothing, or a class without an image.
    """
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}; give the one that holds a folder of images for each class.")
    top = root
    while len(inner := _folders(top)) == 1 and not _images(top) and _folders(inner[0]):
        top = inner[0]
    parts = [folder for folder in _folders(top) if folder.name in get_args(Part)]
    by_class: list[tuple[Path, Part | None]]
    if parts and len(parts) == len(_folders(top)):
        by_class = [(folder, cast(Part, part.name)) for part in parts for folder in _folders(part)]
    else:
        by_class = [(folder, None) for folder in _folders(top)]
    classes = sorted({folder.name for folder, _ in by_class})
    if len(classes) < 2:
        what = f"has {len(classes)} folders of classes" if classes or _images(top) else "is empty"
        raise SourceError(f"{top} {what}; it must hold a folder of images for each class, at least two.")
    files = []
    for folder, part in sorted(by_class, key=lambda entry: entry[0].name):
        found = _images(folder, deep=True)
        if not found:
            raise SourceError(
                f"class folder {folder} has no image ({', '.join(SUFFIXES)}); put its images there, or remove it."
            )
        files += [_File(path, classes.index(folder.name), part) for path in found]
    return classes, files


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _images(folder: Path, *, deep: bool = False) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _region(path: Path) -> str | None:
    """The degree of longitude and latitude in which the middle of a georeferenced TIFF lies; None without a place."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    with open_raster(path) as dataset:
        if dataset.crs is None:
            return None
        to_lonlat = Transformer.from_crs(dataset.crs.to_wkt(), "EPSG:4326", always_xy=True)
        lon, lat = to_lonlat.transform(*dataset.xy(dataset.height / 2, dataset.width / 2))
    return f"{int(lat // 1):+03d}{int(lon // 1):+04d}"
