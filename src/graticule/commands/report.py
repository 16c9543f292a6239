"""`graticule report`: one self-contained page of a run, or of several side by side."""

import argparse

from graticule.errors import ConfigError
from graticule.reporting.report import report


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    Raises:
        ConfigError: if no run is given.
    """
    if not arguments.runs:
        raise ConfigError("no run was given; name its folder: graticule report RUN.")
    print(report(arguments.runs, arguments.out))
