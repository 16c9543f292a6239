"""Photographs, depth and segmentation from files, and pictures of events side by side in one."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from graticule.errors import ConfigError, SourceError
from graticule.files import whole_file

PHOTOS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LAYERS = (".npy", ".npz", ".png")
_ENDS = {
    "mask": ("", "-mask", "_mask"),
    "depth": ("", "-depth", "_depth"),
    "disparity": ("", "-disparity", "_disparity"),
    "segmentation": ("", "-segmentation", "_segmentation", "-semantics", "_semantics"),
}
_TILE, _GAP, _HEAD = 480, 8, 28


def list_photos(given: Sequence[Path]) -> list[Path]:
    """The photographs that are named, and those in the folders that are named.

    A file of a folder whose name ends as that of a layer does (`a-depth.png`) is no photograph.

    Raises:
        SourceError: if a folder has none, or a path does not exist.
        ConfigError: if two would be written as the same files.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if _is_photo(file))
            if not inside:
                raise SourceError(f"{path} holds no photographs; they must be files {', '.join(PHOTOS)}.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise SourceError(f"there is no photograph {path}; check the path.")
    stems: dict[str, Path] = {}
    for path in dict.fromkeys(found):
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise ConfigError(f"{other} and {path} would be written as the same files; render them one by one.")
    return list(stems.values())


def _is_photo(path: Path) -> bool:
    ends = tuple(end for ends in _ENDS.values() for end in ends if end)
    return path.suffix.lower() in PHOTOS and path.is_file() and not path.stem.endswith(ends)


def read_photo(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph in a file, upright as its EXIF orientation says; what is transparent is put on white.

    Raises:
        SourceError: if there is no picture that can be read.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path} cannot be read as a picture ({_why(error)}); give another file.") from error
    if upright.mode.startswith("I;16"):
        grey = np.asarray(upright.convert("I"), np.float64) / 257
        return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)
    if upright.mode in ("I", "F"):
        raise SourceError(f"{path} has pixels of 32 bits, whose white is unknown; save it with 8 or 16 bits.")
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.asarray(upright.convert("RGB"))


def layer_files(name: str, given: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    """Which file holds the layer of which photograph; those without one are left out.

    A file belongs to the photograph of its name, with or without the layer's at its end (`a.npy` or `a-depth.npy` to
    `a.png`). One file given for one photograph belongs to it whatever its name.

    Args:
        name: depth, disparity, segmentation or mask.
        given: files and folders.
        photos: to which they belong.

    Raises:
        SourceError: if a path does not exist.
        ConfigError: if a photograph has several.
    """
    for path in given:
        if not path.exists():
            raise SourceError(f"there is no {name} {path}; check the path.")
    if len(photos) == len(given) == 1 and given[0].is_file():
        return {photos[0]: given[0]}
    there = [file for path in given for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    by_stem: dict[str, list[Path]] = {}
    for file in there:
        if file.suffix.lower() in LAYERS and file not in photos:
            by_stem.setdefault(file.stem, []).append(file)
    found = {}
    for photo in photos:
        files = [file for end in _ENDS[name] for file in by_stem.get(photo.stem + end, ())]
        if len(files) > 1:
            raise ConfigError(f"{photo} has {len(files)} files of {name}, {files[0]} and {files[1]}; give one.")
        if files:
            found[photo] = files[0]
    return found


def read_depth(path: Path, unit: float | None) -> np.ndarray:
    """Metres of each pixel, float32 [h, w].

    Args:
        path: of a .npy, .npz or .png file.
        unit: metres to which one in the file comes; None where the file holds metres, which whole numbers do not tell.

    Raises:
        SourceError: if it cannot be read, or its unit is not known.
    """
    values = _read_map(path, "depth")
    if values.dtype.kind in "ui" and unit is None:
        raise SourceError(
            f"{path} holds whole numbers, whose unit is unknown; add --depth-unit METRES (0.001 for millimetres), or "
            "give it as --disparity."
        )
    return values.astype(np.float32) * np.float32(1.0 if unit is None else unit)


def read_disparity(path: Path) -> np.ndarray:
    """One over the distance of each pixel in any unit, float32 [h, w].

    Raises:
        SourceError: if it cannot be read.
    """
    return _read_map(path, "disparity").astype(np.float32)


def read_segmentation(path: Path, sky: int | str, number: int) -> np.ndarray:
    """Class of each pixel [h, w], the sky being `number`.

    Args:
        path: of a .npy, .npz or .png file of class numbers, or a .png file of colours.
        sky: the sky's number in the file, or its colour as `#rrggbb`.
        number: what it becomes, where it has a colour.

    Raises:
        SourceError: if it cannot be read, or has colours where numbers are expected.
    """
    if isinstance(sky, int):
        return _read_map(path, "segmentation")
    colour = np.frombuffer(bytes.fromhex(sky.lstrip("#")), np.uint8)
    return np.where((read_photo(path) == colour).all(axis=-1), number, number + 1)


def read_mask(path: Path) -> np.ndarray:
    """Share of water in each pixel, 0 to 1, float32 [h, w]; of whole numbers 255 (or 1, where none is larger) is all.

    Raises:
        SourceError: if it cannot be read, or holds other numbers.
    """
    values = _read_map(path, "mask")
    most = 1.0
    if values.dtype.kind in "ui" and values.max(initial=0) > 1:
        most = 255.0
    share = values.astype(np.float32) / np.float32(most)
    if not bool(((share >= 0) & (share <= 1)).all()):
        raise SourceError(
            f"{path} holds {values.min()} to {values.max()}; a mask must hold 0 to 255, or shares 0 to 1."
        )
    return share


def _read_map(path: Path, name: str) -> np.ndarray:
    """The numbers of a file, [h, w]; nothing in it is ever unpickled."""
    try:
        values = _load(path, name)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(
            f"{path} cannot be read as {name} ({_why(error)}); give a .npy, .npz or .png file of numbers."
        ) from error
    squeezed = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
    if squeezed.ndim != 2 or 0 in squeezed.shape or squeezed.dtype.kind not in "buif":
        raise SourceError(
            f"{path} holds {values.dtype} of the shape {values.shape}; {name} must be one number per pixel"
            + (", or name the sky's colour: --sky '#rrggbb'." if name == "segmentation" else ".")
        )
    return squeezed


def _load(path: Path, name: str) -> np.ndarray:
    if path.suffix.lower() == ".png":
        with Image.open(path) as image:
            if name == "mask" and image.mode in ("RGB", "RGBA", "LA"):
                return np.asarray(image.convert("RGB"))[..., 0]
            # The numbers of a palette are the classes; its colours are for the eye.
            return np.asarray(image)
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        names = loaded.files
        if len(names) != 1 and name not in names:
            raise ValueError(f"it has the arrays {', '.join(names) or 'none'}, and none is '{name}'")
        return np.asarray(loaded[name if name in names else names[0]])


def _why(error: Exception) -> str:
    """The first line of what went wrong, without the path."""
    if isinstance(error, UnidentifiedImageError):
        return "its format is unknown"
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if "allow_pickle" in told:
        return "it holds pickled objects, which are not opened"
    return (told.splitlines() or ["unreadable"])[0].rstrip(".")


def write_picture(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> Path:
    """Write a picture as PNG, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    with whole_file(path) as temporary:
        Image.fromarray(picture).save(temporary)
    return path


def write_layer(folder: Path, stem: str, name: str, layer: np.ndarray) -> Path:
    """Write what is known of a photograph's pixels so that it is found again by `layer_files`.

    A mask as PNG of 0 to 255, classes as PNG of their numbers (.npy where these do not fit), distances as .npy.

    Raises:
        OutputError: if it cannot be written.
    """
    if name in ("depth", "disparity") or (name == "segmentation" and not 0 <= layer.min() <= layer.max() <= 255):
        path = folder / f"{stem}_{name}.npy"
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, layer, allow_pickle=False)
        return path
    whole = np.rint(layer * 255) if name == "mask" else layer
    path = folder / f"{stem}_{name}.png"
    with whole_file(path) as temporary:
        Image.fromarray(whole.astype(np.uint8)).save(temporary, format="PNG")
    return path


def contact_sheet(
    photo: UInt8[np.ndarray, "h w 3"], pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]
) -> UInt8[np.ndarray, "height width 3"]:
    """The photograph and all its pictures side by side, each under its name and at most 480 pixels long."""
    height, width = photo.shape[:2]
    scale = min(1.0, _TILE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tiles: list[tuple[str, Any]] = [("photograph", photo), *pictures.items()]
    sheet = Image.new("RGB", (len(tiles) * (size[0] + _GAP) + _GAP, size[1] + _HEAD + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, (name, tile) in enumerate(tiles):
        left = _GAP + number * (size[0] + _GAP)
        draw.text((left, 5), name, "#222222", font)
        sheet.paste(Image.fromarray(tile).resize(size, Image.Resampling.LANCZOS), (left, _HEAD))
    return np.asarray(sheet)
