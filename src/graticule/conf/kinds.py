"""The kinds of tasks and their sections."""

from typing import Annotated, Any, Literal

from pydantic import Field

from graticule.conf.sections import NotNegative, OpenSection, Positive, Section, Share

TaskName = Literal["dense", "pretraining", "adaptation", "painting"]
"""What is learnt; each but `dense` has a section of its name, which the others take no notice of."""

TermName = Literal["min_entropy", "adversarial", "total_variation", "ground_intersection", "painter", "pseudo_labels"]
NotBelowZero = Annotated[float, Field(ge=0)]
LearningRate = Annotated[float, Field(gt=0)]


class TermConfig(OpenSection):
    """One term that a target learns from domains without labels. The further keys are the options of that term."""

    name: TermName
    """Name of the term."""
    weight: NotBelowZero = 1.0
    """Weight of the term in the sum."""
    from_epoch: NotNegative = 0
    """The first epoch in which it counts, from 0."""
    until_epoch: Positive | None = None
    """The first epoch in which it no longer counts; null keeps it to the end."""
    labelled: bool = False
    """Let it count on the main store too."""


class PartConfig(Section):
    """How a part of the net learns, where not as the rest."""

    lr: LearningRate | None = None
    """Highest learning rate; that of `optim.optimizer` if null."""
    schedule: dict[str, Any] | None = None
    """Name and options of its schedule; that of `optim.schedule` if null."""


class OpponentConfig(Section):
    """How discriminators learn."""

    optimizer: dict[str, Any] = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
    """Name and options of their optimiser."""
    schedule: dict[str, Any] = {"name": "constant"}
    """Name and options of their schedule."""


class EarlierConfig(Section):
    """A store with labels that is learnt from before all else."""

    store: str
    """Its folder."""
    epochs: Positive = 10
    """So many epochs learn from its labels alone."""


class AdaptationConfig(Section):
    """Learning from domains without labels beside the main store (`task.name=adaptation`)."""

    name: str = "s"
    """Name of the main store's domain, in logs and metrics."""
    domains: dict[str, str] = {}
    """The stores of the other domains, by the domain's name; their labels are not looked at."""
    losses: dict[str, list[TermConfig]] | None = None
    """The terms that each target learns from these domains; if null those of ClimateGAN."""
    pretrain: EarlierConfig | None = None
    """A store to learn from first; null for none."""
    painter: str | None = None
    """A run of `task.name=painting` that stays as it is; for the term `painter`."""
    parts: dict[str, PartConfig] = {}
    """Parts of the net with learning rates of their own, by their names in the net: encoder, depth, mask ..."""
    discriminators: OpponentConfig = OpponentConfig()


class PaintingLossesConfig(Section):
    """The weight of each term of the painter's loss; 0 leaves it out."""

    adversarial: NotBelowZero = 1.0
    """What the discriminators think of what is painted."""
    feature_matching: NotBelowZero = 10.0
    """How far what they see in it is from what they see in the photograph."""
    perceptual: NotBelowZero = 0.0
    """How far features of VGG19 are apart, under the mask; needs `painting.perceptual_weights`."""
    total_variation: NotBelowZero = 0.0
    """How much neighbouring pixels differ, under the mask."""
    context: NotBelowZero = 0.0
    """How far the painter changes what is outside of the mask."""
    reconstruction: NotBelowZero = 0.0
    """How far the painted pixels are from the photograph's, under the mask."""


class JudgeConfig(OpponentConfig):
    """The painter's discriminators."""

    width: Positive = 64
    """Channels of the first layer."""
    layers: Positive = 4
    """Layers that halve the size."""
    scales: Positive = 3
    """How many discriminators, each at half the size of the one before."""
    local: bool = False
    """Judge the whole photograph, and the part under the mask by itself, in place of both together."""


class PaintingConfig(Section):
    """Learning to paint what is under a mask (`task.name=painting`, `model=painter`)."""

    target: str = "mask"
    """The binary target that says where to paint."""
    objective: Literal["gan", "lsgan", "hinge"] = "hinge"
    """What painter and discriminators play for."""
    soft_labels: Share = 0.0
    """With `gan` and `lsgan`: how far the labels told to the discriminators may be from 0 and 1."""
    flipped_labels: Share = 0.0
    """With `gan` and `lsgan`: the share of steps whose labels are told to the discriminators the wrong way round."""
    losses: PaintingLossesConfig = PaintingLossesConfig()
    perceptual_weights: str | None = None
    """File of the weights of torchvision's VGG19."""
    augment: list[Literal["brightness", "saturation", "contrast", "translation", "cutout"]] = []
    """Change what the discriminators see at random, painted and real pictures alike (DiffAugment)."""
    inception_weights: str | None = None
    """File of the weights of torch-fidelity's Inception, for FID and KID at the end; null computes neither."""
    paste: bool = True
    """Judge the painted pixels within the photograph, and not the whole of what the painter gives."""
    parts: dict[str, PartConfig] = {}
    """Parts of the painter with learning rates of their own, by their names in it."""
    discriminator: JudgeConfig = JudgeConfig()
