"""Files of photographs and of what is known of their pixels: pictures, arrays and tensors, read and never run."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from graticule.errors import SourceError

ARRAYS, TENSORS = (".npy", ".npz"), (".pt", ".pth")


def read_photo(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Colours as one sees them: turned as EXIF says, grey as three colours, what is transparent over white.

    Raises:
        SourceError: if the file is no photograph.
    """
    if path.suffix.lower() in ARRAYS + TENSORS:
        return _photo_of(_channels_last(read_array(path)), path)
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16") or upright.mode == "I":
                return np.repeat((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255)[..., None], 3, -1).astype(
                    np.uint8
                )
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                above = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
            return np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_labels(path: Path) -> Shaped[np.ndarray, "h w *colours"]:
    """What a file stores for each pixel: numbers [h, w] (a palette's too), or colours [h, w, 3].

    Raises:
        SourceError: if it cannot be read.
    """
    if path.suffix.lower() in ARRAYS + TENSORS:
        stored = read_array(path)
        return stored if stored.ndim == 2 else _channels_last(stored)
    try:
        with Image.open(path) as opened:
            # A palette's numbers are the classes, where it has no more of them than a legend would.
            plain = opened if opened.mode in ("L", "P", "I", "F", "1") or opened.mode.startswith("I;") else None
            return np.asarray(plain if plain is not None else opened.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_array(path: Path) -> np.ndarray:
    """The one array of a .npy, .npz or tensor file, without axes of length one in front.

    Raises:
        SourceError: if there is none, or it would have to be unpickled.
    """
    try:
        stored = _tensor(path) if path.suffix.lower() in TENSORS else np.load(path, allow_pickle=False)
        if isinstance(stored, np.lib.npyio.NpzFile):
            with stored as archive:
                if len(archive.files) != 1:
                    names = ", ".join(archive.files) or "none"
                    raise SourceError(f"{path} holds the arrays {names}; it must hold one: save it alone.")
                stored = archive[archive.files[0]]
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error
    while stored.ndim > 2 and stored.shape[0] == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim not in (2, 3) or stored.dtype.kind not in "buif":
        raise SourceError(f"{path} holds {stored.dtype} {list(stored.shape)}; it must hold numbers of h x w pixels.")
    return stored


def _tensor(path: Path) -> np.ndarray:
    import pickle

    import torch

    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise SourceError(
            f"{path} is no plain tensor, and nothing else is unpickled; save it with torch.save(tensor), or as .npy."
        ) from error
    if not isinstance(stored, torch.Tensor):
        raise SourceError(f"{path} holds a {type(stored).__name__}; it must hold one tensor.")
    return (stored.float() if stored.is_floating_point() else stored).numpy()


def _channels_last(stored: np.ndarray) -> np.ndarray:
    if stored.ndim == 3 and stored.shape[0] in (3, 4) and stored.shape[-1] not in (3, 4):
        return np.moveaxis(stored, 0, -1)
    return stored


def _photo_of(stored: np.ndarray, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    if stored.ndim == 2:
        stored = np.repeat(stored[..., None], 3, -1)
    if stored.dtype.kind == "f" and np.isfinite(stored).all() and stored.min() >= 0 and stored.max() <= 1:
        stored = np.rint(stored * 255).astype(np.uint8)
    if stored.dtype != np.uint8 or stored.shape[-1] != 3:
        raise SourceError(
            f"{path} holds {stored.dtype} {list(stored.shape)}; a photograph is uint8, or values from 0 to 1, of three "
            "colours."
        )
    return stored


def _unreadable(path: Path, error: Exception) -> SourceError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return SourceError(f"{path} cannot be read ({reason}); copy it again or take it from the list.")
