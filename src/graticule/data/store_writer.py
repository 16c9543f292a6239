"""Writing a store: samples appended one by one, the folder appearing whole at the end or not at all."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pandas
import tomli_w

from graticule.data.missing import has_value, may_miss
from graticule.data.shards import Codec, ShardWriter
from graticule.errors import StoreError
from graticule.files import whole_folder
from graticule.grids import Grid
from graticule.schema import IGNORE, Band, Target, band_to_dict, target_to_dict

if TYPE_CHECKING:
    from graticule.data.store import Store

LABELS = "labels.geojson"
FORMAT = 1
"""Version of the layout, kept in `config.toml`."""

_PACKAGES = ("graticule", "numpy", "zarr", "geopandas", "shapely", "rasterio", "odc-geo", "pyproj", "healpix-geo")


def place_columns(space: Sequence[int]) -> list[str]:
    """The metadata columns that say where in its scene a sample begins: `row`, `col`, or `cell` on HEALPix."""
    return ["row", "col"] if len(space) == 2 else ["cell"]


def sample_grid(scene: Grid, place: Sequence[int], space: Sequence[int]) -> Grid:
    """The window of `scene` that a sample of shape `space` at `place` covers."""
    return scene.window(*place, *space)  # type: ignore[attr-defined]


class StoreWriter:
    """Writes a store at `path`; a context manager.

    The folder is filled under a temporary name and renamed when the block ends; after an error nothing remains.
    Memory holds one sample at a time.

    Args:
        path: the folder to make.
        bands: the channels of `x`, in order.
        targets: what is known per pixel; at most one target per array (`y`, `height`, ...).
        scenes: the grids that samples are windows of, by name.
        window: how the samples were cut, as plain data (for the record).
        source: name of the source, and
        source_options: its options, so that the store can be prepared again.
        space: shape of a sample's pixels: (h, w), or (cells,) on HEALPix.
        dtype: type of `x`, as the sensor gave it.
        overwrite: replace a folder that exists (in one step, at the end).
        labels: the vector labels in longitude and latitude, where there are any.
        codec: `none` reads at the speed of a memcpy; `zstd` makes the store smaller.
    """

    def __init__(
        self, path: Path | str, *, bands: Sequence[Band], targets: Sequence[Target], scenes: Mapping[str, Grid],
        window: Mapping[str, Any], source: str, source_options: Mapping[str, Any], space: Sequence[int],
        dtype: Any, overwrite: bool = False, codec: Codec = "none",
        labels: geopandas.GeoDataFrame | None = None,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self.bands, self.targets, self.scenes = tuple(bands), tuple(targets), dict(scenes)
        self.space, self.dtype, self.codec = tuple(space), np.dtype(dtype), codec
        self._overwrite = overwrite
        self._labels = [] if labels is None else [labels]
        self._origin = {"source": source, "source_options": dict(source_options), "window": dict(window)}
        self._stack = ExitStack()
        self._arrays: dict[str, ShardWriter] = {}
        self._rows: list[dict[str, Any]] = []
        self._check_declaration()

    def __enter__(self) -> "StoreWriter":
        self._folder = self._stack.enter_context(whole_folder(self.path, overwrite=self._overwrite))
        axes = ("row", "column") if len(self.space) == 2 else ("cell",)
        x_shape = (len(self.bands), *self.space)
        self._add_array("x", x_shape, self.dtype, ("sample", "band", *axes), np.nan if self.dtype.kind == "f" else 0)
        for target in self.targets:
            dtype, fill = (np.uint8, IGNORE) if target.is_categorical else (np.float32, np.nan)
            shape = target.shape(self.space)
            self._add_array(target.array, shape, np.dtype(dtype), ("sample", *axes[: len(shape)]), fill)
        return self

    def append(self, x: np.ndarray, arrays: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> None:
        """Add one sample.

        Args:
            x: [bands, *space], of the declared type.
            arrays: for each target's array: uint8 labels (255 = unknown) or float32 values (NaN = unknown), [*space];
                [] of a target known per sample.
            row: `sample_id`, `scene`, `parent`, `region`, `place` ((row, col) or (cell,)); optionally `geometry` (the
                footprint in lon/lat; the window's own if left out, empty if unknown), `empty`, and further columns.

        Raises:
            StoreError: if a shape, a type, a label or the row does not fit what was declared, or `x` has no value.
        """
        name = str(row.get("sample_id", f"number {len(self._rows)}"))
        self._check_sample(name, x, arrays, row)
        self._arrays["x"].append(x)
        for target in self.targets:
            self._arrays[target.array].append(arrays[target.array])
        self._rows.append(self._metadata_row(arrays, row))

    def extend(self, store: "Store") -> None:
        """Add all samples of another store, in order, with its scenes and labels.

        What fills whole shards is not copied where this one is still empty, see `ShardWriter.link`.

        Raises:
            StoreError: if its bands, targets, shape or type are others.
        """
        for what in ("bands", "targets", "space", "dtype"):
            if getattr(store, what) != getattr(self, what):
                raise StoreError(
                    f"{store.path} has other {what} than what is added to it ({getattr(store, what)} and "
                    f"{getattr(self, what)}); prepare everything anew with --overwrite."
                )
        for name, writer in self._arrays.items():
            for index in range(writer.link(store.path / "data.zarr" / name), len(store)):
                writer.append(store.read([index], arrays=[name])[name][0])
        self._rows += store.metadata.to_dict("records")
        self.scenes = store.scenes | self.scenes
        if (store.path / LABELS).is_file():
            self._labels.append(geopandas.read_file(store.path / LABELS))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is not None:
            return self._stack.__exit__(kind, error, trace)
        with self._stack:
            self._finish()
        return None

    def _add_array(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], axes: Sequence[str], fill: float
    ) -> None:
        folder = self._folder / "data.zarr" / name
        writer = ShardWriter(folder, shape, dtype, dimensions=axes, fill=fill, codec=self.codec)
        self._arrays[name] = writer
        self._stack.callback(writer.abandon)

    def _metadata_row(self, arrays: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> dict[str, Any]:
        place = [int(number) for number in row["place"]]
        rest = {key: value for key, value in row.items() if key not in ("place", "geometry", "empty")}
        found = any(_has_content(target, arrays[target.array]) for target in self.targets)
        geometry = row.get("geometry")
        if geometry is None:
            geometry = sample_grid(self.scenes[row["scene"]], place, self.space).footprint()  # type: ignore[attr-defined]
        where = dict(zip(place_columns(self.space), place, strict=True))
        return rest | {"empty": bool(row.get("empty", not found))} | where | {"geometry": geometry}

    def _finish(self) -> None:
        import zarr

        if not self._rows:
            raise StoreError(
                f"{self.path} would hold no sample; check the options of source '{self._origin['source']}'."
            )
        zarr.create_group(str(self._folder / "data.zarr"))
        for writer in self._arrays.values():
            writer.close()
        table = geopandas.GeoDataFrame(self._rows, geometry="geometry", crs="EPSG:4326")
        table.to_parquet(self._folder / "metadata.parquet")
        if self._labels:
            together = geopandas.GeoDataFrame(pandas.concat(self._labels, ignore_index=True), crs="EPSG:4326")
            together.to_file(self._folder / LABELS, driver="GeoJSON", RFC7946="YES", engine="pyogrio")
        (self._folder / "config.toml").write_text(tomli_w.dumps(self._config()))

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **self._origin,
            "samples": len(self._rows),
            "space": list(self.space),
            "dtype": self.dtype.name,
            "codec": self.codec,
            "ignore": IGNORE,
            "bands": [band_to_dict(band) for band in self.bands],
            "targets": [target_to_dict(target) for target in self.targets],
            "scenes": {name: _without_none(grid.to_dict()) for name, grid in self.scenes.items()},
            "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        }

    def _check_declaration(self) -> None:
        arrays = [target.array for target in self.targets]
        repeated = sorted({name for name in arrays if arrays.count(name) > 1})
        if repeated:
            raise StoreError(
                f"{self.path}: several targets share the array {repeated}; keep one target per array, "
                "or name them apart (Target.stored_as)."
            )
        if not self.bands or self.dtype.kind not in "iuf":
            raise StoreError(
                f"{self.path}: {len(self.bands)} bands of type {self.dtype}; give at least one, of integers or floats."
            )

    def _check_sample(self, name: str, x: np.ndarray, arrays: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> None:
        missing = {"sample_id", "scene", "parent", "region", "place"} - set(row)
        if missing:
            raise StoreError(f"sample {name} does not say its {sorted(missing)}; the source must give them.")
        if row["scene"] not in self.scenes:
            raise StoreError(f"sample {name} is of scene '{row['scene']}'; the scenes are {sorted(self.scenes)}.")
        wanted = {"x": ((len(self.bands), *self.space), self.dtype)}
        wanted |= {
            target.array: (target.shape(self.space), np.dtype(np.uint8 if target.is_categorical else np.float32))
            for target in self.targets
        }
        given = {"x": x, **arrays}
        if set(given) != set(wanted):
            raise StoreError(f"sample {name} has arrays {sorted(given)}; they must be {sorted(wanted)}.")
        for array, (shape, dtype) in wanted.items():
            found = given[array]
            if found.shape != shape or found.dtype != dtype:
                raise StoreError(
                    f"sample {name}: array '{array}' is {found.dtype} {list(found.shape)}; "
                    f"it must be {dtype} {list(shape)}, as declared."
                )
        check_values(name, given, self.bands, self.targets)


def check_values(name: str, arrays: Mapping[str, np.ndarray], bands: Sequence[Band], targets: Sequence[Target]) -> None:
    """Refuse labels outside the legend, and an `x` without any value.

    Args:
        name: the sample's name, for the error.
        arrays: `x` [bands, *space] and the targets' arrays, as far as they are at hand.
        bands: the bands of `x`; a selection of bands may well be without a value, so `x` is then not judged.
        targets: with their legends.

    Raises:
        StoreError: naming the sample, the value and the remedy.
    """
    for target in targets:
        labels = np.atleast_1d(arrays[target.array]) if target.array in arrays else None
        # Adding 1 turns 255 (unknown) into 0: one pass and one maximum instead of two comparisons and their union.
        if target.is_categorical and labels is not None and int((labels + np.uint8(1)).max()) > len(target.legend):
            value = int(labels[labels != IGNORE].max())
            raise StoreError(
                f"sample {name}: target '{target.name}' has label {value}; its legend has 0..{len(target.legend) - 1} "
                f"and {IGNORE} for unknown. Correct the source's labels or its legend, and prepare the store again."
            )
    x = arrays.get("x")
    if x is None or len(x) != len(bands) or not may_miss(bands, x.dtype) or has_value(x, bands):
        return
    what = "NaN" if x.dtype.kind == "f" else "nodata"
    raise StoreError(f"sample {name} has no value in any band (all {what}); leave it out and prepare the store again.")


def _has_content(target: Target, array: np.ndarray) -> bool:
    """Whether there is something to learn: a pixel that is 1 for binary targets, else any known pixel."""
    if target.kind == "binary":
        return bool((array == 1).any())
    return bool((array != IGNORE).any() if target.is_categorical else np.isfinite(array).any())


def _without_none(data: Any) -> Any:
    """Plain data without entries that are None (TOML has no null), tuples as lists."""
    if isinstance(data, Mapping):
        return {key: _without_none(value) for key, value in data.items() if value is not None}
    if isinstance(data, list | tuple):
        return [_without_none(value) for value in data]
    return data
