"""Scenes that are described by local STAC items, collections or catalogues."""

from pathlib import Path
from typing import Any

from graticule.data.sources.scene_files import SENTINEL2, QualityKind, SceneFiles
from graticule.errors import SourceError

_MASKS: dict[str, QualityKind] = {"scl": "scl", "udm2": "udm2", "ortho_udm2": "udm2", "udm": "udm"}
"""Keys of assets that are masks of quality, in lower case."""
_NOT_DATA = {"thumbnail", "overview", "metadata", "visual", "labels"}


def stac_scenes(root: Path) -> list[SceneFiles]:
    """The scenes of an item, or of all items below a collection or catalogue.

    An asset is a mask where its key says so (`scl`, `udm2`, `udm`); it holds bands where it is a raster with the role
    `data` or `reflectance`, or without roles. Its bands are named by their `common_name` or `name` in `bands` or
    `eo:bands`, else by the asset's key.

    Raises:
        SourceError: if pystac is not installed or the file is no STAC.
    """
    try:
        import pystac
    except ImportError as error:
        raise SourceError("source.kind=stac needs pystac; install it with: pip install 'graticule[scenes]'.") from error
    path = next((root / name for name in _FILES if (root / name).is_file()), root) if root.is_dir() else root
    try:
        read: Any = pystac.read_file(str(path.resolve()))
        items = [read] if isinstance(read, pystac.Item) else list(read.get_items(recursive=True))
        return [_scene(item) for item in items]
    except (OSError, ValueError, KeyError, TypeError, pystac.STACError, pystac.STACTypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path} cannot be read as STAC ({reason}); give an item or collection.") from error


_FILES = ("collection.json", "catalog.json", "item.json")


def _scene(item: Any) -> SceneFiles:
    bands: dict[str, tuple[str, int]] = {}
    quality: tuple[QualityKind, str] | None = None
    for key, asset in item.assets.items():
        href = asset.get_absolute_href() or asset.href
        if key.lower() in _MASKS:
            quality = (_MASKS[key.lower()], href)
        elif _holds_data(asset):
            for number, name in enumerate(_names(asset, key), 1):
                bands.setdefault(name, (href, number))
    told = item.properties
    azimuth, elevation = told.get("view:sun_azimuth"), told.get("view:sun_elevation")
    sun = None if azimuth is None or elevation is None else (float(azimuth), float(elevation))
    return SceneFiles(item.id, item.get_self_href() or item.id, bands, quality, sun=sun)


def _holds_data(asset: Any) -> bool:
    roles, kind = set(asset.roles or ()), str(asset.media_type or "")
    if roles & _NOT_DATA:
        return False
    is_raster = "tiff" in kind or "jp2" in kind or asset.href.lower().endswith((".tif", ".tiff", ".jp2"))
    return is_raster and (not roles or bool(roles & {"data", "reflectance"}))


def _names(asset: Any, key: str) -> list[str]:
    told = asset.extra_fields.get("bands") or asset.extra_fields.get("eo:bands") or [{}]
    names = [
        entry.get("eo:common_name") or entry.get("common_name") or entry.get("name") or (key if len(told) == 1 else "")
        for entry in told
    ]
    return [SENTINEL2.get(name.upper(), name) or f"band_{number}" for number, name in enumerate(names, 1)]
