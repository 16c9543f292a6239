"""Any data set of torchgeo whose samples are images with a label or a mask, where torchgeo is installed."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from graticule.data.sources.whole_images import Labelled, Part, WholeImages, fitted, legend_of, named_bands, size_of
from graticule.errors import SourceError, nearest
from graticule.schema import Band, Target


class TorchgeoSource(WholeImages):
    """A data set of torchgeo, by the name of its class: EuroSAT, UCMerced, BigEarthNet, LoveDA ...

    Samples with `label` give one class for each image, samples with `mask` one for each pixel. Splits become the
    published split. Nothing is downloaded unless `options` says {"download": true}.

    Args:
        dataset: name of the class in torchgeo.datasets.
        root: folder of the data, as torchgeo wants it.
        splits: names of the splits to read; those among train, val and test that the class has if null.
        options: further arguments of the class, such as {"bands": ["B04", "B03", "B02"]}.
        classes: names of the classes; those that the data set tells if empty.
        size: side of the samples in pixels, or [height, width]; the size of the images if null.

    Raises:
        SourceError: if torchgeo is not installed, has no such data set, or that gives neither label nor mask.
    """

    name = "torchgeo"

    def __init__(
        self, dataset: str, root: str, splits: list[str] | None = None, options: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (), size: int | list[int] | None = None,
    ) -> None:  # fmt: skip
        given = {"dataset": dataset, "root": root, "splits": splits, "options": dict(options or {}),
                 "classes": list(classes), "size": size}  # fmt: skip
        kind = _class_of(dataset)
        self.parts = {part: _made(kind, root, part, dict(options or {})) for part in _splits(kind, splits)}
        first = next(iter(self.parts.values()))
        told = first[0]
        if "image" not in told or not {"label", "mask"} & set(told):
            raise SourceError(
                f"samples of torchgeo's {dataset} have {sorted(told)}; they must have image, and label or mask."
            )
        names = [str(name) for name in (classes or getattr(first, "classes", ()))]
        if len(names) < 2:
            raise SourceError(f"torchgeo's {dataset} does not tell its classes; name them in source.classes.")
        self._field = "label" if "label" in told else "mask"
        x = np.asarray(told["image"])
        wanted = size_of(size)
        self._scaled = wanted is not None and self._field == "label"
        bands = _bands(first, x)
        target = Target("class", "classes", legend_of(names), per="sample" if self._field == "label" else "pixel")
        shape = (int(x.shape[-2]), int(x.shape[-1]))
        count = sum(len(part) for part in self.parts.values())
        super().__init__(target, bands, wanted if wanted and self._scaled else shape, x.dtype, count, given)

    def images(self) -> Iterator[Labelled]:
        """All samples, split by split."""
        for split, part in self.parts.items():
            for number in range(len(part)):
                sample = part[number]
                x, label = np.asarray(sample["image"]), np.asarray(sample[self._field])
                x = fitted(x, self.space) if self._scaled else x
                if x.shape != (len(self.bands), *self.space) or label.shape not in ((), self.space):
                    raise SourceError(
                        f"sample {number} of {split} is {list(x.shape)} with a {self._field} {list(label.shape)}, the "
                        f"first {[len(self.bands), *self.space]}; set source.size, or choose another data set."
                    )
                columns = {"published": split} if split in get_args(Part) else {}
                yield Labelled(
                    f"{split}-{number:06d}", x.astype(self.dtype, copy=False), label.astype(np.uint8), columns
                )


def _class_of(name: str) -> Any:
    try:
        found = importlib.import_module("torchgeo.datasets")
    except ImportError as error:
        running = ".".join(map(str, sys.version_info[:2]))
        raise SourceError(
            f"source 'torchgeo' needs torchgeo, which is not installed ({error}); it needs Python 3.12 or newer (this "
            f"is {running}): pip install torchgeo there, or read the files with source=images or source=scenes."
        ) from error
    if not inspect.isclass(getattr(found, name, None)):
        raise SourceError(f"torchgeo has no data set '{name}'; {nearest(name, dir(found))}")
    return getattr(found, name)


def _splits(kind: Any, wanted: Sequence[str] | None) -> list[str]:
    known = getattr(kind, "splits", ("train",))
    if wanted is not None:
        return list(wanted)
    return [part for part in get_args(Part) if part in known] or list(known)[:1]


def _made(kind: Any, root: str, split: str, options: dict[str, Any]) -> Any:
    given = {"root": root} | options
    if "split" in inspect.signature(kind.__init__).parameters:
        given["split"] = split
    try:
        return kind(**given)
    except Exception as error:  # each data set has its own kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"torchgeo's {kind.__name__} cannot be opened in {root} ({reason}); check its root."
        ) from error


def _bands(dataset: Any, x: np.ndarray) -> tuple[Band, ...]:
    """Named by the data set where it tells as many as there are."""
    listed: Sequence[Any] = getattr(dataset, "bands", None) or getattr(dataset, "all_bands", None) or ()
    told = [str(name) for name in listed]
    if len(told) == len(x):
        return tuple(Band(name) for name in told)
    if len(x) in (1, 3):
        return named_bands(len(x), x.dtype)
    return tuple(Band(f"band_{number}") for number in range(1, len(x) + 1))
