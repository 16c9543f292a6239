"""The simulated tundra written as people have such data: scenes with masks, labels, heights, trends, regions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.random import Generator, Philox
from pyproj import Transformer

from graticule.data.slumps import BANDS, CELL, SlumpWorld
from graticule.errors import ConfigError
from graticule.files import whole_folder

CRS = "EPSG:32608"
"""Of the scenes: UTM 8 north; heights and trends lie in polar stereographic, as such data do."""
_POLAR = "EPSG:3413"
_CORNER = (440_000.0, 7_700_000.0)
"""Easting and northing of the world's lower left corner."""
_SQUARES = 4
"""Squares of the world along a scene's side: 2560 m."""
_WIDE = _SQUARES * CELL
_REGIONS = ("Anvil Coast", "Birch Delta", "Caribou Uplands", "Drift Plain", "Esker Land", "Fjell Shore")
_PER_ROW = 3
"""Scenes of a region side by side."""
_S2 = {"B02": 0, "B03": 1, "B04": 2, "B08": 3}
_CLOUD, _SHADOW, _VEGETATION, _SOIL = 9, 3, 4, 5
_SUN = (205.0, 32.0)

_README = """Simulated: tundra with thaw slumps, made by `graticule generate slumps` from seed {seed}.
Nothing in it was measured. The layouts are those of Sentinel-2 and PLANET data and of the training labels of DARTS.
"""


@dataclass(frozen=True)
class _Scene:
    """One place: its region, and its lower left corner in the world."""

    number: int
    region: str
    x: float
    y: float

    @property
    def sentinel2(self) -> str:
        return f"S2A_20230{self.number % 3 + 6}{self.number % 28 + 1:02d}_T08W_{self.number:03d}"

    @property
    def planet(self) -> str:
        return f"20230{self.number % 3 + 6}{self.number % 28 + 1:02d}_2012{self.number:02d}_{self.number:02d}_2440"


def write_slumps(root: Path, *, scenes: int = 24, regions: int = 4, seed: int = 0) -> list[str]:
    """Write a simulated data set and return the names of its Sentinel-2 scenes. The same seed gives the same files.

    ```
    sentinel2/<scene>/B02.tif B03.tif B04.tif B08.tif SCL.tif   2560 m at 10 m (the mask at 20 m)
    planet/<scene>/<scene>_3B_AnalyticMS_SR_clip.tif ...        the middle 1280 m at 3 m, with UDM2 and metadata
    labels/<sensor>/<region>/TrainingLabel_<region>.gpkg        slumps, with image_id
    labels/<sensor>/<region>/ImageFootprints_<region>.gpkg      where people have looked, with image_id
    dem.tif  tc_trend.tif  regions.gpkg                         heights, trends, regions (shapeName)
    ```

    Args:
        root: the folder to make; whole or not at all.
        scenes: how many, of each sensor; they are dealt out to the regions.
        regions: how many, up to six.
        seed: of all that is drawn.

    Raises:
        ConfigError: if there is nothing to write.
        OutputError: if the folder exists or cannot be written.
    """
    if not 1 <= regions <= len(_REGIONS) or scenes < regions:
        raise ConfigError(
            f"{scenes} scenes in {regions} regions cannot be made; give 1 to {len(_REGIONS)} regions with a scene each."
        )
    places = _places(scenes, regions)
    rows = int(max(place.y for place in places) / CELL) + _SQUARES + 1
    world = SlumpWorld(seed, rows, int(max(place.x for place in places) / CELL) + _SQUARES + 1)
    outlines = world.outlines()
    with whole_folder(root) as folder:
        folder.joinpath("README.txt").write_text(_README.format(seed=seed))
        for place in places:
            _write_sentinel2(folder / "sentinel2" / place.sentinel2, world, place)
            _write_planet(folder / "planet" / place.planet, world, place)
        for sensor in ("sentinel2", "planet"):
            _write_labels(folder / "labels" / sensor, places, outlines, sensor)
        _write_layers(folder, world)
        boxes = [shapely.box(*_bounds([place for place in places if place.region == name])) for name in _names(regions)]
        table = geopandas.GeoDataFrame({"shapeName": _names(regions)}, geometry=boxes, crs=CRS).to_crs("EPSG:4326")
        table.to_file(folder / "regions.gpkg", engine="pyogrio")
    return [place.sentinel2 for place in places]


def _names(regions: int) -> list[str]:
    return list(_REGIONS[:regions])


def _places(scenes: int, regions: int) -> list[_Scene]:
    """Regions lie one beside the other with one scene's width between them; so nothing is seen twice."""
    found = []
    for number in range(scenes):
        region, within = number % regions, number // regions
        x = region * (_PER_ROW + 1) * _WIDE + within % _PER_ROW * _WIDE + CELL
        found.append(_Scene(number, _REGIONS[region], x, within // _PER_ROW * _WIDE + CELL))
    return found


def _bounds(places: Sequence[_Scene]) -> tuple[float, float, float, float]:
    east, north = _CORNER
    x, y = [place.x + east for place in places], [place.y + north for place in places]
    return min(x) - 100, min(y) - 100, max(x) + _WIDE + 100, max(y) + _WIDE + 100


def _mesh(place: _Scene, metres: float, wide: float) -> tuple[np.ndarray, np.ndarray, Affine]:
    """World coordinates of the pixel centres in the middle `wide` metres of a scene, and the transform."""
    size, margin = int(wide / metres), (_WIDE - wide) / 2
    left, top = place.x + margin, place.y + margin + size * metres
    across = (np.arange(size) + 0.5) * metres
    x, y = np.meshgrid(left + across, top - across)
    return x, y, Affine(metres, 0, left + _CORNER[0], 0, -metres, top + _CORNER[1])


def _sky(place: _Scene, seed: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a cloud and its shadow are; every third scene has one."""
    east, north, radius = Generator(Philox(key=[seed, 303], counter=[0, 0, 0, place.number])).random(3)
    if place.number % 3 != 1:
        return np.zeros(x.shape, bool), np.zeros(x.shape, bool)
    middle = place.x + _WIDE * (0.3 + 0.4 * east), place.y + _WIDE * (0.3 + 0.4 * north)
    radius = 200 + 150 * radius
    cloud, shadow = (
        np.hypot(x - middle[0] - shift, y - middle[1] - 2 * shift) < radius for shift in (0.0, 180.0)
    )  # fmt: skip
    return cloud, shadow & ~cloud


def _picture(
    world: SlumpWorld, place: _Scene, sensor: int, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers of reflectance [4, h, w] (0 beyond the swath), cloud, shadow, and where there is a picture."""
    cloud, shadow = _sky(place, world.seed, x, y)
    light = world.reflectance(x, y)
    light = np.where(cloud, 0.55, np.where(shadow, 0.45 * light, light))
    # Each scene has its own air: what is learnt on some must hold on others.
    haze, gain = Generator(Philox(key=[world.seed, 304], counter=[0, 0, 0, place.number])).random(2)
    noise = Generator(Philox(key=[world.seed, 305], counter=[0, 0, sensor, place.number]))
    light = light * (0.9 + 0.2 * gain) + 0.015 * haze + noise.normal(0, 0.006, light.shape)
    seen = (x - place.x) + (y - place.y) > (0.25 * _WIDE if place.number % 4 == 2 else -1)
    numbers = np.clip(np.rint(light * 10_000), 1, 65_535).astype(np.uint16)
    return numbers * seen, cloud, shadow, seen


def _write_sentinel2(folder: Path, world: SlumpWorld, place: _Scene) -> None:
    x, y, transform = _mesh(place, 10.0, _WIDE)
    numbers, _, _, _ = _picture(world, place, 0, x, y)
    for name, band in _S2.items():
        _write(folder / f"{name}.tif", numbers[band : band + 1], transform, CRS, nodata=0)
    x, y, transform = _mesh(place, 20.0, _WIDE)
    _, cloud, shadow, seen = _picture(world, place, 2, x, y)
    land = np.where(world.bareness(x, y) > 0.5, _SOIL, _VEGETATION)
    classes = np.where(cloud, _CLOUD, np.where(shadow, _SHADOW, land)) * seen
    _write(folder / "SCL.tif", classes[None].astype(np.uint8), transform, CRS)


def _write_planet(folder: Path, world: SlumpWorld, place: _Scene) -> None:
    x, y, transform = _mesh(place, 3.0, _WIDE / 2)
    numbers, cloud, shadow, seen = _picture(world, place, 1, x, y)
    stem = folder / f"{place.planet}_3B"
    _write(folder / f"{stem.name}_AnalyticMS_SR_clip.tif", numbers, transform, CRS, nodata=0, names=BANDS)
    none = np.zeros(seen.shape, bool)
    clear = seen & ~cloud & ~shadow
    udm2 = np.stack([clear, none, shadow & seen, none, none, cloud & seen, np.where(seen, 90, 0), ~seen])
    _write(folder / f"{stem.name}_udm2_clip.tif", udm2.astype(np.uint8), transform, CRS)
    told = {"id": place.planet, "properties": {"sun_azimuth": _SUN[0], "sun_elevation": _SUN[1]}}
    (folder / f"{place.planet}_metadata.json").write_text(json.dumps(told, indent=1))


def _write_labels(folder: Path, places: Sequence[_Scene], outlines: Sequence[shapely.Polygon], sensor: str) -> None:
    shifted = [shapely.transform(outline, lambda points: points + np.array(_CORNER)) for outline in outlines]
    for region in dict.fromkeys(place.region for place in places):
        own = [place for place in places if place.region == region]
        inset = 20.0 if sensor == "sentinel2" else _WIDE / 4 + 6
        boxes = {
            getattr(place, sensor): shapely.box(
                place.x + _CORNER[0] + inset, place.y + _CORNER[1] + inset,
                place.x + _CORNER[0] + _WIDE - inset, place.y + _CORNER[1] + _WIDE - inset,
            )
            for place in own
        }  # fmt: skip
        pairs = [(name, shape) for name, box in boxes.items() for shape in shifted if shape.intersects(box)]
        slug = region.replace(" ", "_")
        _write_vectors(folder / slug / f"TrainingLabel_{slug}.gpkg", pairs)
        _write_vectors(folder / slug / f"ImageFootprints_{slug}.gpkg", list(boxes.items()))


def _write_vectors(path: Path, pairs: Sequence[tuple[str, shapely.Polygon]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = geopandas.GeoSeries([shape for _, shape in pairs], crs=CRS).to_crs("EPSG:4326")
    names = np.array([name for name, _ in pairs], object)
    geopandas.GeoDataFrame({"image_id": names}, geometry=shapes).to_file(path, engine="pyogrio")


def _write_layers(folder: Path, world: SlumpWorld) -> None:
    """Heights at 10 m and trends at 30 m on a polar stereographic grid round the whole world."""
    east, north = _CORNER
    edge = shapely.segmentize(
        shapely.box(east, north, east + world.columns * CELL, north + world.rows * CELL).buffer(400), 500
    )  # fmt: skip
    there = Transformer.from_crs(CRS, _POLAR, always_xy=True)
    back = Transformer.from_crs(_POLAR, CRS, always_xy=True)
    x, y = there.transform(*shapely.get_coordinates(edge).T)
    left, bottom, right, top = min(x), min(y), max(x), max(y)
    for name, metres in (("dem", 10.0), ("tc_trend", 30.0)):
        across = left + (np.arange(int((right - left) / metres)) + 0.5) * metres
        down = top - (np.arange(int((top - bottom) / metres)) + 0.5) * metres
        x, y = back.transform(*np.meshgrid(across, down))
        x, y = x - east, y - north
        transform = Affine(metres, 0, left, 0, -metres, top)
        if name == "dem":
            _write(folder / "dem.tif", world.heights(x, y)[None].astype(np.float32), transform, _POLAR, nodata=np.nan)
        else:
            names = ("brightness", "greenness", "wetness")
            trends = np.rint(world.trends(x, y)).astype(np.uint8)
            _write(folder / "tc_trend.tif", trends, transform, _POLAR, names=names)


def _write(
    path: Path, values: np.ndarray, transform: Affine, crs: str, *, nodata: float | None = None,
    names: Sequence[str] = (),
) -> None:  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, crs=crs,
        transform=transform, nodata=nodata, **layout,
    ) as file:  # fmt: skip
        file.write(values)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
