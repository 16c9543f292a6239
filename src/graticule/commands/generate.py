"""`graticule generate`: simulated data in the layout of a published data set."""

import argparse
import re

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
    tell({"fisheye": _fisheye, "dfc2021": _dfc2021, "slumps": _slumps}[arguments.what](arguments))
    print(arguments.root)


def _fisheye(arguments: argparse.Namespace) -> str:
    from graticule.data.street_files import write_street

    match = re.fullmatch(r"(\d+)x(\d+)", arguments.size or "966x1280")
    if match is None:
        raise ConfigError(f"--size is '{arguments.size}'; it must be height x width, such as 966x1280.")
    names = write_street(
        arguments.root, images=arguments.images, kind=arguments.kind, seed=arguments.seed, height=int(match[1]),
        width=int(match[2]),
    )  # fmt: skip
    return f"{len(names)} simulated photographs in the layout of {arguments.kind}:"


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
