"""Grids say where the pixels are; resampling exchanges one for another."""

from graticule.grids.camera import CameraGrid, Pose
from graticule.grids.grid import Grid
from graticule.grids.healpix import HealpixGrid
from graticule.grids.lens import Lens
from graticule.grids.parse import grid_from_dict, parse_grid
from graticule.grids.raster import RasterGrid
from graticule.grids.resample import Resampler, resampler
from graticule.grids.windows import (
    healpix_halo,
    healpix_windows,
    morton,
    morton_inverse,
    partition,
    ramp,
    raster_windows,
    starts,
)

__all__ = [
    "CameraGrid", "Grid", "HealpixGrid", "Lens", "Pose", "RasterGrid", "Resampler", "grid_from_dict", "healpix_halo",
    "healpix_windows", "morton", "morton_inverse", "parse_grid", "partition", "ramp", "raster_windows", "resampler",
    "starts",
]  # fmt: skip
