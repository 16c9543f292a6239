"""STAC items: what was made of a scene, where it lies, by which weights and options; and whether it is whole.

The item is written last, so that where it is, all that it names was written. Follows STAC 1.1 with the extensions
projection 2.0 and classification 2.0.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio
import shapely
import torch
from shapely.geometry import mapping

from graticule.grids import Grid, RasterGrid
from graticule.inference.layers import Layer
from graticule.runs import write_json

_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet", ".gpkg": "application/geopackage+sqlite3", ".png": "image/png",
    ".zarr": "application/vnd+zarr", ".fits": "application/fits",
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """What predicts, for the record.

    Attributes:
        run: name of its run.
        checkpoint: name of its file.
        sha256: of that file.
        config: the resolved configuration of the run.
    """

    run: str
    checkpoint: str
    sha256: str
    config: Mapping[str, Any] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(models: Sequence[Model], options: Mapping[str, Any], scene: str) -> str:
    """Equal where the same weights and options make the products of the same scene."""
    told = json.dumps([[model.sha256 for model in models], options, scene], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def whole_products(item: Path, mark: str) -> list[Path] | None:
    """The files of an item that is there with this fingerprint, if all of them are; else None."""
    try:
        content = json.loads(item.read_text())
    except (OSError, ValueError):
        return None
    if content.get("properties", {}).get("graticule:fingerprint") != mark:
        return None
    files = [item.parent / asset["href"] for asset in content.get("assets", {}).values()]
    return [*files, item] if all(file.exists() for file in files) else None


def versions() -> dict[str, str]:
    """Of what predicts and writes."""
    return {
        "graticule": importlib.metadata.version("graticule"), "python": platform.python_version(),
        "torch": torch.__version__, "rasterio": rasterio.__version__, "gdal": rasterio.__gdal_version__,
    }  # fmt: skip


def write_item(
    path: Path, scene: str, grid: Grid, files: Mapping[str, Path], layers: Sequence[Layer], told: Mapping[str, Any],
    when: datetime | None = None,
) -> Path:  # fmt: skip
    """Write the STAC item of a scene's products.

    Args:
        path: of the item; the products lie in the same folder.
        scene: its name.
        grid: the scene's.
        files: the products by key; keys of maps are names of layers.
        layers: what the maps hold.
        told: further properties, under `graticule:`.
        when: the scene was taken; the time of writing if that is not known.
    """
    now = datetime.now(UTC)
    outline = grid.footprint()  # type: ignore[attr-defined]
    properties = {
        "datetime": _time(when or now), "created": _time(now), "title": f"Prediction of {scene}",
        **_projection(grid), **{f"graticule:{key}": value for key, value in told.items()},
    }  # fmt: skip
    item: dict[str, Any] = {
        "type": "Feature", "stac_version": "1.1.0", "id": path.stem,
        "stac_extensions": [_PROJECTION, _CLASSIFICATION], "geometry": None, "properties": properties, "links": [],
        "assets": {key: _asset(file, _layer(key, layers)) for key, file in files.items()},
    }  # fmt: skip
    if not outline.is_empty:
        item["geometry"] = json.loads(json.dumps(mapping(shapely.normalize(outline))))
        item["bbox"] = list(outline.bounds)
    write_json(path, item)
    return path


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _projection(grid: Grid) -> dict[str, Any]:
    if not isinstance(grid, RasterGrid):
        return {"graticule:grid": grid.to_dict()}
    corners = [
        grid.affine * corner for corner in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    ]
    outline = shapely.Polygon(corners)
    code = {"proj:code": grid.crs} if grid.crs.startswith("EPSG:") else {"proj:code": None, "proj:wkt2": grid.crs}
    return code | {
        "proj:shape": list(grid.shape), "proj:transform": [*grid.transform, 0.0, 0.0, 1.0],
        "proj:bbox": list(outline.bounds), "proj:geometry": json.loads(json.dumps(mapping(outline))),
    }  # fmt: skip


def _layer(key: str, layers: Sequence[Layer]) -> Layer | None:
    return next((layer for layer in layers if key in (layer.name, f"{layer.name}-fits")), None)


def _asset(file: Path, layer: Layer | None) -> dict[str, Any]:
    role = "thumbnail" if file.suffix == ".png" else "data"
    asset: dict[str, Any] = {"href": f"./{file.name}", "type": _MEDIA[file.suffix], "roles": [role]}
    if layer is None:
        return asset
    missing = "nan" if layer.nodata != layer.nodata else layer.nodata
    bands = [{"name": name} for name in layer.bands]
    asset |= {"title": layer.name, "data_type": layer.dtype, "nodata": missing, "bands": bands}
    if layer.target.unit:
        asset["unit"] = layer.target.unit
    if layer.is_classes:
        asset["classification:classes"] = [
            {
                "value": entry.value,
                "name": _plain(entry.name),
                "title": entry.name,
                "color_hint": entry.colour[1:].upper(),
            }
            for entry in layer.target.legend
        ]
    return asset


def _plain(name: str) -> str:
    """A name of letters, digits, - and _ only, as the extension wants it."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
