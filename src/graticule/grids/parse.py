"""Grids from text and from plain data."""

import re
from collections.abc import Mapping
from typing import Any

from graticule.errors import GridError
from graticule.grids.camera import CameraGrid
from graticule.grids.grid import Grid
from graticule.grids.healpix import HealpixGrid
from graticule.grids.raster import RasterGrid


def parse_grid(text: str) -> Grid:
    """The global grid that a text names: "healpix:256" (nside) or "raster:0.1deg" (plate carrée).

    Raises:
        GridError: if the text names none.
    """
    if match := re.fullmatch(r"healpix:(\d+)", text.strip()):
        return HealpixGrid(int(match[1]))
    if match := re.fullmatch(r"raster:(\d+(?:\.\d+)?|\.\d+)deg", text.strip()):
        return RasterGrid.global_(float(match[1]))
    raise GridError(
        f"{text!r} is not a grid; write healpix:NSIDE or raster:STEPdeg, such as healpix:256 or raster:0.1deg."
    )


def grid_from_dict(data: Mapping[str, Any]) -> Grid:
    """The grid that `Grid.to_dict` wrote down.

    Raises:
        GridError: if the data describe none.
    """
    try:
        if data["kind"] == "raster":
            return RasterGrid(data["height"], data["width"], tuple(data["transform"]), data["crs"])
        if data["kind"] == "healpix" and data.get("order", "nested") == "nested":
            parents = data.get("parents")
            return HealpixGrid(data["nside"], None if parents is None else tuple(parents), data.get("parent_nside", 1))
        if data["kind"] == "camera":
            return CameraGrid.from_dict(data)
    except KeyError as error:
        raise GridError(f"the description of a grid lacks {error}; it has {', '.join(map(str, data))}.") from error
    order = f" in {data['order']} order" if "order" in data else ""
    raise GridError(
        f"{data['kind']!r}{order} is not a kind of grid; it must be raster, or healpix in nested order, or camera."
    )
