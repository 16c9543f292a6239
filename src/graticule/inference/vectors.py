"""Tables with outlines as GeoParquet and GeoPackage, and the area in which a map holds."""

from pathlib import Path

import geopandas as gpd
import numpy as np
from jaxtyping import Bool
from pyogrio.errors import DataSourceError, FieldError, GeometryError

from graticule.errors import OutputError
from graticule.files import whole_file
from graticule.grids import RasterGrid
from graticule.grids.ground_area import GroundArea
from graticule.inference.outlines import Outlines


def vector_paths(stem: Path) -> list[Path]:
    """Where `write_vectors` writes a table."""
    return [stem.with_name(f"{stem.name}.parquet"), stem.with_name(f"{stem.name}.gpkg")]


def write_vectors(table: gpd.GeoDataFrame, stem: Path) -> list[Path]:
    """Write `<stem>.parquet` and `<stem>.gpkg`, each whole or not at all.

    Raises:
        OutputError: if one cannot be written.
    """
    parquet, package = vector_paths(stem)
    with whole_file(parquet) as temporary:
        table.to_parquet(temporary, index=False)
    with whole_file(package) as temporary:
        try:
            table.to_file(temporary, driver="GPKG", layer=stem.name, engine="pyogrio", geometry_type="MultiPolygon")
        except (DataSourceError, FieldError, GeometryError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise OutputError(
                f"cannot write {package}: {reason}; free some space or choose another output folder. "
                "Nothing was left half-written."
            ) from error
    return [parquet, package]


class Extent:
    """The outline of the area in which a map holds, collected strip by strip."""

    def __init__(self, grid: RasterGrid) -> None:
        self.grid, self.outlines, self.ground = grid, Outlines(grid), GroundArea(grid)
        self.pixels, self.area = 0, 0.0

    def add(self, row: int, holds: Bool[np.ndarray, "rows width"]) -> None:
        """Take the rows from `row` on."""
        self.outlines.add(row, holds.astype(np.int32))
        self.pixels += int(np.count_nonzero(holds))
        self.area += float(np.nansum(self.ground.rows(row, len(holds)), where=holds))

    def table(self, scene: str) -> gpd.GeoDataFrame:
        """One row: `scene`, `pixels`, their share of all, `area_m2` on the ellipsoid, the outline; none where none."""
        row = {
            "scene": [scene], "pixels": [self.pixels], "share": [self.pixels / self.grid.size], "area_m2": [self.area],
        }  # fmt: skip
        outline = self.outlines.multipolygons(1) if self.pixels else np.array([None], dtype=object)
        table = gpd.GeoDataFrame(row, geometry=outline, crs=self.grid.crs)
        return table if self.pixels else table.iloc[:0]
