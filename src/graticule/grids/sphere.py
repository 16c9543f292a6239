"""Directions, areas and outlines on the unit sphere."""

import numpy as np
import shapely
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry


def wrap_longitude(lon: ArrayLike) -> Float64[np.ndarray, "*points"]:
    """Longitudes in degrees, brought to [-180, 180)."""
    lon = np.asarray(lon, dtype=np.float64)
    wrapped = (lon + 180.0) % 360.0 - 180.0
    # What lies in the range already keeps all its bits; rounding may have made the rest exactly 180.
    wrapped = np.where((lon >= -180.0) & (lon < 180.0), lon, wrapped)
    return np.where(wrapped >= 180.0, -180.0, wrapped)


def unit_vectors(
    lon: Float[np.ndarray, "*points"], lat: Float[np.ndarray, "*points"]
) -> Float[np.ndarray, "*points 3"]:
    """Unit vectors of points given in degrees."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    flat = np.cos(lat)
    return np.stack([flat * np.cos(lon), flat * np.sin(lon), np.sin(lat)], axis=-1)


def band_areas(edges: Float64[np.ndarray, "*strips n_plus_1"], width: float) -> Float64[np.ndarray, "*strips n"]:
    """Steradians of the cells of meridian strips `width` degrees wide, between the latitudes `edges` (degrees).

    Parts beyond a pole have no area. Written with the product of a sine and a cosine, since the difference of two
    sines loses the digits of metre-sized pixels.
    """
    clipped = np.deg2rad(np.clip(edges, -90.0, 90.0))
    north, south = clipped[..., 1:], clipped[..., :-1]
    return np.abs(2.0 * np.cos((north + south) / 2) * np.sin((north - south) / 2)) * np.deg2rad(abs(width))


def _triangle_areas(
    a: Float64[np.ndarray, "*cells 3"], b: Float64[np.ndarray, "*cells 3"], c: Float64[np.ndarray, "*cells 3"]
) -> Float64[np.ndarray, "*cells"]:
    """Steradians of spherical triangles (Van Oosterom and Strackee 1983, eq. 8), signed by their orientation.

    The triple product is taken of differences, which keeps the digits of triangles a few metres wide.
    """
    triple = np.sum(a * np.cross(b - a, c - a), axis=-1)
    return 2.0 * np.arctan2(triple, 1.0 + np.sum(a * b, -1) + np.sum(b * c, -1) + np.sum(c * a, -1))


def quad_areas(corners: Float64[np.ndarray, "rows_plus_1 columns_plus_1 3"]) -> Float64[np.ndarray, "rows columns"]:
    """Steradians of the quadrilaterals between the unit vectors of a mesh's corners; 0 where a corner is NaN."""
    a, b, c, d = corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]
    areas: np.ndarray = np.abs(_triangle_areas(a, b, c) + _triangle_areas(a, c, d))
    return np.nan_to_num(areas, nan=0.0)


def outline(lon: Float64[np.ndarray, " n"], lat: Float64[np.ndarray, " n"]) -> BaseGeometry:
    """The polygon in longitude and latitude of a closed ring of points, in degrees, within [-180, 180] x [-90, 90].

    A ring over the antimeridian becomes a multipolygon; a ring around a pole is closed along that pole.
    """
    lon, lat = _split_pole_vertices(lon, lat)
    closed = np.unwrap(np.append(lon, lon[0]), period=360.0)
    lat = np.append(lat, lat[0])
    if abs(closed[-1] - closed[0]) > 180.0:
        pole = 90.0 if lat.mean() > 0 else -90.0
        closed, lat = np.append(closed, [closed[-1], closed[0]]), np.append(lat, [pole, pole])
    return within_world(shapely.Polygon(np.column_stack([closed, lat])))


def _split_pole_vertices(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A vertex at a pole has every longitude: write it twice, with the longitudes of its two neighbours."""
    lons: list[float] = []
    lats: list[float] = []
    for i in range(len(lon)):
        polar = abs(lat[i]) > 90.0 - 1e-9
        lons += [lon[i - 1], lon[(i + 1) % len(lon)]] if polar else [lon[i]]
        lats += [lat[i]] * (2 if polar else 1)
    return np.array(lons), np.array(lats)


def within_world(polygon: BaseGeometry) -> BaseGeometry:
    """A polygon whose longitudes may leave [-180, 180], cut at the antimeridian and brought back."""
    west, _, east, _ = polygon.bounds
    parts = []
    for turn in range(int(np.floor((west + 180.0) / 360.0)), int(np.ceil((east + 180.0) / 360.0))):
        box = shapely.box(-180.0 + 360.0 * turn, -90.0, 180.0 + 360.0 * turn, 90.0)
        parts.append(translate(shapely.make_valid(polygon).intersection(box), xoff=-360.0 * turn))
    return shapely.union_all([part for part in parts if part.area > 0])
