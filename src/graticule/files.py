"""Files and folders that appear whole or not at all."""

import ctypes
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from graticule.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another output folder",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "permission was denied; choose an output folder that you may write to",
    errno.EPERM: "permission was denied; choose an output folder that you may write to",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another output folder",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """The one-line error for a failed write to `path`: what happened and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; check the output folder")
    return OutputError(f"cannot write {path}: {remedy}. Nothing was left half-written.")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; on success it is flushed to disk and renamed to `path`.

    On any error the temporary file is removed and an existing file at `path` stays as it was. The temporary name
    keeps the suffix of `path`, since many writers choose their format by it.

    Raises:
        OutputError: if the disk is full, the folder is read-only, and the like.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        # On a read-only file system even removing what is not there fails.
        with suppress(OSError):
            temporary.unlink()


def remove_partial(path: Path) -> None:
    """Remove what a killed process left of writing `path`: temporary siblings of `whole_file` and `whole_folder`."""
    for left in path.parent.glob(f".{escape(path.stem)}*.partial*"):
        if re.fullmatch(rf"\.({re.escape(path.stem)}|{re.escape(path.name)})-[0-9a-f]{{8}}\.partial.*", left.name):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder of `path` to fill; on success it is renamed to `path`.

    On any error the temporary folder is removed and an existing folder at `path` stays as it was. On Linux the two
    change places in one step, so that a process that is killed leaves either the old folder or the new one.

    Raises:
        OutputError: if `path` exists and `overwrite` is false, the disk is full, the place is read-only, and the like.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give another path, or remove it first.")
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            retired = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(path: Path) -> None:
    """Remove what killed processes have left beside `path`; call it only while nobody else writes there.

    Where a process was killed between taking an old folder away and putting the new one there, the old one comes back.
    """
    left = re.compile(rf"\.{re.escape(path.name)}-[0-9a-f]{{8}}\.(partial|old)")
    for entry in sorted(path.parent.glob(f".{escape(path.name)}-*")):
        if left.fullmatch(entry.name) is None:
            continue
        if entry.suffix == ".old" and not path.exists():
            entry.rename(path)
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; false where the system cannot."""
    here, exchange = -100, 2  # AT_FDCWD of fcntl.h and RENAME_EXCHANGE of stdio.h
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
