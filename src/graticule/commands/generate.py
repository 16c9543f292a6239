"""`graticule generate`: simulated data in the layout of a published data set."""

import argparse
import re

from graticule.commands.console import tell
from graticule.data.street_files import write_street
from graticule.errors import ConfigError


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    Raises:
        ConfigError: if nothing can be made of the words.
        OutputError: if the folder exists or cannot be written.
    """
    if arguments.root is None:
        raise ConfigError("no folder was given; name the one to make: graticule generate fisheye --root FOLDER.")
    match = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if match is None:
        raise ConfigError(f"--size is '{arguments.size}'; it must be height x width, such as 966x1280.")
    names = write_street(
        arguments.root, images=arguments.images, kind=arguments.kind, seed=arguments.seed, height=int(match[1]),
        width=int(match[2]),
    )  # fmt: skip
    tell(f"{len(names)} simulated photographs in the layout of {arguments.kind}:")
    print(arguments.root)
