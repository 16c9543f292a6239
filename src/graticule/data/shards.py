"""One array of a store on disk: a sharded Zarr v3 array with one sample per chunk, written and read sample by sample.

A shard file is the samples' bytes one after the other, then the table of their offsets and lengths (uint64 pairs),
then the table's CRC-32C: the `sharding_indexed` codec of the Zarr v3 specification. Any Zarr reader understands it.
Because a chunk is a whole sample, an uncompressed one is read here with a single `preadv` into the batch's buffer,
at the cost of a memcpy; compressed ones, and arrays that others laid out differently, go through tensorstore.
"""

import itertools
import json
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, SupportsIndex, runtime_checkable

import google_crc32c
import numpy as np

from graticule.errors import StoreError

Codec = Literal["none", "zstd"]
Numbers = Sequence[SupportsIndex] | np.ndarray
"""Positions, as Python or numpy integers."""

SHARD_BYTES = 256 * 2**20
"""Aimed size of a shard file: large enough for few files, small enough to copy and to rewrite."""

_MOST_OPEN_FILES = 256
"""Per array and process; systems often allow 1024 in all."""
_REMEDY = "prepare the store again"


class ShardWriter:
    """Writes one array of a store, sample by sample; memory holds one sample at a time.

    Args:
        folder: the array's folder, to be made.
        shape: shape of one sample.
        dtype: its type.
        dimensions: names of the array's axes, `sample` first.
        fill: the value that means "nothing here".
        codec: `none`, or `zstd` (bit-shuffled, for stores that must be small rather than fast).
    """

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, dimensions: Sequence[str], fill: float,
        codec: Codec = "none",
    ) -> None:  # fmt: skip
        self.folder, self.shape, self.dtype, self.codec = folder, shape, dtype, codec
        self.dimensions, self.fill = dimensions, fill
        self.per_shard = int(np.clip(SHARD_BYTES // (math.prod(shape) * dtype.itemsize), 1, 4096))
        self.count = 0
        self._shard: Any = None
        self._table: list[tuple[int, int]] = []

    def append(self, sample: np.ndarray) -> None:
        """Write one sample of the declared shape and type."""
        if self._shard is None:
            path = _shard_path(self.folder, self.count // self.per_shard, len(self.shape))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._shard = path.open("wb")
        encoded = _encode(np.ascontiguousarray(sample, dtype=self.dtype), self.codec)
        self._table.append((self._shard.tell(), memoryview(encoded).nbytes))
        self._shard.write(encoded)
        self.count += 1
        if self.count % self.per_shard == 0:
            self._finish_shard(self.per_shard)

    def link(self, folder: Path) -> int:
        """Begin with the full shards of another array of the same layout, by hard links: nothing is copied.

        Shard files are never changed once they are written, so both arrays may share them.

        Returns:
            The number of samples that this array now begins with; 0 where the layouts differ or links are impossible.
        """
        try:
            meta = json.loads((folder / "zarr.json").read_text())
            same = meta["chunk_grid"]["configuration"]["chunk_shape"] == [self.per_shard, *self.shape]
            plain = [codec["name"] for codec in meta["codecs"][0]["configuration"]["codecs"]] == ["bytes"]
            if not same or plain != (self.codec == "none") or self.count:
                return 0
            for shard in range(meta["shape"][0] // self.per_shard):
                path = _shard_path(self.folder, shard, len(self.shape))
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(_shard_path(folder, shard, len(self.shape)), path)
                self.count += self.per_shard
        except (OSError, KeyError, ValueError):  # no such links on this file system: what follows is copied
            pass
        return self.count

    def close(self) -> None:
        """Finish the last shard and write the array's metadata."""
        if self.count < self.per_shard:
            # One shard holds everything: it need not promise more samples than there are.
            self.per_shard = max(self.count, 1)
        if self._shard is not None:
            self._finish_shard(self.per_shard)
        self._write_metadata()

    def abandon(self) -> None:
        """Let go of the open file after an error."""
        if self._shard is not None:
            self._shard.close()

    def _finish_shard(self, entries: int) -> None:
        missing = [(2**64 - 1, 2**64 - 1)] * (entries - len(self._table))
        table = np.array(self._table + missing, dtype="<u8").tobytes()
        self._shard.write(table + google_crc32c.value(table).to_bytes(4, "little"))
        self._shard.flush()
        os.fsync(self._shard.fileno())
        self._shard.close()
        self._shard, self._table = None, []

    def _write_metadata(self) -> None:
        import zarr
        from zarr.codecs import BloscCodec

        zarr.create_array(
            store=str(self.folder),
            shape=(self.count, *self.shape),
            chunks=(1, *self.shape),
            shards=(self.per_shard, *self.shape),
            dtype=self.dtype,
            compressors=None if self.codec == "none" else BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            fill_value=self.fill,
            dimension_names=self.dimensions,
        )


@runtime_checkable
class Reader(Protocol):
    """What reads samples of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read_into(self, out: np.ndarray, indices: Numbers, bands: Numbers | None = None) -> None:
        """Read the samples `indices` into `out` [len(indices), *sample]; `bands` picks from the sample's first axis."""


def open_array(folder: Path) -> Reader:
    """Open an array of a store for reading, checking that every shard is whole.

    Raises:
        StoreError: if the array or one of its shards is missing, truncated or damaged.
    """
    description = folder / "zarr.json"
    if not description.is_file():
        raise StoreError(f"{folder.parent.parent} has no array '{folder.name}' ({description} is missing); {_REMEDY}.")
    try:
        meta = json.loads(description.read_text())
        if not _one_sample_per_chunk(meta):
            return OtherArray(folder, tuple(meta["shape"]), np.dtype(meta["data_type"]))
        plain = [codec["name"] for codec in meta["codecs"][0]["configuration"]["codecs"]] == ["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{description} is damaged ({error!r}); {_REMEDY}.") from error
    direct = DirectArray(folder, meta, plain)
    return direct if plain else OtherArray(folder, direct.shape, direct.dtype)


class DirectArray:
    """Reads uncompressed samples straight from the shard files. Safe to share between threads, to fork and to pickle.

    Files are opened at the first read from them and stay open.
    """

    def __init__(self, folder: Path, meta: dict[str, Any], plain: bool) -> None:
        self.folder = folder
        self.shape = tuple(meta["shape"])
        little = "<" if np.dtype(meta["data_type"]).itemsize > 1 else "|"
        self.dtype = np.dtype(meta["data_type"]).newbyteorder(little)
        self.per_shard = int(meta["chunk_grid"]["configuration"]["chunk_shape"][0])
        self.sample_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        shards = range(-(-self.shape[0] // self.per_shard))
        self._files = _Files([_shard_path(folder, shard, len(self.shape) - 1) for shard in shards])
        self.offsets = self._read_tables(self.sample_bytes if plain else None)

    def read_into(self, out: np.ndarray, indices: Numbers, bands: Numbers | None = None) -> None:
        """Read samples into `out` [n, *sample], or [n, len(bands), *rest]; `out` must be contiguous."""
        n_bands = self.shape[1] if len(self.shape) > 1 else 1  # a sample may be a single number
        band_bytes = self.sample_bytes // n_bands
        runs = [(0, n_bands)] if bands is None else _runs(bands)
        raw = out.reshape(len(indices), -1).view(np.uint8)
        for row, index in zip(raw, indices, strict=True):
            shard, start, at = int(index) // self.per_shard, int(self.offsets[index]), 0
            for first, count in runs:
                size = count * band_bytes
                self._files.read(shard, row[at : at + size], start + first * band_bytes)
                at += size

    def _read_tables(self, sample_bytes: int | None) -> np.ndarray:
        n = self.shape[0]
        offsets = np.empty(n, np.uint64)
        for shard, path in enumerate(self._files.paths):
            first, last = shard * self.per_shard, min((shard + 1) * self.per_shard, n)
            offsets[first:last] = _read_table(path, self.per_shard, last - first, sample_bytes)
        return offsets


class OtherArray:
    """Reads samples through tensorstore: compressed ones, and layouts that this package did not write."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.folder, self.shape, self.dtype = folder, shape, dtype
        self._array: Any = None
        self._opened_by = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}

    def read_into(self, out: np.ndarray, indices: Numbers, bands: Numbers | None = None) -> None:
        """Read samples into `out` [n, *sample], or [n, len(bands), *rest]."""
        try:
            array = self._open()
            waiting = [array[int(index)].read() for index in indices]
            for place, sample in enumerate(waiting):
                out[place] = sample.result() if bands is None else sample.result()[list(bands)]
        except ValueError as error:
            reason = str(error).split("[", 1)[0].strip()
            raise StoreError(f"{self.folder} cannot be read ({reason}); {_REMEDY}.") from error

    def _open(self) -> Any:
        # The library's threads do not survive a fork, so every process opens its own.
        if self._array is None or self._opened_by != os.getpid():
            import tensorstore

            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(self.folder)}}
            self._array, self._opened_by = tensorstore.open(spec, read=True).result(), os.getpid()
        return self._array


class _Files:
    """The shard files of one array; positioned reads only, so threads and forked processes may share the open ones."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Files, (self.paths,)

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def read(self, shard: int, out: np.ndarray, offset: int) -> None:
        """Fill `out` (uint8) with the bytes of a shard from `offset` on."""
        descriptor = self._open.get(shard)
        passing = False
        try:
            if descriptor is None:
                descriptor, passing = self._opened(shard)
            done = 0
            while done < out.nbytes:  # one call may return less than asked for, at most 2 GiB
                count = os.preadv(descriptor, [out.data[done:]], offset + done)
                if count == 0:
                    raise StoreError(f"{self.paths[shard]} is truncated; {_REMEDY}.")
                done += count
        except OSError as error:
            raise StoreError(f"{self.paths[shard]} cannot be read ({error.strerror}); {_REMEDY}.") from error
        finally:
            if passing and descriptor is not None:
                os.close(descriptor)

    def _opened(self, shard: int) -> tuple[int, bool]:
        """A descriptor of a shard, and whether it is for this read only (there are too many to keep all open)."""
        with self._lock:
            if shard in self._open:
                return self._open[shard], False
            descriptor = os.open(self.paths[shard], os.O_RDONLY)
            if len(self._open) >= _MOST_OPEN_FILES:
                return descriptor, True
            self._open[shard] = descriptor
            return descriptor, False


def _one_sample_per_chunk(meta: dict[str, Any]) -> bool:
    """Whether the array is laid out as this package writes it (compressed or not)."""
    shape = meta["shape"]
    shard = meta["chunk_grid"]["configuration"]["chunk_shape"]
    codec, *others = meta["codecs"]
    if codec["name"] != "sharding_indexed" or others:
        return False
    sharding = codec["configuration"]
    return (
        sharding["chunk_shape"] == [1, *shape[1:]]
        and shard[1:] == shape[1:]
        and sharding.get("index_location", "end") == "end"
        and [codec["name"] for codec in sharding["index_codecs"]] == ["bytes", "crc32c"]
        and sharding["codecs"][0].get("configuration", {}).get("endian", "little") == "little"
        and meta["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
        and not meta.get("storage_transformers")
    )


def _shard_path(folder: Path, shard: int, sample_axes: int) -> Path:
    return folder.joinpath("c", str(shard), *["0"] * sample_axes)


def _read_table(path: Path, entries: int, used: int, sample_bytes: int | None) -> np.ndarray:
    """The offsets of a shard's samples, after checking that the file is whole and holds all of them."""
    size = entries * 16
    try:
        with path.open("rb") as shard:
            end = shard.seek(0, os.SEEK_END)
            shard.seek(max(0, end - size - 4))
            table, checksum = shard.read(size), shard.read(4)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); {_REMEDY}.") from error
    if len(checksum) < 4 or google_crc32c.value(table) != int.from_bytes(checksum, "little"):
        raise StoreError(f"{path} is truncated or damaged (its table of samples is not whole); {_REMEDY}.")
    offsets, lengths = np.frombuffer(table, "<u8").reshape(entries, 2)[:used].T
    whole = offsets.astype(np.float64) + lengths <= end - size - 4
    if sample_bytes is not None:
        whole &= lengths == sample_bytes
    if not whole.all():
        raise StoreError(f"{path} holds only {int(whole.sum())} of its {used} samples whole; {_REMEDY}.")
    return offsets


def _runs(bands: Numbers) -> list[tuple[int, int]]:
    """Consecutive bands as (first, count), so that each run is one read."""
    groups = itertools.groupby(enumerate(map(int, bands)), key=lambda pair: pair[1] - pair[0])
    runs = [[band for _, band in group] for _, group in groups]
    return [(run[0], len(run)) for run in runs]


def _encode(sample: np.ndarray, codec: Codec) -> Any:
    if codec == "none":
        return sample
    from numcodecs.blosc import Blosc

    return Blosc(cname="zstd", clevel=3, shuffle=Blosc.BITSHUFFLE).encode(sample)
