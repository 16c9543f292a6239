"""What any two parts of a split share: ground, content, parents.

Ground is counted in pixels. Scenes on one lattice (one raster, or one nside) are compared pixel by pixel, through the
masks of a block split; scenes on different lattices by the footprints of their samples. Photographs, whose footprints
are empty since their place on the Earth is not known, share no ground. Content is equal where two samples have the same
bytes within their part; plain ones (open sea, no data, a sliver of a few pixels) are alike by nature and told apart.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from typing import Any

import numpy as np
import shapely
from jaxtyping import Bool, UInt8

from graticule.data.splits import PARTS, Assignment, Part
from graticule.data.store import Store
from graticule.errors import SplitError
from graticule.grids import Grid, HealpixGrid, RasterGrid

_PAIRS = tuple(combinations(range(len(PARTS)), 2))
_STRIP_PIXELS = 2**26
_READ_BYTES = 32 * 2**20
_PLAIN_VALUES = 16


@dataclass(frozen=True)
class Shared:
    """What two parts share.

    Attributes:
        ground_pixels: pixels of the first part whose ground is in the second part too.
        content_samples: samples of the first part that equal, within their part, one of the second; without plain ones.
        content_pixels: the pixels of these.
        plain_samples: equal samples with fewer than 16 different values in each band; no leak.
        parents: parents with samples in both parts; 0 for a block split, whose unit is the pixel.
        examples: some of the shared parents and of the equal samples, by name.
    """

    ground_pixels: int = 0
    content_samples: int = 0
    content_pixels: int = 0
    plain_samples: int = 0
    parents: int = 0
    examples: tuple[str, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether anything is shared, but plain samples."""
        return bool(self.ground_pixels or self.content_samples or self.parents)


@dataclass(frozen=True)
class LeakReport:
    """What each pair of parts shares.

    Attributes:
        pairs: for each two parts.
        reach_degrees: how far derived bands look beyond a pixel, so over the border of its part too. That is input of
            another part, never a label; no leak, but told.
    """

    pairs: dict[tuple[str, str], Shared]
    reach_degrees: float = 0.0

    @property
    def leaks(self) -> bool:
        """Whether any two parts share ground, content or a parent."""
        return any(shared.leaks for shared in self.pairs.values())

    @property
    def summary(self) -> str:
        """One line."""
        told = [_told(*pair, shared) for pair, shared in self.pairs.items() if shared.leaks]
        line = "; ".join(told) if told else "no two parts share ground, content or a parent"
        if self.reach_degrees:
            line += f"; bands look up to {self.reach_degrees:g}° across borders (input, never labels)"
        return line

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is kept in the run folder."""
        pairs = {
            f"{first} and {second}": asdict(shared) | {"examples": list(shared.examples)}
            for (first, second), shared in self.pairs.items()
        }
        return {
            "leaks": self.leaks,
            "summary": self.summary,
            "reach_degrees": self.reach_degrees,
            "pairs": pairs,
        }

    def refuse(self) -> None:
        """Raise if the split leaks.

        Raises:
            SplitError: saying which parts share what, and how to go on.
        """
        if self.leaks:
            raise SplitError(
                f"the split leaks: {self.summary}; choose another split.method or split.fold_method, "
                "or accept it with split.allow_leaks=true."
            )


def audit(store: Store, assignment: Assignment) -> LeakReport:
    """Compare all parts of a split; reads the inputs of all its samples once.

    Args:
        store: the samples.
        assignment: their parts.
    """
    ground = _lattice_ground(store, assignment)
    if assignment.blocks is None:
        # Blocks are disjoint ground: across lattices too, no two of their parts share any.
        ground += _footprint_ground(store, assignment)
    content = _content(store, assignment)
    pairs: dict[tuple[str, str], Shared] = {}
    for number, (first, second) in enumerate(_PAIRS):
        parents = _shared_parents(store, assignment, PARTS[first], PARTS[second])
        equal, pixels, plain, samples = content[number]
        examples = tuple(parents[:3] + samples[:3])
        pairs[PARTS[first], PARTS[second]] = Shared(int(ground[number]), equal, pixels, plain, len(parents), examples)
    return LeakReport(pairs, float(store.config["window"].get("reach_degrees", 0)))


def _told(first: str, second: str, shared: Shared) -> str:
    counts = [
        (shared.ground_pixels, "pixels of ground"),
        (shared.content_samples, "equal samples"),
        (shared.parents, "parents"),
    ]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{first} and {second} share {told}" + (f" (such as {shared.examples[0]})" if shared.examples else "")


def _in_parts(store: Store, assignment: Assignment) -> Bool[np.ndarray, "n 3"]:
    belongs = np.zeros((len(store), len(PARTS)), dtype=bool)
    for code, part in enumerate(PARTS):
        belongs[assignment.samples(part), code] = True
    return belongs


def _bits(
    store: Store, assignment: Assignment, index: int, belongs: Bool[np.ndarray, " 3"]
) -> UInt8[np.ndarray, "..."]:
    """Per pixel of a sample one bit for each part that it is in; a single number where all pixels are alike."""
    bits = np.zeros((), dtype=np.uint8)
    for code in np.flatnonzero(belongs):
        mask = assignment.mask(store, index, PARTS[code])
        bits = bits | np.uint8(1 << code) if mask is None else bits | (mask * np.uint8(1 << code))
    return np.asarray(bits, dtype=np.uint8)


def _lattice(grid: Grid) -> Any:
    """Grids of equal lattice share their pixels exactly."""
    return ("healpix", grid.nside) if isinstance(grid, HealpixGrid) else grid


def _lattice_ground(store: Store, assignment: Assignment) -> np.ndarray:
    """Pixels shared by each pair of parts within one lattice."""
    belongs = _in_parts(store, assignment)
    belongs[np.asarray(store.metadata.geometry.is_empty)] = False
    lattices = {scene: _lattice(grid) for scene, grid in store.scenes.items()}
    groups: dict[Any, list[int]] = {}
    for index in np.flatnonzero(belongs.any(axis=1)):
        groups.setdefault(lattices[store.scene(int(index))], []).append(int(index))
    shared = np.zeros(len(_PAIRS), dtype=np.int64)
    for lattice, indices in groups.items():
        if np.count_nonzero(belongs[indices].any(axis=0)) < 2:
            continue
        bits = {index: _bits(store, assignment, index, belongs[index]) for index in indices}
        canvases = (
            _raster_canvases(store, lattice, bits) if isinstance(lattice, RasterGrid) else _cell_runs(store, bits)
        )
        for canvas in canvases:
            shared += [np.count_nonzero(~canvas & (1 << a | 1 << b) == 0) for a, b in _PAIRS]
    return shared


def _raster_canvases(
    store: Store, scene: RasterGrid, bits: dict[int, np.ndarray]
) -> Iterator[UInt8[np.ndarray, "rows columns"]]:
    """The parts of each pixel of a scene, in strips of bounded size."""
    height, width = store.space
    places = {index: store.place(index) for index in bits}
    last = min(scene.height, max(row for row, _ in places.values()) + height)
    step = max(1, _STRIP_PIXELS // scene.width)
    for top in range(0, last, step):
        canvas = np.zeros((min(step, last - top), scene.width), dtype=np.uint8)
        for index, (row, column) in places.items():
            rows = np.arange(max(row, top), min(row + height, top + len(canvas)))
            columns = np.arange(column, column + width)
            inside = np.ones(width, dtype=bool) if scene.wraps else (columns >= 0) & (columns < scene.width)
            if len(rows) and inside.any():
                here = np.broadcast_to(bits[index], store.space)[rows[0] - row : rows[-1] - row + 1, inside]
                canvas[rows[0] - top : rows[-1] - top + 1, columns[inside] % scene.width] |= here
        yield canvas


def _cell_runs(store: Store, bits: dict[int, np.ndarray]) -> Iterator[UInt8[np.ndarray, " cells"]]:
    """The parts of each cell of each run of cells; two windows of one size are the same run or apart."""
    start = {index: int(store.grid(index).cell_ids()[0]) for index in bits}  # type: ignore[attr-defined]
    for _, same in groupby(sorted(bits, key=lambda index: start[index]), key=lambda index: start[index]):
        yield np.bitwise_or.reduce([np.broadcast_to(bits[index], store.space) for index in same])


def _footprint_ground(store: Store, assignment: Assignment) -> np.ndarray:
    """Pixels of the first part of each pair that lie on footprints of the second, between different lattices."""
    shared = np.zeros(len(_PAIRS), dtype=np.int64)
    numbers = {lattice: number for number, lattice in enumerate({_lattice(grid) for grid in store.scenes.values()})}
    if len(numbers) < 2:
        return shared
    lattice = store.metadata["scene"].map({name: numbers[_lattice(grid)] for name, grid in store.scenes.items()})
    outlines, lattice = np.asarray(store.metadata.geometry.array), lattice.to_numpy()
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    one, other = np.stack([one, other])[:, lattice[one] != lattice[other]]
    belongs = _in_parts(store, assignment)
    for number, (first, second) in enumerate(_PAIRS):
        keep = belongs[one, first] & belongs[other, second]
        for index in np.unique(one[keep]):
            ground = shapely.union_all(outlines[other[keep & (one == index)]])
            shared[number] += _pixels_within(outlines[index], ground, int(np.prod(store.space)))
    return shared


def _pixels_within(outline: shapely.Geometry, ground: shapely.Geometry, pixels: int) -> int:
    """How many of the `pixels` of `outline` lie in `ground`; what is thinner than half a pixel is a shared edge."""
    common = shapely.intersection(outline, ground)
    side = np.sqrt(outline.area / pixels)
    return 0 if common.buffer(-side / 4).is_empty else max(1, round(common.area / outline.area * pixels))


def _content(store: Store, assignment: Assignment) -> list[tuple[int, int, int, list[str]]]:
    """Per pair of parts: equal samples, their pixels, equal plain samples, names of the equal ones."""
    belongs = _in_parts(store, assignment)
    chosen = np.flatnonzero(belongs.any(axis=1))
    found: list[dict[bytes, list[tuple[int, int]]]] = [{} for _ in PARTS]
    plain: set[bytes] = set()
    step = max(1, _READ_BYTES // (int(np.prod(store.space)) * len(store.bands) * store.dtype.itemsize))
    for begin in range(0, len(chosen), step):
        indices = chosen[begin : begin + step]
        for index, x in zip(indices, store.read(indices, arrays=["x"])["x"], strict=True):
            for code in np.flatnonzero(belongs[index]):
                mask = assignment.mask(store, int(index), PARTS[code])
                key, is_plain, pixels = _fingerprint(x, mask)
                found[code].setdefault(key, []).append((int(index), pixels))
                plain |= {key} if is_plain else set()
    return [_equal(store, found[first], found[second], plain) for first, second in _PAIRS]


def _equal(
    store: Store, first: dict[bytes, list[tuple[int, int]]], second: dict[bytes, list[tuple[int, int]]],
    plain: set[bytes],
) -> tuple[int, int, int, list[str]]:  # fmt: skip
    same = [entry for key in first.keys() & second.keys() - plain for entry in first[key]]
    alike = sum(len(first[key]) for key in first.keys() & second.keys() & plain)
    names = [str(store.metadata["sample_id"].iat[index]) for index, _ in sorted(same)[:3]]
    return len(same), sum(pixels for _, pixels in same), alike, names


def _fingerprint(x: np.ndarray, mask: np.ndarray | None) -> tuple[bytes, bool, int]:
    """Digest of a sample's bytes within its part, whether it is plain, and the number of pixels."""
    inside = x.reshape(len(x), -1) if mask is None else x[:, mask]
    digest = hashlib.blake2b(inside.tobytes(), digest_size=16)
    if mask is not None:
        digest.update(np.packbits(mask).tobytes())
    return digest.digest(), all(map(_is_plain, inside)), inside.shape[1]


def _is_plain(values: np.ndarray) -> bool:
    """Whether there are too few different values to tell a copy from chance. Most often the first few say no."""
    return all(len(np.unique(some)) < _PLAIN_VALUES for some in (values[:1024], values))


def _shared_parents(store: Store, assignment: Assignment, first: Part, second: Part) -> list[str]:
    if assignment.blocks is not None:
        return []
    parents = store.metadata["parent"].astype(str).to_numpy()
    return sorted(set(parents[assignment.samples(first)]) & set(parents[assignment.samples(second)]))
