"""Which files belong to which scene: the layouts of Sentinel-2, PLANET and plain folders of GeoTIFFs."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graticule.data.sources.rasters import open_raster
from graticule.errors import GraticuleError, SourceError

QualityKind = Literal["scl", "udm2", "udm"]

SENTINEL2 = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071",
    "B06": "rededge075", "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
"""Band numbers of Sentinel-2 and the names that they have here (STAC's)."""

_PLANET = {
    3: ("red", "green", "blue"),
    4: ("blue", "green", "red", "nir"),
    5: ("blue", "green", "red", "rededge071", "nir"),
    8: ("coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "nir"),
}  # fmt: skip
"""By the number of bands of a PLANET file: what they are, in order."""
_RASTER = {".tif", ".tiff", ".jp2", ".vrt"}
_BAND_FILE = re.compile(r"(?:^|_)(B(?:0[1-9]|8A|1[12])|SCL)(?:_\d+m)?$", re.IGNORECASE)
_SR = re.compile(r"_SR(_clip)?$")
_PLANET_ENDS = re.compile(r"(_3B)?(_AnalyticMS|_BGRN)?(_8b)?_SR(_clip)?$")


@dataclass(frozen=True)
class SceneFiles:
    """One scene on disk.

    Attributes:
        name: of the scene.
        where: its folder or file, for messages.
        bands: name of a band -> file and number of the band in it, from 1.
        quality: the mask and how to read it; None where the files' own nodata says everything.
        aliases: further names by which labels may call the scene.
        sun: azimuth and elevation in degrees, where they are known.
        fault: why the scene cannot be used at all.
    """

    name: str
    where: str
    bands: Mapping[str, tuple[str, int]]
    quality: tuple[QualityKind, str] | None = None
    aliases: tuple[str, ...] = ()
    sun: tuple[float, float] | None = None
    fault: GraticuleError | None = field(default=None, compare=False)

    @property
    def files(self) -> list[str]:
        """All files of the scene."""
        mask = [self.quality[1]] if self.quality else []
        return sorted({path for path, _ in self.bands.values()} | set(mask))


def find_scenes(roots: Sequence[str], kind: str) -> dict[str, SceneFiles]:
    """The scenes below some folders by name, in order of their names.

    Raises:
        SourceError: if a folder is not there, holds no scene, or two scenes have one name.
    """
    found: list[SceneFiles] = []
    for root in roots:
        if not Path(root).exists():
            raise SourceError(f"{root} does not exist; give the folder of the scenes as source.scenes.")
        here = _FINDERS[kind](Path(root))
        if not here:
            raise SourceError(f"{root} holds no scene of kind '{kind}' ({_LOOKED_FOR[kind]}); correct source.scenes.")
        found += here
    twice = [name for name, count in Counter(scene.name for scene in found).items() if count > 1]
    if twice:
        places = " and ".join(scene.where for scene in found if scene.name == twice[0])
        raise SourceError(f"two scenes are named '{twice[0]}' ({places}); rename one of them.")
    return {scene.name: scene for scene in sorted(found, key=lambda scene: scene.name)}


def _sentinel2(root: Path) -> list[SceneFiles]:
    """Folders with band files (`B02.tif`, `T33XVG_20210801_B02_10m.tif`) or one stacked file, and `SCL` beside."""
    scenes = []
    for folder in sorted({path.parent for path in _rasters(root)}):
        files = _rasters(folder, deep=False)
        named = {match[1].upper(): str(path) for path in files if (match := _BAND_FILE.search(path.stem))}
        scl = named.pop("SCL", None)
        bands = {SENTINEL2[number]: (path, 1) for number, path in named.items()}
        fault = None
        if not bands:
            stacked = [path for path in files if not _BAND_FILE.search(path.stem)]
            if len(stacked) > 1:
                scenes += [_stacked_beside_mask(path) for path in stacked]
                continue
            bands, fault = _described(stacked[0]) if stacked else ({}, None)
        name = folder.name if folder != root else root.name
        scenes.append(
            SceneFiles(name, str(folder), bands, ("scl", scl) if scl else None, sun=_sun(folder), fault=fault)
        )
    return [scene for scene in scenes if scene.bands or scene.fault]


def _stacked_beside_mask(path: Path) -> SceneFiles:
    """One of several stacked files in a folder: `NAME.tif` with `NAME_SCL.tif`."""
    masks = [beside for beside in path.parent.glob(f"{path.stem}_SCL*") if beside.suffix.lower() in _RASTER]
    bands, fault = _described(path)
    return SceneFiles(path.stem, str(path), bands, ("scl", str(masks[0])) if masks else None, fault=fault)


def _planet(root: Path) -> list[SceneFiles]:
    """`*_SR.tif` or `*_SR_clip.tif` with `*_udm2*.tif` (or `*_udm*.tif`) and `*_metadata.json` in the same folder."""
    scenes = []
    for path in (path for path in _rasters(root) if _SR.search(path.stem)):
        name = _PLANET_ENDS.sub("", path.stem)
        beside = [other for other in _rasters(path.parent, deep=False) if other.name.startswith(name)]
        masks: list[tuple[QualityKind, str]] = [("udm2", str(file)) for file in beside if "udm2" in file.stem.lower()]
        masks += [("udm", str(file)) for file in beside if re.search(r"udm(?!2)", file.stem.lower())]
        bands, fault = _planet_bands(path)
        aliases = (path.parent.name, path.stem)
        sun = _sun(path.parent, name)
        scenes.append(SceneFiles(name, str(path), bands, masks[0] if masks else None, aliases, sun, fault))
    return scenes


def _plain(root: Path) -> list[SceneFiles]:
    """Every GeoTIFF is a scene; its bands are named by their descriptions, or band_1, band_2, ..."""
    if root.is_file():
        files, top = [root], root.parent
    else:
        files, top = _rasters(root), root
    scenes = []
    for path in files:
        bands, fault = _described(path)
        name = path.relative_to(top).with_suffix("").as_posix()
        scenes.append(SceneFiles(name, str(path), bands, aliases=(path.stem, path.name), fault=fault))
    return scenes


def _described(path: Path) -> tuple[dict[str, tuple[str, int]], GraticuleError | None]:
    """The bands of a file by their descriptions; a damaged file has none, and says why."""
    try:
        with open_raster(path) as dataset:
            names = [text or f"band_{number}" for number, text in enumerate(dataset.descriptions, 1)]
    except SourceError as error:
        return {}, error
    return {SENTINEL2.get(name.upper(), name): (str(path), number) for number, name in enumerate(names, 1)}, None


def _planet_bands(path: Path) -> tuple[dict[str, tuple[str, int]], GraticuleError | None]:
    try:
        with open_raster(path) as dataset:
            count = dataset.count
    except SourceError as error:
        return {}, error
    names = _PLANET.get(count)
    if names is None:
        known = ", ".join(map(str, _PLANET))
        return {}, SourceError(f"{path} has {count} bands; PLANET files have {known}; set source.kind=plain.")
    return {name: (str(path), number) for number, name in enumerate(names, 1)}, None


def _sun(folder: Path, name: str = "") -> tuple[float, float] | None:
    """Azimuth and elevation of the sun from a `*metadata.json`, as PLANET writes them."""
    for path in sorted(folder.glob(f"{name}*metadata.json")):
        try:
            told: Any = json.loads(path.read_text())
            told = told.get("properties", told)
            return float(told["sun_azimuth"]), float(told["sun_elevation"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def _rasters(folder: Path, *, deep: bool = True) -> list[Path]:
    entries = folder.rglob("*") if deep else folder.glob("*")
    shown = (path for path in entries if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(path for path in shown if path.suffix.lower() in _RASTER and path.is_file())


_FINDERS: dict[str, Callable[[Path], list[SceneFiles]]] = {
    "sentinel2": _sentinel2,
    "planet": _planet,
    "plain": _plain,
}
_LOOKED_FOR = {
    "sentinel2": "folders with B02.tif, B03.tif, ... or one stacked file, and SCL.tif",
    "planet": "*_SR.tif or *_SR_clip.tif",
    "plain": "*.tif",
    "stac": "STAC items",
}
