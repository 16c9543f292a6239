"""The errors that a user can cause and mend.

Every message says what was found, what must be, and what to do, in one line. The command line prints it without a
traceback and exits with code 2; everything else is a fault of this package and keeps its traceback.
"""


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
