"""SynWoodScape: simulated photographs of the same four cameras, with 25 classes and depth (Sekkat et al. 2022)."""

from collections.abc import Sequence
from typing import Literal

from graticule.data.sources.fisheye import FisheyeSource, TargetName, Void
from graticule.data.sources.fisheye_files import CAMERAS
from graticule.grids.camera import Frame

ClassSet = Literal["synwoodscape", "synwoodscape_large", "synwoodscape_large_plus_AD"]


class SynWoodScapeSource(FisheyeSource):
    """SynWoodScape as published; classes are merged here, by their names in `seg_annotation_info.json`.

    Args:
        root: the folder into which the data set was unpacked.
        classes: `synwoodscape` (all 25), `synwoodscape_large` (8, the rest is void) or `synwoodscape_large_plus_AD`
            (12). A folder whose classes have been merged before is taken as it is.
        targets: `semantics`, `depth` (metres along the ray), or both.
        grid: `camera` (the photograph's pixels), `camera:640x768` (resized to height x width) or `healpix:256` (the
            sphere round the camera).
        base_pixels: of the HEALPix sphere; those of which the cameras see a tenth or more if null.
        window: side in cells of the samples on HEALPix, a power of two; null makes one sample of all base pixels.
        crop: [row, column, height, width] cut from the (resized) photograph; it may reach beyond the edges.
        frame: pole of the sphere: the optical axis (`camera`), the nearest axis of the vehicle (`level`), or up
            (`vehicle`, one sphere for all cameras).
        void: whether class 0 is a class: nowhere (`ignore`), in the photograph (`inside`), or also beyond the
            photograph on the sphere (`everywhere`, as in the published experiments).
        mask_background: leave out the depth of the sky, which is stored as 1000 m.
        cameras: which of FV, RV, MVL and MVR.
        train_share: share of the published split that trains.
        split_seed: its seed.

    Raises:
        SourceError: if a file is missing, damaged or does not fit the others.
    """

    name = "synwoodscape"

    def __init__(
        self, root: str, classes: ClassSet = "synwoodscape_large_plus_AD",
        targets: Sequence[TargetName] = ("semantics",), grid: str = "healpix:256",
        base_pixels: Sequence[int] | None = None, window: int | None = None, crop: Sequence[int] | None = None,
        frame: Frame = "camera", void: Void = "inside", mask_background: bool = True,
        cameras: Sequence[str] = CAMERAS, train_share: float = 0.8, split_seed: int = 42,
    ) -> None:  # fmt: skip
        super().__init__(
            root, classes, targets=targets, grid=grid, base_pixels=base_pixels, window=window, crop=crop, frame=frame,
            void=void, mask_background=mask_background, cameras=cameras, train_share=train_share,
            split_seed=split_seed,
        )  # fmt: skip
        self._options["classes"] = classes
