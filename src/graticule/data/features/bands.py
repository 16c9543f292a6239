"""What common bands mean: unit, kind, how they are usually stored, and the values that a sensible one has.

The ranges and codes of the scenes' bands are those that DARTS trains with, so that its models find what they know.
"""

from dataclasses import replace

from graticule.data.features.indices import index_bands, is_normalised_difference
from graticule.errors import SourceError, nearest
from graticule.schema import Band

_UNIT = (-1.0, 1.0)


def _optical(name: str) -> Band:
    return Band(name, "1", "optical", scale=1e-4, nodata=0.0, valid_range=(-0.1, 0.5))


_OPTICAL = ("coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "rededge075", "rededge078")
_INFRARED = ("nir", "nir08", "nir09", "swir16", "swir22")

TABLE: dict[str, Band] = {
    band.name: band
    for band in (
        *map(_optical, (*_OPTICAL, *_INFRARED)),
        Band("lwir11", "K", "thermal", scale=0.01, nodata=0.0, valid_range=(200.0, 330.0)),
        Band("lwir12", "K", "thermal", scale=0.01, nodata=0.0, valid_range=(200.0, 330.0)),
        *(Band(name, "dB", "radar", valid_range=(-35.0, 10.0)) for name in ("vv", "vh", "hh", "hv")),
        Band("ndvi", "1", "index", scale=1e-4, offset=-1.0, nodata=-1.0, valid_range=_UNIT),
        Band("dem", "m", "elevation", valid_range=(-100.0, 3000.0)),
        Band(
            "relative_elevation", "m", "elevation", scale=1 / 300, offset=-50.0, nodata=-1.0, valid_range=(-50.0, 50.0)
        ),
        Band("slope", "degree", "angle", scale=0.01, nodata=-1.0, valid_range=(0.0, 90.0)),
        Band("aspect_sin", "1", "direction", scale=1e-4, nodata=-32768.0, valid_range=_UNIT),
        Band("aspect_cos", "1", "direction", scale=1e-4, nodata=-32768.0, valid_range=_UNIT),
        Band("hillshade", "1", "elevation", scale=1e-4, nodata=-1.0, valid_range=(0.0, 1.0)),
        Band("curvature", "1/(100 m)", "elevation", scale=1e-4, offset=-1.0, nodata=-1.0, valid_range=_UNIT),
        *(
            Band(f"tc_{part}", "1", "index", valid_range=(0.0, 255.0))
            for part in ("brightness", "greenness", "wetness")
        ),
        Band("wind_east", "m/s", "direction", valid_range=(-40.0, 40.0)),
        Band("wind_north", "m/s", "direction", valid_range=(-40.0, 40.0)),
    )
}
"""By name. Optical bands are named as STAC's `eo` extension names them; all are reflectances, stored x 10 000."""


def band_of(name: str) -> Band:
    """The band of a name, in upper or lower case: one of `TABLE`, or a spectral index.

    Raises:
        SourceError: for an unknown name, and for an index without the package `spyndex`.
    """
    if name.lower() in TABLE:
        return replace(TABLE[name.lower()], name=name)
    if index_bands(name):
        return Band(name, "1", "index", valid_range=_UNIT if is_normalised_difference(name) else None)
    raise SourceError(f"no band or spectral index is named '{name}'; {nearest(name, TABLE)}")
