"""`graticule generate`: simulated data in the layout of a published data set."""

import argparse
import re
from typing import Any

from graticule.commands.console import tell
from graticule.errors import ConfigError


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    Raises:
        ConfigError: if nothing can be made of the words.
        OutputError: if the folder exists or cannot be written.
    """
    if arguments.root is None:
        raise ConfigError(
            f"no folder was given; name the one to make: graticule generate {arguments.what} --root FOLDER."
        )
    made = {
        "fisheye": _fisheye, "streets": _streets, "dfc2021": _dfc2021, "slumps": _slumps, "mnist": _mnist,
        "images": _images,
    }  # fmt: skip
    tell(made[arguments.what](arguments))
    print(arguments.root)


def _fisheye(arguments: argparse.Namespace) -> str:
    from graticule.data.street_files import write_street

    height, width = _size(arguments.size or "966x1280")
    kind = _kind(arguments, ("synwoodscape", "woodscape"))
    names = write_street(
        arguments.root, images=_count(arguments, 40), kind=kind, seed=arguments.seed, height=height, width=width
    )
    return f"{len(names)} simulated photographs in the layout of {kind}:"


def _streets(arguments: argparse.Namespace) -> str:
    from graticule.data.town_files import write_town

    height, width = _size(arguments.size or "256x256")
    kind, count = _kind(arguments, ("lists", "vkitti2")), _count(arguments, 40)
    names = write_town(arguments.root, images=count, kind=kind, seed=arguments.seed, height=height, width=width)
    return f"{count} simulated photographs of each domain, listed in {', '.join(names)}:"


def _size(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None:
        raise ConfigError(f"--size is '{size}'; it must be height x width, such as 966x1280.")
    return int(match[1]), int(match[2])


def _kind(arguments: argparse.Namespace, known: tuple[str, ...]) -> Any:
    """The kind that was asked for, or the first of those that there are."""
    if arguments.kind not in (None, *known):
        raise ConfigError(f"--kind is '{arguments.kind}'; of {arguments.what} it is {' or '.join(known)}.")
    return arguments.kind or known[0]


def _dfc2021(arguments: argparse.Namespace) -> str:
    from graticule.data.tile_files import write_tiles

    side = arguments.size or "800"
    if not side.isdigit():
        raise ConfigError(f"--size is '{side}'; it must be the side of the images in pixels, 800 as published.")
    names = write_tiles(arguments.root, tiles=arguments.tiles, seed=arguments.seed, side=int(side))
    return f"{len(names)} simulated tiles in the layout of DFC2021 DSE:"


def _slumps(arguments: argparse.Namespace) -> str:
    from graticule.data.slumps_files import write_slumps

    names = write_slumps(
        arguments.root, scenes=arguments.scenes, regions=arguments.regions, seed=arguments.seed
    )  # fmt: skip
    return f"{len(names)} simulated scenes of Sentinel-2 and as many of PLANET, with labels, heights and trends:"


def _mnist(arguments: argparse.Namespace) -> str:
    from graticule.data.digits import write_digits

    count = write_digits(arguments.root, images=_count(arguments, 6000), seed=arguments.seed)
    return f"{count} drawn digits in the files of MNIST:"


def _images(arguments: argparse.Namespace) -> str:
    from graticule.data.land_images import CLASSES, write_images

    side = arguments.size or "64"
    if not side.isdigit():
        raise ConfigError(f"--size is '{side}'; it must be the side of the images in pixels, such as 64.")
    count = write_images(arguments.root, images=_count(arguments, 60), side=int(side), seed=arguments.seed)
    return f"{count} drawn images in folders of {len(CLASSES)} classes:"


def _count(arguments: argparse.Namespace, usual: int) -> int:
    count = usual if arguments.images is None else int(arguments.images)
    if count < 1:
        raise ConfigError(f"--images is {count}; give at least 1.")
    return count
