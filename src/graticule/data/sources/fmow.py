"""Functional Map of the World, the RGB version: images of places with a box around what is to be told.

```
root/train/airport/airport_0/airport_0_0_rgb.jpg    root/train/airport/airport_0/airport_0_0_rgb.json
root/val/...                                        root/test_gt/... , root/seq_gt/... (as released, or unpacked)
```

The JSON of an image tells its ground distance (`gsd`, metres per pixel) and its boxes: category and [x, y, width,
height] in pixels (Christie et al. 2018, arXiv:1711.07846).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from graticule.data.sources.whole_images import Labelled, Part, WholeImages, legend_of, named_bands, size_of
from graticule.errors import ConfigError, SourceError
from graticule.schema import IGNORE, Target

FOLDERS: dict[str, Part] = {
    "train": "train", "val": "val", "test": "test", "test_gt": "test", "seq": "test", "seq_gt": "test",
}  # fmt: skip
_UNLABELLED = "false_detection"


@dataclass(frozen=True)
class Box:
    """One box of one image.

    Attributes:
        image: the file.
        name: of the sample.
        category: of the box.
        place: left, top, width, height in pixels.
        gsd: metres per pixel.
        part: of the published split.
        scene: the place on the ground, which has several images.
        country: where it is told.
    """

    image: Path
    name: str
    category: str
    place: tuple[float, float, float, float]
    gsd: float
    part: Part
    scene: str
    country: str


class FmowSource(WholeImages):
    """The boxes of fMoW, each cut out with its surroundings and scaled to one size.

    All images of a place are one parent, so that a split keeps them together; a region is a country.

    Args:
        root: the folder that holds `train` and `val`.
        size: side of the samples in pixels, or [height, width].
        context: width of what is cut out, in widths of the box (its longer side); what is outside the image is black.
        gsd: cut `size` pixels of so many metres around the middle of the box instead, whatever its size.
        pick: `all` images of a place, or its `first` or `last` one.
        skip_corrupt: leave images out that cannot be read, and tell how many; else the first of them is an error.

    Raises:
        SourceError: if there is no image, or one of them or its JSON is damaged.
        ConfigError: if options do not go together.
    """

    name = "fmow"

    def __init__(
        self, root: str, size: int | list[int] = 224, context: float = 1.5, gsd: float | None = None,
        pick: Literal["all", "first", "last"] = "all", skip_corrupt: bool = False,
    ) -> None:  # fmt: skip
        if context < 1 or (gsd is not None and gsd <= 0):
            raise ConfigError(f"source.context is {context} and source.gsd {gsd}; give at least 1, and metres above 0.")
        self.root, self.context, self.gsd, self.skip_corrupt = Path(root), context, gsd, skip_corrupt
        self.boxes = _picked(find_boxes(self.root), pick)
        self.classes = sorted({box.category for box in self.boxes} - {_UNLABELLED})
        if len(self.classes) < 2:
            raise SourceError(f"{root} has boxes of {len(self.classes)} categories; a source needs two or more.")
        target = Target("category", "classes", legend_of(self.classes), per="sample")
        wanted = size_of(size) or (224, 224)
        super().__init__(
            target, named_bands(3, np.dtype(np.uint8)), wanted, np.uint8, len(self.boxes),
            {"root": root, "size": size, "context": context, "gsd": gsd, "pick": pick, "skip_corrupt": skip_corrupt},
        )  # fmt: skip

    def images(self) -> Iterator[Labelled]:
        """All boxes, part by part, place by place."""
        for box in self.boxes:
            try:
                x = cut_out(box, self.space, self.context, self.gsd)
            except SourceError as error:
                if not self.skip_corrupt:
                    raise SourceError(f"{error} Or leave such images out with source.skip_corrupt=true.") from error
                self.skipped.append((str(box.image), str(error)))
                continue
            label = self.classes.index(box.category) if box.category in self.classes else IGNORE
            columns = {"parent": box.scene, "region": box.country, "published": box.part, "gsd": box.gsd}
            yield Labelled(box.name, x, label, columns)


def find_boxes(root: Path) -> list[Box]:
    """All boxes of the RGB images with their JSON.

    Raises:
        SourceError: if there is none, or a JSON is damaged.
    """
    boxes: list[Box] = []
    for folder, part in FOLDERS.items():
        for path in sorted((root / folder).glob("*/*/*_rgb.json")):
            boxes += _boxes(path, part, root)
    if not boxes:
        raise SourceError(
            f"{root} has no image with boxes such as train/airport/airport_0/airport_0_0_rgb.json; give the "
            "folder that holds train and val."
        )
    return boxes


def _boxes(path: Path, part: Part, root: Path) -> list[Box]:
    image = next((found for suffix in (".jpg", ".jpeg", ".png") if (found := path.with_suffix(suffix)).is_file()), None)
    if image is None:
        raise SourceError(f"{path} has no image beside it ({path.stem}.jpg); unpack it again, or remove the JSON.")
    try:
        told = json.loads(path.read_text())
        listed = told["bounding_boxes"]
        # Released files have one box, or a list of them.
        listed = [listed] if isinstance(listed, dict) else listed
        gsd, country = float(told["gsd"]), str(told.get("country_code", "all"))
        return [
            Box(
                image, f"{path.parent.relative_to(root)}/{path.stem}-{entry.get('ID', number)}",
                str(entry["category"]), _place(entry["box"]), gsd, part, str(path.parent.relative_to(root)), country,
            )
            for number, entry in enumerate(listed)
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{path} does not tell gsd and bounding_boxes with category and box ({error!r}); unpack it again."
        ) from error


def _place(box: Sequence[Any]) -> tuple[float, float, float, float]:
    left, top, width, height = (float(number) for number in box)
    if not (width > 0 and height > 0 and math.isfinite(left + top + width + height)):
        raise ValueError(f"a box of {width:g} x {height:g} pixels")
    return left, top, width, height


def _picked(boxes: list[Box], pick: str) -> list[Box]:
    """Of each place the boxes of all its images, or of its first or last one."""
    if pick == "all":
        return boxes
    by_scene: dict[str, list[Box]] = {}
    for box in boxes:
        by_scene.setdefault(box.scene, []).append(box)
    chosen = {scene: own[0 if pick == "first" else -1].image for scene, own in by_scene.items()}
    return [box for box in boxes if box.image == chosen[box.scene]]


def cut_out(box: Box, size: tuple[int, int], context: float, gsd: float | None) -> np.ndarray:
    """What is around a box as uint8 [3, height, width]; black where it reaches beyond the image.

    Raises:
        SourceError: if the image is damaged.
    """
    left, top, width, height = box.place
    per_pixel = gsd / box.gsd if gsd is not None else context * max(width / size[1], height / size[0])
    wide, tall = per_pixel * size[1], per_pixel * size[0]
    x, y = left + width / 2 - wide / 2, top + height / 2 - tall / 2
    try:
        with Image.open(box.image) as image:
            frame = (math.floor(x), math.floor(y), math.ceil(x + wide), math.ceil(y + tall))
            part = image.convert("RGB").crop(frame)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(str(box.image), "it").split()) or type(error).__name__
        raise SourceError(f"{box.image} cannot be read as an image ({reason}); replace it with a whole one.") from error
    inner = (x - frame[0], y - frame[1], x - frame[0] + wide, y - frame[1] + tall)
    scaled = part.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=inner)
    return np.ascontiguousarray(np.moveaxis(np.asarray(scaled), -1, 0))
