"""Spectral indices by name, from reflectances.

NDVI is built in. The other some 200 come from Awesome Spectral Indices (Montero and others, 2023, doi:
10.1038/s41597-023-02096-0) through its package spyndex, which is in the extra `scenes`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from graticule.errors import SourceError, nearest

_BANDS = {
    "A": "coastal", "B": "blue", "G1": "green05", "G": "green", "Y": "yellow", "R": "red", "RE1": "rededge071",
    "RE2": "rededge075", "RE3": "rededge078", "N": "nir", "N2": "nir08", "WV": "nir09", "S1": "swir16", "S2": "swir22",
    "T1": "lwir11", "T2": "lwir12", "VV": "vv", "VH": "vh", "HH": "hh", "HV": "hv",
}  # fmt: skip
"""Our names (STAC's) of what the formulas call by letters."""

_DIFFERENCE = re.compile(r"^\((\w+) ?- ?(\w+)\) ?/ ?\(\1 ?\+ ?\2\)$")


def index_bands(name: str) -> tuple[str, ...]:
    """The bands that an index is made of; none if no index has this name (in upper or lower case).

    Raises:
        SourceError: without the package `spyndex`, for all but NDVI; if the index needs what is no band.
    """
    formula = _formula(name)
    if formula is None:
        return ()
    letters, _, constants = formula
    unknown = [letter for letter in letters if letter not in _BANDS and constants.get(letter) is None]
    if unknown:
        raise SourceError(f"index {name} needs '{unknown[0]}', which is no band; choose another index.")
    return tuple(_BANDS[letter] for letter in letters if letter in _BANDS)


def is_normalised_difference(name: str) -> bool:
    """Whether the index is (a - b) / (a + b) of two bands, and so from -1 to 1."""
    formula = _formula(name)
    return formula is not None and _DIFFERENCE.match(formula[1]) is not None


def spectral_index(name: str, bands: Mapping[str, Float[np.ndarray, "*space"]]) -> Float32[np.ndarray, "*space"]:
    """An index of reflectances; NaN where a band has no value, or the index none.

    Reflectances below 0 are noise and count as 0. Where both bands of a normalised difference are 0, so is it.

    Args:
        name: of the index, such as NDVI, NDMI or EVI, in upper or lower case.
        bands: reflectances (1 is all light) by the names of `bands.TABLE`; more than are needed may be there.

    Raises:
        SourceError: if there is no such index, `spyndex` is not installed, or a band is missing.
    """
    needed = index_bands(name)
    formula = _formula(name)
    if formula is None:
        raise SourceError(f"no spectral index is named '{name}'; {nearest(name, _names())}")
    letters, text, constants = formula
    for band in needed:
        if band not in bands:
            raise SourceError(f"index {name} needs the band '{band}'; there are {', '.join(bands)}.")
    values: dict[str, Any] = {
        letter: _reflectance(_BANDS[letter], bands) if letter in _BANDS else constants[letter] for letter in letters
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        if difference := _DIFFERENCE.match(text):
            one, two = (values[letter] for letter in difference.groups())
            total = one + two
            index = np.where(total == 0, total, (one - two) / np.where(total == 0, 1, total))
        else:
            index = _package(name).computeIndex(_proper(name), params=values)
    return np.where(np.isfinite(index), index, np.nan).astype(np.float32)


def _reflectance(name: str, bands: Mapping[str, np.ndarray]) -> np.ndarray:
    """The band's values; radar and temperatures as they are."""
    return bands[name] if name in ("vv", "vh", "hh", "hv", "lwir11", "lwir12") else np.maximum(bands[name], 0)


@lru_cache(maxsize=64)
def _formula(name: str) -> tuple[tuple[str, ...], str, dict[str, Any]] | None:
    """(letters, formula, constants) of an index; None if there is none of this name."""
    if name.upper() == "NDVI":
        return ("N", "R"), "(N - R)/(N + R)", {}
    spyndex, proper = _package(name), _proper(name)
    if proper is None:
        return None
    index = spyndex.indices[proper]
    constants = {letter: constant.default for letter, constant in spyndex.constants.items()}
    return tuple(index.bands), index.formula, constants


def _proper(name: str) -> str | None:
    """The name as spyndex writes it: as it is, else the first that differs in case only."""
    names = _names()
    return name if name in names else next((known for known in names if known.upper() == name.upper()), None)


def _names() -> list[str]:
    return list(_package("").indices)


@lru_cache(maxsize=1)
def _spyndex() -> ModuleType:
    import spyndex

    return spyndex


def _package(name: str) -> ModuleType:
    try:
        return _spyndex()
    except ImportError as error:
        raise SourceError(
            f"'{name}' is no band that is there or known; if it is a spectral index, all but NDVI need the package "
            "spyndex: pip install 'graticule[scenes]'."
        ) from error
