"""The simulated town written as lists of photographs with masks, classes and depth, or in Virtual KITTI 2's layout."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from graticule.data.sources.photo_classes import MERGED, MUST_MAY, OTHER_COLOURS, Colour, coloured
from graticule.data.sources.photo_depth import VKITTI_FAR, unity_code
from graticule.data.town.look import photographed_look, simulated_look
from graticule.data.town.photograph import Photograph, make_view, photograph
from graticule.data.town.solids import SKY_METRES
from graticule.data.town.streets import make_street
from graticule.errors import ConfigError
from graticule.files import whole_folder

Kind = Literal["lists", "vkitti2"]
Domain = Literal["s", "r", "rf"]
DOMAINS: tuple[Domain, ...] = ("s", "r", "rf")

_README = """Simulated: streets ray-cast by `graticule generate streets`; nothing in them is of any place.
{what}
Seed {seed}.
"""
_LISTS = """s is drawn as a game would, with masks (m), classes in colours (s) and depth in Unity's code (d).
r is another town as a camera would see it; val_r.json and test_r.json alone say what is known of them.
rf is r's town under water, with masks (m)."""
_VKITTI2 = "The folders and formats are those of Virtual KITTI 2; no picture is of that data set."

# Real photographs' colours of the merged classes.
_REAL: tuple[tuple[str, Colour], ...] = tuple(
    (name, next((other for other, value in OTHER_COLOURS.items() if value == place), colour))
    for place, (name, colour) in enumerate(MERGED)
)
# Merged class → colour of Virtual KITTI 2.
_KITTI: tuple[Colour, ...] = (
    (0, 0, 0), (100, 60, 100), (140, 140, 140), (255, 255, 0), (90, 240, 0), (210, 0, 200), (255, 127, 80),
    (0, 199, 0), (80, 80, 80), (90, 200, 255), (80, 80, 80),
)  # fmt: skip


def write_town(
    root: Path, *, images: int = 40, height: int = 256, width: int = 256, seed: int = 0, kind: Kind = "lists"
) -> list[str]:
    """Write simulated street photographs and their lists, and return the names of the lists.

    The same seed gives the same files. Of every five photographs one is in the list to validate with, and one in
    that to test with.

    Args:
        root: the folder to make; whole or not at all.
        images: photographs of each domain.
        height: of the photographs.
        width: of the photographs.
        seed: of all that is drawn.
        kind: the three domains with their lists, or one in the layout of Virtual KITTI 2.

    Raises:
        ConfigError: if there is nothing to write.
        OutputError: if the folder exists or cannot be written.
    """
    if images < 1 or min(height, width) < 16:
        raise ConfigError(
            f"{images} photographs of {height} x {width} pixels cannot be made; give 1 or more of 16 x 16 or more."
        )
    with whole_folder(root) as folder:
        told = _LISTS if kind == "lists" else _VKITTI2
        (folder / "README.txt").write_text(_README.format(what=told, seed=seed))
        if kind == "vkitti2":
            lists = _write_vkitti2(folder, images, height, width, seed)
        else:
            lists = {}
            for domain in DOMAINS:
                lists |= _write_domain(folder, domain, images, height, width, seed)
        for name, entries in lists.items():
            (folder / f"{name}.json").write_text(json.dumps(entries, indent=1))
    return [f"{name}.json" for name in lists]


def town_photographs(
    domain: Domain, images: int, height: int, width: int, seed: int = 0
) -> Iterator[tuple[int, Photograph]]:
    """The photographs of a domain, numbered."""
    for image in range(images):
        number = DOMAINS.index(domain) * 1_000_000 + image
        simulated = domain == "s"
        street = make_street(seed, number, houses=1.0 if simulated else 1.6, trees=1.0 if simulated else 0.8)
        camera, origin = make_view(seed, number, height, width, street)
        look = (simulated_look if simulated else photographed_look)(seed, number)
        yield image, photograph(street, camera, origin, look, flooded=domain == "rf", seed=seed, number=number)


def part_of(image: int) -> str:
    """The list that a photograph is in: of every five the fourth validates and the last tests."""
    return ("train", "train", "train", "val", "test")[image % 5]


def _write_domain(
    folder: Path, domain: Domain, images: int, height: int, width: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {f"{part}_{domain}": [] for part in ("train", "val", "test")}
    for image, photo in town_photographs(domain, images, height, width, seed):
        files = {"x": f"{domain}/x/{image:05d}.{'png' if domain == 's' else 'jpg'}"}
        known = {"m": f"{domain}/m/{image:05d}.png"}
        if domain != "rf":
            known |= {"s": f"{domain}/s/{image:05d}.png", "d": f"{domain}/d/{image:05d}.png"}
        if domain == "r":
            known["must_may"] = f"{domain}/must_may/{image:05d}.png"
        part = part_of(image)
        # What is known of r's photographs is for evaluation alone.
        lists[f"{part}_{domain}"].append(files if (domain, part) == ("r", "train") else files | known)
        _write_photo(folder, files | known, photo, real=domain == "r")
    return {name: entries for name, entries in lists.items() if entries}


def _write_photo(folder: Path, files: dict[str, str], photo: Photograph, *, real: bool) -> None:
    made = {
        "x": photo.x, "m": photo.mask * np.uint8(255),
        "s": coloured(photo.segmentation, _REAL if real else MERGED), "d": unity_code(photo.depth),
        "must_may": coloured(photo.must_may, MUST_MAY),
    }  # fmt: skip
    for key, file in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made[key]).save(path, quality=92, compress_level=3)


def _write_vkitti2(
    folder: Path, images: int, height: int, width: int, seed: int
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Scene01 trains and Scene06 validates, as in the published lists."""
    lists: dict[str, list[dict[str, Any]]] = {"train_kitti": [], "val_kitti": []}
    for image, photo in town_photographs("s", images, height, width, seed):
        part, scene = ("val", "Scene06") if part_of(image) == "test" else ("train", "Scene01")
        frames = f"{scene}/clone/frames"
        number = len(lists[f"{part}_kitti"])
        files = {
            "x": f"{frames}/rgb/Camera_0/rgb_{number:05d}.jpg",
            "s": f"{frames}/classSegmentation/Camera_0/classgt_{number:05d}.png",
            "d": f"{frames}/depth/Camera_0/depth_{number:05d}.png",
        }
        depth = np.where(photo.depth >= SKY_METRES, VKITTI_FAR, photo.depth)
        made = {
            "x": photo.x, "s": np.array(_KITTI, np.uint8)[photo.segmentation],
            "d": np.rint(np.minimum(depth, VKITTI_FAR) * 100).astype(np.uint16),
        }  # fmt: skip
        for key, file in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made[key]).save(folder / file)
        lists[f"{part}_kitti"].append(files | {"parent": scene, "region": scene})
    return {name: entries for name, entries in lists.items() if entries}
