"""Which samples train, validate and test.

Two steps: a method chooses the test part, then a fold method divides the rest into train and validation. The unit of
both is the parent (the scene, tile, base cell or drive that a window was cut from), so that a parent is never in two
parts. Only the block split cuts finer: there the unit is the pixel, and a window that straddles blocks is in each part
it touches, with the pixels of that part only.
"""

import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeGuard, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedShuffleSplit

from graticule.data.store import Store
from graticule.errors import SplitError, nearest
from graticule.files import whole_file

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Method = Literal["random", "region", "sample", "parent", "block", "published", "none"]
FoldMethod = Literal["kfold", "stratified", "shuffle", "region", "region-stratified", "block", "none"]
By = float | str | Sequence[str] | Sequence[float] | None
Shares = Sequence[float]

_METADATA_KEY = b"graticule"


@dataclass(frozen=True)
class BlockParts:
    """The part of every block of a longitude/latitude lattice: `parts[row][column]`, 0 train, 1 val, 2 test.

    Row 0 touches the north pole, column 0 starts at 180°W; `degrees` is the side of a block. With `val_is_train` no
    block is val: the train blocks validate too.
    """

    degrees: float
    parts: tuple[tuple[int, ...], ...]
    val_is_train: bool = False

    def at(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The part code of each position; 255 where the position is not finite."""
        table = np.asarray(self.parts, dtype=np.uint8)
        known = np.isfinite(lon) & np.isfinite(lat)
        row = ((90.0 - np.where(known, lat, 0.0)) / self.degrees).astype(np.int64).clip(0, table.shape[0] - 1)
        column = np.floor((np.where(known, lon, 0.0) + 180.0) / self.degrees).astype(np.int64) % table.shape[1]
        return np.where(known, table[row, column], np.uint8(255))


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which rows of a store are in which part.

    `table` has one line per (sample, part): the index is the row in the store, the columns are `sample` (its id) and
    `part`. `blocks` is set for a block split, where a part of a window is decided by pixel.
    """

    table: pd.DataFrame
    blocks: BlockParts | None = None

    def samples(self, part: Part) -> NDArray[np.int64]:
        """Rows of the store that are in `part`, ascending."""
        return np.sort(self.table.index[self.table["part"] == part].to_numpy(dtype=np.int64))

    def mask(self, store: Store, i: int, part: Part) -> NDArray[np.bool_] | None:
        """Which pixels of sample `i` are in `part` ([*space] bool); None when all of them are.

        A pixel outside the mask is neither input nor label for this part.
        """
        if self.blocks is None:
            return None
        code = 0 if part == "val" and self.blocks.val_is_train else PARTS.index(part)
        mask = self.blocks.at(*store.grid(i).lonlat()) == code
        return None if mask.all() else mask

    def with_train(self, rows: NDArray[np.int64]) -> "Assignment":
        """The same with these rows only to train on; all of them train already."""
        kept = (self.table["part"] != "train") | self.table.index.isin(rows)
        return Assignment(self.table[kept], self.blocks)

    def save(self, path: Path) -> None:
        """Write the table as Parquet, with the blocks in the file's own metadata."""
        table = pa.Table.from_pandas(self.table.rename_axis("row"))
        note = json.dumps({"blocks": asdict(self.blocks) if self.blocks else None}).encode()
        with whole_file(path) as temporary:
            pq.write_table(table.replace_schema_metadata({**table.schema.metadata, _METADATA_KEY: note}), temporary)

    @classmethod
    def load(cls, path: Path) -> "Assignment":
        """The inverse of `save`.

        Raises:
            SplitError: if the file is missing or damaged.
        """
        try:
            table = pq.read_table(path)
            note = json.loads(table.schema.metadata[_METADATA_KEY])
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise SplitError(
                f"{path} is no readable assignment table ({type(error).__name__}); train again."
            ) from error
        blocks = note["blocks"]
        parts = BlockParts(**{**blocks, "parts": tuple(map(tuple, blocks["parts"]))}) if blocks else None
        return cls(table.to_pandas().rename_axis(None), parts)


def assign(
    store: Store,
    *,
    method: Method = "random",
    by: By = None,
    shares: Shares = (0.7, 0.15, 0.15),
    seed: int = 42,
    fold_method: FoldMethod = "kfold",
    total_folds: int = 5,
    fold: int = 0,
) -> Assignment:
    """Divide the samples of a store into train, val and test; parents always stay together.

    Args:
        store: the prepared samples.
        method: how the test part is chosen.
            `random`: whole parents at random; `by` is the share of parents to test (None: the third of `shares`), or
            three shares, which draw train, val and test at once and leave no folds.
            `region`, `parent`: the regions or parents named in `by`. A parent that lies in several regions belongs to
            the one that has most of its samples.
            `sample`: the samples named in `by`, together with all other samples of their parents.
            `block`: by pixel, in blocks of `by` degrees (None: 15) of longitude and latitude that are drawn with
            `shares`; train, val and test at once.
            `published`: the split that comes with the data (the store's column `published`): its three parts, or where
            it has two, what it validates on tests here. With `by` "val" that part validates too, as published
            experiments have it; this leaks.
            `none`: every sample is in all three parts. This leaks, and the audit says so.
        by: see `method`.
        shares: shares of train, val and test, adding to 1.
        seed: seed of every draw.
        fold_method: how the rest is divided into `total_folds` folds, of which number `fold` validates.
            `kfold`: parents at random, every parent validated once. `stratified`: the same, with the share of empty
            samples alike in all folds. `shuffle`: in every fold a fresh draw of 1/total_folds of the parents,
            stratified; draws of two folds may overlap. `region`: whole regions at random, every region validated
            once. `region-stratified`: the same, with the share of empty samples as alike as whole regions allow.
            `block`: only with method `block`: the blocks that do not test, at random, every block validated once.
            `none`: val is the same as train. This leaks, and the audit says so.
        total_folds: number of folds, at least 2.
        fold: which fold validates, from 0.

    Raises:
        SplitError: if a part is empty, a name is unknown, there are more folds than groups, and the like.
    """
    _check_choices(method, fold_method, shares, total_folds, fold)
    rows = _rows(store)
    if method == "none":
        return _finish(rows, {part: np.arange(len(rows)) for part in PARTS})
    if method == "block":
        return _by_block(store, rows, _degrees(by), shares, seed, fold_method, total_folds, fold)
    if method == "random" and _is_shares(by):
        return _at_once(rows, by, seed, fold)
    test = _published_rows(rows, by) if method == "published" else _test_rows(rows, method, by, shares, seed)
    if method == "published" and by is None and {"val", "test"} <= set(rows["published"]):
        return _finish(rows, {part: np.flatnonzero(rows["published"] == part) for part in PARTS})
    if method == "published" and by == "val":
        held = np.flatnonzero(test)
        return _finish(rows, {"train": np.flatnonzero(~test), "val": held, "test": held})
    rest = np.flatnonzero(~test)
    if not len(rest):
        raise SplitError("the split leaves no sample to train on, all are in the test part; name fewer in split.by.")
    chosen = rows.iloc[rest].reset_index(drop=True)
    val = fold_rows(chosen, fold_method, total_folds, fold, seed)
    train = np.ones(len(rest), dtype=bool) if fold_method == "none" else ~val
    return _finish(rows, {"train": rest[train], "val": rest[val], "test": np.flatnonzero(test)})


def _rows(store: Store) -> pd.DataFrame:
    """Sample, parent, region (of the parent) and empty of every row, as a plain table."""
    metadata = store.metadata
    rows = pd.DataFrame({name: metadata[name].to_numpy() for name in ("sample_id", "parent", "region", "empty")})
    if "published" in metadata:
        rows["published"] = metadata["published"].to_numpy()
    if rows.empty:
        raise SplitError(f"{store.path} has no samples, so it cannot be split; prepare a store with samples.")
    rows["empty"] = rows["empty"].astype(bool)
    for name in ("sample_id", "parent", "region"):
        rows[name] = rows[name].astype(str)
    # Ties go to the region that comes first by name, so that the answer does not depend on the order of rows.
    sizes = rows.groupby(["parent", "region"], sort=True).size().reset_index(name="n")
    first = sizes.sort_values(["parent", "n", "region"], ascending=[True, False, True]).drop_duplicates("parent")
    rows["region"] = rows["parent"].map(first.set_index("parent")["region"])
    return rows


def _finish(rows: pd.DataFrame, parts: dict[Part, NDArray[np.int64]], blocks: BlockParts | None = None) -> Assignment:
    for part, members in parts.items():
        if not len(members):
            raise SplitError(f"the {part} part is empty; change split.by, split.shares or split.total_folds.")
    frames = [
        pd.DataFrame({"sample": rows["sample_id"].to_numpy()[members], "part": part}, index=members)
        for part, members in parts.items()
    ]
    return Assignment(pd.concat(frames), blocks)


def _check_choices(method: str, fold_method: str, shares: Shares, total_folds: int, fold: int) -> None:
    for key, value, choices in (
        ("method", method, get_args(Method)),
        ("fold_method", fold_method, get_args(FoldMethod)),
    ):
        if value not in choices:
            raise SplitError(f"split.{key} '{value}' does not exist; {nearest(str(value), choices)}")
    _check_shares(shares)
    if total_folds < 2:
        raise SplitError(f"split.total_folds is {total_folds}; it must be at least 2.")
    if not 0 <= fold < total_folds:
        raise SplitError(f"split.fold is {fold}; with {total_folds} folds it must be 0 to {total_folds - 1}.")
    if fold_method == "block" and method != "block":
        raise SplitError("split.fold_method is 'block', which needs split.method 'block'; choose another fold method.")


def _check_shares(shares: Shares) -> None:
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise SplitError(f"the shares are {list(shares)}; give three (train, val, test), not negative, adding to 1.")


def _is_shares(by: By) -> TypeGuard[Shares]:
    if not isinstance(by, Sequence) or isinstance(by, str) or not by:
        return False
    return all(isinstance(value, float | int) for value in by)


def _at_once(rows: pd.DataFrame, shares: Shares, seed: int, fold: int) -> Assignment:
    """Train, val and test drawn together from the parents."""
    _check_shares(shares)
    if fold:
        raise SplitError(f"split.by gives three shares, so there is no fold {fold}; give the test share alone in it.")
    parents = np.sort(rows["parent"].unique())
    order = np.random.RandomState(seed).permutation(len(parents))
    edges = np.rint(np.cumsum(shares)[:2] * len(parents)).astype(np.int64)
    groups = np.split(parents[order], edges)
    members = {p: np.flatnonzero(rows["parent"].isin(g)) for p, g in zip(PARTS, groups, strict=True)}
    return _finish(rows, members)


def _published_rows(rows: pd.DataFrame, by: By) -> NDArray[np.bool_]:
    """The samples that the published split holds back."""
    if "published" not in rows:
        raise SplitError("the store's source publishes no split (no column 'published'); choose another split.method.")
    if by not in (None, "val"):
        raise SplitError(f"split.by is {by!r}; with split.method 'published' leave it out, or give val.")
    return (rows["published"] != "train").to_numpy()


def _test_rows(rows: pd.DataFrame, method: str, by: By, shares: Shares, seed: int) -> NDArray[np.bool_]:
    if method == "random":
        share = shares[2] if by is None else by
        if not isinstance(share, float | int) or not 0 < share < 1:
            raise SplitError(
                f"split.by is {by!r}; a random split takes the test share, between 0 and 1, or three shares."
            )
        parents = np.sort(rows["parent"].unique())
        count = max(1, round(share * len(parents)))
        order = np.random.RandomState(seed).permutation(len(parents))
        return rows["parent"].isin(parents[order[:count]]).to_numpy()
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise SplitError(f"split.by is {by!r}; with split.method '{method}' give one name or a list of names.")
    column = "sample_id" if method == "sample" else method
    known = rows[column].unique()
    for name in names:
        if name not in known:
            raise SplitError(f"the store has no {method} '{name}' (in split.by); {nearest(str(name), known)}")
    return rows["parent"].isin(rows["parent"][rows[column].isin(names)]).to_numpy()


def fold_rows(rows: pd.DataFrame, fold_method: str, total_folds: int, fold: int, seed: int) -> NDArray[np.bool_]:
    """Which rows of the part that does not test validate in fold number `fold`.

    Args:
        rows: with the columns parent, region, empty.
        fold_method: as in `assign`.
        total_folds: number of folds.
        fold: from 0.
        seed: of the draw.

    Raises:
        SplitError: if there are more folds than groups.
    """
    if fold_method == "none":
        return np.ones(len(rows), dtype=bool)
    unit = "region" if fold_method.startswith("region") else "parent"
    units = np.sort(rows[unit].unique())
    if len(units) < total_folds:
        raise SplitError(
            f"{total_folds} folds need as many {unit}s beside the test part, and there are {len(units)}; "
            "lower split.total_folds or choose another split.fold_method."
        )
    filled = ~rows["empty"].to_numpy()
    if fold_method in ("stratified", "region-stratified"):
        splitter = StratifiedGroupKFold(total_folds, shuffle=True, random_state=seed)
        return np.isin(np.arange(len(rows)), _pick(splitter.split(rows, filled, rows[unit]), fold, fold_method))
    if fold_method == "shuffle":
        strata = rows["parent"][filled].unique()
        draws = StratifiedShuffleSplit(total_folds, test_size=1 / total_folds, random_state=seed)
        val = _pick(draws.split(units, np.isin(units, strata)), fold, fold_method)
    else:
        val = _pick(KFold(total_folds, shuffle=True, random_state=seed).split(units), fold, fold_method)
    return rows[unit].isin(units[val]).to_numpy()


def _pick(folds: Iterator[tuple[NDArray, NDArray]], fold: int, fold_method: str) -> NDArray[np.int64]:
    """The second half of fold number `fold`, with scikit-learn's complaint as one line."""
    try:
        with warnings.catch_warnings():
            # A stratum smaller than the number of folds cannot be in all of them; the folds are still valid.
            warnings.simplefilter("ignore", UserWarning)
            return next(itertools.islice(folds, fold, None))[1]
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SplitError(f"split.fold_method '{fold_method}' is impossible here ({reason}); choose 'kfold'.") from error


def _degrees(by: By) -> float:
    degrees = 15.0 if by is None else by
    if (
        not isinstance(degrees, float | int)
        or not 0 < degrees <= 90
        or abs(180 / degrees - round(180 / degrees)) > 1e-9
    ):
        raise SplitError(
            f"split.by is {by!r}; a block split takes the side of a block in degrees, dividing 180, say 15."
        )
    return float(degrees)


def _by_block(
    store: Store, rows: pd.DataFrame, degrees: float, shares: Shares, seed: int,
    fold_method: str, total_folds: int, fold: int,
) -> Assignment:  # fmt: skip
    if bool(store.metadata.geometry.is_empty.any()):
        raise SplitError(
            "the samples have no known place on the Earth, so blocks cannot split them; choose split=random, which "
            "keeps parents together, or split=published."
        )
    shape = (round(180 / degrees), round(360 / degrees))
    # This very call is how the blocks of published figures were drawn; it must stay.
    codes = np.random.RandomState(seed).choice(3, size=shape, p=list(shares))
    if fold_method == "block":
        free = np.flatnonzero(codes != 2)
        if len(free) < total_folds:
            raise SplitError(
                f"{total_folds} folds need as many blocks, and {len(free)} do not test; lower total_folds."
            )
        val = _pick(KFold(total_folds, shuffle=True, random_state=seed).split(free), fold, fold_method)
        codes.flat[free] = 0
        codes.flat[free[val]] = 1
    elif fold_method == "none":
        codes[codes == 1] = 0
    elif fold:
        raise SplitError(f"the blocks are drawn at once, so there is no fold {fold}; set split.fold_method to 'block'.")
    blocks = BlockParts(degrees, tuple(tuple(int(code) for code in row) for row in codes), fold_method == "none")
    touched = np.zeros((len(rows), 3), dtype=bool)
    for i in range(len(rows)):
        here = np.bincount(blocks.at(*store.grid(i).lonlat()).reshape(-1), minlength=3)
        touched[i] = here[:3] > 0
    if blocks.val_is_train:
        touched[:, 1] = touched[:, 0]
    return _finish(rows, {part: np.flatnonzero(touched[:, code]) for code, part in enumerate(PARTS)}, blocks)
