"""`graticule profile`: what the data and the net of a configuration cost; tables, JSON and a picture."""

import argparse

from graticule.commands.launching import launch
from graticule.commands.profile_data import profile_data
from graticule.commands.profile_model import profile_model


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    launch({"data": profile_data, "model": profile_model}[arguments.what], arguments)
