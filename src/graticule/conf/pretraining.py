"""The section of a pretraining without labels.

The docstring under a field is its line in the reference (`docs/reference/configuration.md`).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from graticule.conf.sections import NotNegative, Positive, Section, Share

MethodName = Literal["simclr", "moco", "byol", "simsiam", "barlow_twins", "vicreg", "dino", "mae"]
Strength = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, le=1)]
Above = Annotated[float, Field(gt=0)]


class ViewsConfig(Section):
    """How views of a sample are drawn; each is a function of seed, epoch, sample and view."""

    number: Positive | None = None
    """Views of one sample; if null 2, and 1 for mae."""
    size: Positive = 32
    """Side of a view in pixels."""
    local: NotNegative = 0
    """Further, smaller views; only dino has them."""
    local_size: Positive = 16
    """Their side in pixels."""
    scale: tuple[Part, Part] = (0.2, 1.0)
    """Share of the window's area that a view shows, from and to."""
    local_scale: tuple[Part, Part] = (0.05, 0.2)
    """Likewise of the local views."""
    ratio: tuple[Above, Above] = (0.75, 4 / 3)
    """Height by width of a crop, from and to."""
    ground: tuple[Above, Above] | None = None
    """Metres on the ground that a pixel of a view spans, from and to, in place of `scale`; null takes shares."""
    d4: bool = True
    """Flip and turn views by quarters."""
    brightness: Strength = 0.0
    """Largest relative change of the brightness of optical bands; of radar and thermal ones, shift in deviations."""
    contrast: Strength = 0.0
    """Largest relative change of the contrast of optical, radar and thermal bands."""
    tint: Strength = 0.0
    """Largest relative change of each optical band by itself."""
    blur: Annotated[int, Field(ge=0, le=31)] = 0
    """Blur half of the views' optical bands over squares of 3, 5, ... up to so many pixels; 0 blurs none."""
    noise: Strength = 0.0
    """Largest relative change of single values of optical bands, in half of the views."""
    grey: Share = 0.0
    """Probability that the optical bands of a view all become their mean."""
    drop: Strength = 0.0
    """Probability that a band is left out of a view."""
    groups: list[list[str]] | None = None
    """Groups of bands, such as those of two sensors: each view of a sample shows one group."""
    positives: str | None = None
    """Column of the metadata: every second view is of another sample with the same value there (`parent`, ...)."""

    @model_validator(mode="after")
    def _ordered(self) -> "ViewsConfig":
        for name in ("scale", "local_scale", "ratio", "ground"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"pretraining.views.{name} is {list(bounds)}; give the lower one first")
        return self


class PretrainingConfig(Section):
    """How a backbone is learnt without labels (`task.name=pretraining`)."""

    method: MethodName = "simclr"
    """What is learnt from views."""
    options: dict[str, Any] = {}
    """Options of the method, such as temperature, hidden, output; see the guide on pretraining."""
    views: ViewsConfig = ViewsConfig()
    final_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay at the last step, reached by a cosine from that of the optimiser; null keeps it."""
    probe_target: str | None = None
    """Target of classes by which features are probed in validation; null takes the first, `none` probes nothing."""
    probe_every: NotNegative = 1
    """Validations from one probe (nearest neighbours, linear) to the next; 0 never probes."""
    bank: Positive = 2000
    """Labelled training samples that a probe sees, at most."""
