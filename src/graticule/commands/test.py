"""`graticule test`: `graticule evaluate` on the test part, on whole scenes where the words name no other grid."""

import argparse

from graticule.commands import evaluate


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    arguments.words = ["evaluate.parts=[test]", "evaluate.grid=scene", *arguments.words]
    arguments.config = None
    evaluate.main(arguments)
