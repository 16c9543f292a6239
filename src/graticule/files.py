"""Files and folders that appear whole or not at all."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder of `path` to fill; on success it is renamed to `path`.

    On any error the temporary folder is removed and an existing folder at `path` stays as it was.

    Raises:
        OutputError: if `path` exists and `overwrite` is false, the disk is full, the place is read-only, and the like.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give another path, or remove it first.")
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            retired = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            temporary.rename(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
