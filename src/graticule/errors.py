"""The errors that a user can cause and mend.

Every message says what was found, what must be, and what to do, in one line. The command line prints it without a
traceback and exits with code 2; everything else is a fault of this package and keeps its traceback.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class GraticuleError(Exception):
    """What the user gave cannot be used. The text is one line and names the remedy."""


class ConfigError(GraticuleError):
    """A key, value or file of the configuration is wrong."""


class GridError(GraticuleError):
    """A grid cannot be made or used as asked (no CRS, nside out of range, window outside the grid)."""


class SourceError(GraticuleError):
    """Published input data is missing, truncated or not of the expected form."""


class StoreError(GraticuleError):
    """A store of prepared samples is missing, damaged or does not fit."""


class SplitError(GraticuleError):
    """A split is empty, impossible or leaks."""


class CheckpointError(GraticuleError):
    """A checkpoint is missing, truncated, unsafe or of another model."""


class OutputError(GraticuleError):
    """A result cannot be written (disk full, read-only folder, it exists already)."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "did you mean 'unet'?", or all known names where none is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1) or [n for n in names if n.lower() == name.lower()][:1]
    if close:
        return f"did you mean '{close[0]}'?"
    listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    return f"the known ones are: {listed}."


def without_password(text: str) -> str:
    """A text in which the password of any address such as scheme://user:password@host is hidden."""
    return re.sub(r"(\w://[^:/@\s]*):[^\s]*@", r"\1:***@", text)
