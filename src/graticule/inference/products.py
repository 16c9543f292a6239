"""What is written of a scene beside its maps: objects, extent, thumbnail; collected while the scene passes."""

from collections.abc import Sequence
from pathlib import Path

from graticule.errors import OutputError
from graticule.grids import Grid, RasterGrid
from graticule.inference.cleaning import Mapped
from graticule.inference.objects import Objects
from graticule.inference.options import Kind
from graticule.inference.thumbnail import Thumbnail
from graticule.inference.vectors import Extent, vector_paths, write_vectors
from graticule.schema import Band, Target


class Products:
    """Collects the products of one scene and writes them at its end.

    Args:
        wanted: kinds; None takes those that fit: on a raster extent, thumbnail, item, and objects of binary targets.
        stem: folder and first part of the files' names.
        grid: of the scene.
        bands: of the input.
        targets: that are predicted.

    Raises:
        OutputError: if a kind does not fit the grid or the targets.
    """

    def __init__(
        self, wanted: Sequence[Kind] | None, stem: Path, grid: Grid, bands: Sequence[Band], targets: Sequence[Target]
    ) -> None:
        kinds = _fitting(wanted, grid, targets)
        self.stem, self.has_item = stem, "stac" in kinds
        self.objects: dict[str, Objects] = {}
        self.extent: Extent | None = None
        self.thumbnail: Thumbnail | None = None
        if isinstance(grid, RasterGrid):
            chosen = [t for t in targets if t.kind == "binary" or (wanted and t.kind == "classes")]
            self.objects = {t.name: Objects(grid, t) for t in chosen} if "objects" in kinds else {}
            self.extent = Extent(grid) if "extent" in kinds else None
            self.thumbnail = Thumbnail(grid, bands, targets[0]) if "thumbnail" in kinds else None

    @property
    def paths(self) -> dict[str, Path]:
        """The files by key."""
        found: dict[str, Path] = {}
        for key in (*(f"{name}-objects" for name in self.objects), *(["extent"] if self.extent else [])):
            parquet, package = vector_paths(self._named(key))
            found |= {key: parquet, f"{key}-gpkg": package}
        return found | ({"thumbnail": self._named("thumbnail.png")} if self.thumbnail else {})

    def add(self, piece: Mapped) -> None:
        """Take the next pixels."""
        for name, objects in self.objects.items():
            objects.add(piece.first, piece.labels[name], piece.fields[name])
        if self.extent:
            self.extent.add(piece.first, piece.holds)
        if self.thumbnail:
            self.thumbnail.add(piece)

    def save(self, scene: str) -> dict[str, Path]:
        """Write all and return the files by key."""
        for name, objects in self.objects.items():
            write_vectors(objects.table(), self._named(f"{name}-objects"))
        if self.extent:
            write_vectors(self.extent.table(scene), self._named("extent"))
        if self.thumbnail:
            self.thumbnail.save(self._named("thumbnail.png"))
        return self.paths

    def _named(self, name: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}-{name}")


def _fitting(wanted: Sequence[Kind] | None, grid: Grid, targets: Sequence[Target]) -> Sequence[str]:
    if wanted is None:
        return ("objects", "extent", "thumbnail", "stac") if isinstance(grid, RasterGrid) else ("stac",)
    if not isinstance(grid, RasterGrid) and set(wanted) - {"stac"}:
        raise OutputError(
            f"products on HEALPix can only be stac, not {', '.join(sorted(set(wanted) - {'stac'}))}; predict on a "
            "raster, or set predict.products=[stac]."
        )
    if "objects" in wanted and not any(target.is_categorical for target in targets):
        raise OutputError(
            f"objects need classes, and {', '.join(target.name for target in targets)} has none; "
            "leave objects out of predict.products."
        )
    return wanted
