"""MNIST: drawn digits in the four idx files, packed or not, as published.

An idx file is a magic number (two zero bytes, the type, the number of axes), the length of each axis (big-endian 32
bits), then the values (LeCun, Cortes and Burges, yann.lecun.com/exdb/mnist).
"""

import gzip
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from graticule.data.sources.whole_images import Labelled, Part, WholeImages, legend_of, named_bands
from graticule.errors import SourceError
from graticule.schema import Target

FILES: dict[Part, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_FOLDERS = ("", "raw", "MNIST/raw", "mnist", "MNIST")
"""Where below `root` the files may lie; torchvision has them in `MNIST/raw`."""
_REMEDY = "fetch it again, or draw digits with `graticule generate mnist --root FOLDER`"


class MnistSource(WholeImages):
    """Digits of 28 x 28 pixels with their published split: `split=published` tests on the ten thousand held back.

    Fashion-MNIST, KMNIST and others that come in files of these names are read too (their classes are then numbers).

    Args:
        root: the folder of the idx files, or one above it; .gz or not.

    Raises:
        SourceError: if a file is missing or damaged.
    """

    name = "mnist"

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.paths = {part: tuple(_find(self.root, name) for name in names) for part, names in FILES.items()}
        shapes = {part: _header(images)[0] for part, (images, _) in self.paths.items()}
        sizes = {shape[1:] for shape in shapes.values()}
        if len(sizes) > 1 or any(len(shape) != 3 for shape in shapes.values()):
            raise SourceError(f"the images under {self.root} are of shapes {sorted(shapes.values())}; {_REMEDY}.")
        target = Target("digit", "classes", legend_of([str(digit) for digit in range(10)]), per="sample")
        height, width = sizes.pop()
        super().__init__(
            target, named_bands(1, np.dtype(np.uint8)), (height, width), np.uint8,
            sum(shape[0] for shape in shapes.values()), {"root": root},
        )  # fmt: skip

    def images(self) -> Iterator[Labelled]:
        """The training images, then those held back."""
        for part, (images, labels) in self.paths.items():
            x, y = read_idx(images), read_idx(labels)
            if len(x) != len(y) or y.ndim != 1 or (len(y) and y.max() > 9):
                raise SourceError(f"{labels} does not have a digit for each of the {len(x)} images; {_REMEDY}.")
            for number, (image, label) in enumerate(zip(x, y, strict=True)):
                yield Labelled(f"{part}-{number:05d}", image[None], int(label), {"published": part})


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """The array in an idx file of bytes, packed by gzip or not.

    Raises:
        SourceError: if it is truncated or no idx file.
    """
    shape, start = _header(path)
    values = np.frombuffer(_bytes(path), np.uint8, offset=start)
    if len(values) != math.prod(shape):
        raise SourceError(f"{path} has {len(values)} values and must have {math.prod(shape)}; {_REMEDY}.")
    return values.reshape(shape)


def write_idx(path: Path, values: UInt8[np.ndarray, "..."]) -> None:
    """Write an array as an idx file, packed if the name ends in .gz."""
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _find(root: Path, name: str) -> Path:
    for folder in _FOLDERS:
        for path in (root / folder / name, root / folder / f"{name}.gz", root / folder / name.replace("-idx", ".idx")):
            if path.is_file():
                return path
    raise SourceError(
        f"{root} has no {name}(.gz); give the folder of MNIST's idx files as source.root, or draw digits with "
        "`graticule generate mnist --root FOLDER`."
    )


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """The shape, and where the values begin."""
    head = _bytes(path, 64)
    axes = head[3] if len(head) > 3 else 0
    if head[:3] != b"\0\0\x08" or len(head) < 4 + 4 * axes:
        raise SourceError(f"{path} is no idx file of bytes; {_REMEDY}.")
    return struct.unpack_from(f">{axes}I", head, 4), 4 + 4 * axes


def _bytes(path: Path, count: int = -1) -> bytes:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            content: bytes = file.read(count)
            return content
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read ({error}); {_REMEDY}.") from error
