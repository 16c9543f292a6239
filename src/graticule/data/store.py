"""Reading a store: prepared samples in one layout for all sources, checked on opening."""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from graticule.data.shards import Numbers, Reader, open_array
from graticule.data.store_writer import FORMAT, StoreWriter, check_values, place_columns, sample_grid
from graticule.errors import GridError, StoreError
from graticule.grids import Grid, grid_from_dict
from graticule.schema import Band, Target, band_from_dict, target_from_dict

__all__ = ["Store", "StoreWriter"]

_PREPARE = "prepare it again with `graticule prepare`"


class Store:
    """A store of prepared samples; open one with `Store.open`.

    It may be shared between threads, pickled and forked: every process opens the data files at its first read.

    Attributes:
        path: the folder.
        config: the content of `config.toml`.
        bands: the channels of `x`, in order.
        targets: what is known per pixel, or of a whole sample.
        scenes: the grids that samples are windows of, by name.
        space: shape of a sample's pixels, (h, w) or (cells,).
        dtype: type of `x`.
        metadata: one row per sample, in order: `sample_id`, `scene`, `parent`, `region`, `empty`, the place in the
            scene (`row` and `col`, or `cell`), and `geometry`, the footprint in lon/lat.
    """

    def __init__(self, path: Path, config: dict[str, Any], metadata: geopandas.GeoDataFrame) -> None:
        self.path, self.config, self.metadata = path, config, metadata
        try:
            self.bands: tuple[Band, ...] = tuple(band_from_dict(band) for band in config["bands"])
            self.targets: tuple[Target, ...] = tuple(target_from_dict(target) for target in config["targets"])
            self.scenes: dict[str, Grid] = {name: grid_from_dict(grid) for name, grid in config["scenes"].items()}
            self.space: tuple[int, ...] = tuple(config["space"])
            self.dtype: np.dtype[Any] = np.dtype(config["dtype"])
        except (KeyError, TypeError, StoreError, GridError) as error:
            raise StoreError(f"{path / 'config.toml'} is incomplete or damaged ({error!r}); {_PREPARE}.") from error
        data = path / "data.zarr"
        if not data.is_dir():
            raise StoreError(f"{path} is not a whole store (it has no data.zarr); {_PREPARE}.")
        names = ["x", *(target.array for target in self.targets)]
        self._arrays: dict[str, Reader] = {name: open_array(data / name) for name in names}
        self._check_arrays()
        self._check_metadata()
        # Asked for every sample, where a frame is slow.
        self._places = metadata[place_columns(self.space)].to_numpy(np.int64)
        self._scene_names = [sys.intern(name) for name in metadata["scene"].astype(str)]

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open the store at `path` and check that it is whole.

        Raises:
            StoreError: naming the file, what is wrong with it, and what to do.
        """
        path = Path(path)
        if not path.is_dir():
            raise StoreError(f"there is no store at {path}; prepare one with `graticule prepare`, or correct the path.")
        return cls(path, _read_config(path), _read_metadata(path))

    def __len__(self) -> int:
        return len(self.metadata)

    def __repr__(self) -> str:
        names = ", ".join(target.name for target in self.targets)
        return f"Store({self.path}: {len(self)} samples of {len(self.bands)} bands, {list(self.space)} pixels; {names})"

    def grid(self, index: int) -> Grid:
        """The grid of one sample: its window of its scene."""
        return sample_grid(self.scenes[self.scene(index)], self.place(index), self.space)

    def scene(self, index: int) -> str:
        """The name of the scene that a sample is a window of."""
        return self._scene_names[index]

    def place(self, index: int) -> tuple[int, ...]:
        """Where a sample lies in its scene: (row, column), or (offset of its first cell,)."""
        return tuple(self._places[index].tolist())

    def read(
        self, indices: Numbers, bands: Numbers | None = None, arrays: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Read samples into one new buffer per array.

        Args:
            indices: positions in the store, in any order, repeats allowed.
            bands: which bands of `x`, in the order wanted; only their bytes are read. All by default.
            arrays: which arrays (`x`, `y`, `height`, ...): exactly these are read. All by default.

        Returns:
            For each array [len(indices), ...]: `x` [n, bands, *space] as the sensor gave it, labels uint8 [n, *space]
            (255 = unknown), values float32 [n, *space] (NaN = unknown); labels of whole samples [n].

        Raises:
            StoreError: if a file is damaged, a label is outside its legend, or a sample has no value at all.
            IndexError: if an index or a band is out of range.
        """
        _check_range("sample", indices, len(self))
        if bands is not None:
            _check_range("band", bands, len(self.bands))
        read: dict[str, np.ndarray] = {}
        for name in self._arrays if arrays is None else arrays:
            array = self._array(name)
            picked = bands if name == "x" else None
            shape = array.shape[1:] if picked is None else (len(picked), *array.shape[2:])
            read[name] = np.empty((len(indices), *shape), array.dtype)
            array.read_into(read[name], indices, picked)
        for position, index in enumerate(indices):
            sample = {name: values[position, ...] for name, values in read.items()}
            check_values(f"{index} of {self.path}", sample, self.bands, self.targets)
        return read

    def validate(self) -> None:
        """Read every sample once, checking all labels and values; takes as long as reading the whole store.

        Raises:
            StoreError: at the first sample that is damaged.
        """
        for index in range(len(self)):
            self.read([index])

    def _array(self, name: str) -> Reader:
        if name not in self._arrays:
            raise StoreError(f"{self.path} has no array '{name}'; it has {sorted(self._arrays)}.")
        return self._arrays[name]

    def _check_arrays(self) -> None:
        wanted: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {"x": ((len(self.bands), *self.space), self.dtype)}
        for target in self.targets:
            dtype = np.dtype(np.uint8 if target.is_categorical else np.float32)
            wanted[target.array] = (target.shape(self.space), dtype)
        found = self._arrays["x"].shape[1]
        if found != len(self.bands):
            raise StoreError(f"{self.path}: x has {found} bands but config.toml names {len(self.bands)}; {_PREPARE}.")
        for name, (shape, dtype) in wanted.items():
            array = self._arrays[name]
            if array.shape[1:] != shape:
                raise StoreError(
                    f"{self.path}: samples of '{name}' are {list(array.shape[1:])} but config.toml says {list(shape)}; "
                    f"{_PREPARE}."
                )
            if array.dtype != dtype:
                raise StoreError(f"{self.path}: '{name}' is of type {array.dtype} and must be {dtype}; {_PREPARE}.")

    def _check_metadata(self) -> None:
        lengths = {name: array.shape[0] for name, array in self._arrays.items()} | {"metadata": len(self.metadata)}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise StoreError(f"{self.path}: the arrays and metadata.parquet differ in length ({told}); {_PREPARE}.")
        columns = ["sample_id", "scene", "parent", "region", "empty", *place_columns(self.space)]
        missing = [column for column in columns if column not in self.metadata]
        if missing:
            raise StoreError(f"{self.path / 'metadata.parquet'} has no column {missing}; {_PREPARE}.")
        unknown = sorted(set(self.metadata["scene"]) - set(self.scenes))
        if unknown:
            raise StoreError(f"{self.path}: metadata.parquet has scenes {unknown[:3]} not in config.toml; {_PREPARE}.")


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.toml"
    if not file.is_file():
        raise StoreError(
            f"{path} is not a store (it has no config.toml); give the folder that `graticule prepare` made."
        )
    try:
        config = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} is damaged ({error}); {_PREPARE}.") from error
    if config.get("format") != FORMAT:
        raise StoreError(f"{file} is of format {config.get('format')}; this version reads format {FORMAT}; {_PREPARE}.")
    return config


def _read_metadata(path: Path) -> geopandas.GeoDataFrame:
    file = path / "metadata.parquet"
    if not file.is_file():
        raise StoreError(f"{path} is not a whole store (it has no metadata.parquet); {_PREPARE}.")
    try:
        return geopandas.read_parquet(file).reset_index(drop=True)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
        reason = str(error).splitlines()[0]
        raise StoreError(f"{file} is damaged ({reason}); {_PREPARE}.") from error


def _check_range(what: str, numbers: Numbers, count: int) -> None:
    for number in map(int, numbers):
        if not 0 <= number < count:
            raise IndexError(f"{what} {number} does not exist; there are {count}, counted from 0.")
