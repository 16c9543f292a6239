"""The configuration as one typed tree. Every value is checked here, before any data is opened.

The docstring under a field is its line in the reference (`docs/reference/configuration.md`).
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from graticule.conf.kinds import AdaptationConfig, PaintingConfig, TaskName
from graticule.conf.pretraining import PretrainingConfig
from graticule.conf.sections import NotNegative, OpenSection, Positive, Section, Share
from graticule.conf.verbs import (
    CrossvalConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    ProbeConfig,
    ProfileConfig,
    TuneConfig,
)
from graticule.errors import nearest
from graticule.schema import Scaling, Transform

LossName = Literal[
    "cross_entropy", "focal", "dice", "lovasz", "l1", "l2", "huber", "silog", "gaussian", "sigm", "berhu"
]  # fmt: skip
OptimizerName = Literal["adamw", "adam", "extra_adam", "nadam", "radam", "rmsprop", "sgd"]
ScheduleName = Literal["constant", "cosine", "one_cycle", "exponential", "stepwise"]
TrackerName = Literal["csv", "tensorboard", "wandb", "mlflow", "comet"]


class RunConfig(Section):
    """The run and its folder."""

    name: str | None = None
    """Name of the run; runs of one name differ by random state only. A random one if null."""
    seed: NotNegative = 42
    """Seed of everything that is drawn: first weights, order of samples, augmentation, dropout."""
    output_root: str = "runs"
    """Folder under which run folders are made. The variable OUTPUT_ROOT gives the default."""
    layout: Literal["graticule", "ssl4rs"] = "graticule"
    """Where runs are: `_runs/<name>-<id>`; or `runs/<experiment>/<name>` with further names of files as in ssl4rs."""
    experiment: str | None = None
    """Name of the experiment in the layout of ssl4rs; the one that is chosen if null."""
    resume: Literal["never", "latest"] = "never"
    """`latest`: go on with the newest run of `run.name`, where there is one, at its last checkpoint."""


class SourceConfig(OpenSection):
    """Where samples come from. The further keys are the options of the source."""

    name: str
    """Name of the source."""


AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "HorizontalFlip": {"horizontal_flip": True},
    "VerticalFlip": {"vertical_flip": True},
    "RandomRotate90": {"rotate": True},
    "D4": {"d4": True},
    "Blur": {"blur": 7},
    "RandomBrightnessContrast": {"brightness": 0.2, "contrast": 0.2},
    "MultiplicativeNoise": {"noise": 0.1},
    "Posterize": {"posterize": 6},
}
"""Augmentations by the names that they have in DARTS and in albumentations, with their usual strengths."""


class AugmentConfig(Section):
    """Random changes of a training sample, each a function of seed, epoch and sample.

    In place of the section: a list of names (HorizontalFlip, VerticalFlip, RandomRotate90, D4, Blur,
    RandomBrightnessContrast, MultiplicativeNoise, Posterize), true for all of them, false for none.
    """

    d4: bool = False
    """Flip and turn by quarters: the eight symmetries of a square."""
    horizontal_flip: bool = False
    """Mirror half of the samples left to right."""
    vertical_flip: bool = False
    """Mirror half of the samples top to bottom."""
    rotate: bool = False
    """Turn by quarters."""
    crop: Positive | None = None
    """Side in pixels of a random crop; null trains on whole windows."""
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of the brightness of optical bands."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of the contrast of optical bands."""
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of the saturation of red, green and blue."""
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Take the crop, or the window, up to this much smaller, and resize it."""
    blur: Annotated[int, Field(ge=0, le=31)] = 0
    """Blur half of the samples' optical bands over squares of 3, 5, ... up to so many pixels; 0 blurs none."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of single values of optical bands, in half of the samples."""
    posterize: Annotated[int, Field(ge=0, le=16)] = 0
    """Round optical bands of half of the samples to 2 to the power of so many levels; 0 rounds none."""

    @model_validator(mode="before")
    @classmethod
    def _from_names(cls, told: Any) -> Any:
        """The section that a list of names, true or false stands for."""
        if told is True:
            told = list(AUGMENTATIONS)
        if told in (False, None, "none", "None"):
            return {}
        if isinstance(told, str):
            told = [told]
        if not isinstance(told, list | tuple):
            return told
        for name in told:
            if str(name) not in AUGMENTATIONS:
                known = nearest(str(name), AUGMENTATIONS)
                raise ValueError(f"data.augment has '{name}', which does not exist; {known}")
        return {key: value for name in told for key, value in AUGMENTATIONS[name].items()}


class DataConfig(Section):
    """The store and how batches are made of it."""

    store: str | None = None
    """Folder of the store. If null: `<source>-<grid>` under DATA_ROOT, or under `stores`."""
    batch_size: Positive = 16
    """Samples of one training batch on one device."""
    eval_batch_size: Positive | None = None
    """Samples of one batch when validating and evaluating; as `batch_size` if null."""
    num_workers: NotNegative = 0
    """Threads that read ahead. The result does not depend on it."""
    bands: list[str] | None = None
    """Names of the bands to use; all if null."""
    targets: list[str] | None = None
    """Names of the targets to read; all if null."""
    balance: Share = 0.0
    """Draw samples and centre crops by class: 1 (or true) shows rare classes as often as common ones, 0 as they are."""
    repeats: Positive = 1
    """How often one epoch draws each sample."""
    augment: AugmentConfig = AugmentConfig()


class SplitConfig(Section):
    """Which samples train, validate, test."""

    method: Literal["random", "region", "sample", "parent", "block", "published", "none"] = "block"
    """Random parents, regions, samples or parents by name, blocks of degrees, the data's own split, or none."""
    by: float | str | list[str] | list[float] | None = None
    """The regions, samples or parents that test; the share that tests (`random`); the side in degrees (`block`)."""
    shares: tuple[Share, Share, Share] = (0.7, 0.15, 0.15)
    """Shares of train, val and test where they are drawn."""
    seed: NotNegative = 42
    """Seed of what is drawn, apart from the run's seed so that all runs share one split."""
    fold_method: Literal["kfold", "stratified", "shuffle", "region", "region-stratified", "block", "none"] = "kfold"
    """How what does not test is cut into folds, of which one validates; blocks are drawn at once unless `block`."""
    total_folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds."""
    fold: NotNegative = 0
    """The fold that validates, from 0."""
    train_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training samples that is trained on, drawn by `split.seed`; alike of each class, at least one."""
    allow_leaks: bool = False
    """Train even though parts share ground, content or parents."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitConfig":
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"split.shares {list(self.shares)} add to {sum(self.shares):g}; they must add to 1")
        if self.fold >= self.total_folds:
            raise ValueError(f"split.fold is {self.fold}; it must be below split.total_folds={self.total_folds}")
        return self


class NetConfig(OpenSection):
    """The net. The further keys are the arguments of its class."""

    name: str
    """Name of the net, or `package.module:Class` for your own."""


class LossConfig(OpenSection):
    """One term of a target's loss. The further keys are the options of that loss."""

    name: LossName
    """Name of the loss."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the term in the sum."""
    from_epoch: NotNegative = 0
    """The first epoch in which it counts, from 0."""
    until_epoch: Positive | None = None
    """The first epoch in which it no longer counts; null keeps it to the end."""


class ValueConfig(Section):
    """How a height or depth is learnt."""

    transform: Transform = "none"
    """Learn the value, its logarithm or its inverse; the latter two where it is above 0."""
    scaling: Scaling = "standardise"
    """Scale by mean and deviation, or to 0..1 by the lowest and highest value, of the train part; or not at all."""
    uncertainty: bool = False
    """Predict the deviation of the error too, as a second map; train it with the loss `gaussian`."""


class TaskConfig(Section):
    """What is learnt and what counts as an error."""

    name: TaskName = "dense"
    """What is learnt: `dense`, a value of each target at every pixel; `adaptation`, the same, also from domains without
    labels; `painting`, what photographs look like under a mask."""
    losses: dict[str, list[LossConfig]] | None = None
    """The terms of the loss of each target, or of `any`, which is every target without an entry of its own.

    If null: cross-entropy for classes and binary targets, L1 for values.
    """
    weights_from_checkpoint: str | None = None
    """Begin with the net of this checkpoint, run or exported model; of DARTS too, where the net is `smp`."""
    values: dict[str, ValueConfig] = {}
    """How each target with values is learnt."""
    normalisation: Literal["statistics", "range"] = "statistics"
    """What the net sees: values less their mean by their deviation; or 0..1 over each band's valid range, clipped."""
    area_weighted: bool = False
    """Weigh each pixel by its area on the Earth in losses and validation metrics."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Keep a running mean of the weights with this decay, and validate and predict with it."""
    freeze: list[str] = []
    """Parts of the net that do not learn: names of its modules (`encoder`), or `encoder:K`, its stem and K blocks."""
    freeze_epochs: Positive | None = None
    """What is frozen learns from this epoch on, counted from 0; null: never."""
    cell_pool: Literal["mean", "max"] = "mean"
    """Where labels are known for cells of pixels: mean of the pixels' probabilities, or maximum of their logits."""


class OptimizerConfig(OpenSection):
    """The optimiser. The further keys are its options."""

    name: OptimizerName = "adamw"
    """Name of the optimiser."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Highest learning rate."""


class ScheduleConfig(OpenSection):
    """How the learning rate changes by step. The further keys are its options."""

    name: ScheduleName = "constant"
    """Name of the schedule."""


class OptimConfig(Section):
    """Optimiser and schedule."""

    optimizer: OptimizerConfig = OptimizerConfig()
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor on the rate from each block of the encoder to the one before it, such as 0.75; null: all have one rate."""
    schedule: ScheduleConfig = ScheduleConfig()


class TrainerConfig(Section):
    """How long, where and how precisely is trained; mostly Lightning's own words."""

    max_epochs: Positive = 10
    """Epochs to train."""
    max_steps: int = -1
    """Stop after this many steps; -1 is no limit."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Kind of device."""
    devices: int | list[int] | Literal["auto"] = "auto"
    """Number of devices, or their indices."""
    num_nodes: Positive = 1
    """Number of machines."""
    strategy: str = "auto"
    """Lightning's strategy over devices: `ddp`, `fsdp`, ..."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"] = "32-true"
    """Precision of the computing."""
    gradient_clip_val: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; null clips nothing."""
    accumulate_grad_batches: Positive = 1
    """Batches whose gradients make one step."""
    val_every_n_epochs: Positive = 1
    """Validate after every so many epochs."""
    limit_train_batches: Positive | Annotated[float, Field(gt=0, le=1)] | None = None
    """Number or share of the training batches of an epoch."""
    limit_val_batches: Positive | Annotated[float, Field(gt=0, le=1)] | None = None
    """Number or share of the validation batches."""
    log_every_n_steps: Positive = 10
    """Log training values every so many steps."""
    sync_batchnorm: bool = False
    """Share the statistics of batch norms between devices."""
    deterministic: bool | Literal["warn"] = "warn"
    """Use only operations that give the same bits each time; `warn` tells of those that do not."""
    profiler: Literal["simple", "advanced"] | None = None
    """Time the hooks of the training (`simple`) or all calls (`advanced`), into `fit-profile.txt` of the run."""
    compile: bool = False
    """Compile the net with `torch.compile`."""


class TrackerConfig(Section):
    """Where metrics, pictures and checkpoints are reported."""

    names: list[TrackerName] = ["csv"]
    """Any number of trackers at once."""
    project: str = "graticule"
    """Project or experiment at the tracker."""
    entity: str | None = None
    """Account or workspace at the tracker."""
    offline: bool = True
    """Write locally, to be sent later or never."""


class EarlyStoppingConfig(Section):
    """Stop when a metric no longer gets better."""

    patience: Positive | None = None
    """Validations without a better value before training stops; null never stops early.

    With `trainer.val_every_n_epochs=3` a patience of 5 is 15 epochs.
    """
    monitor: str | None = None
    """The metric; if null that of the first target: IoU for labels, MAE for values."""
    mode: Literal["min", "max"] = "max"
    """Whether low or high is good."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """What counts as better."""


class CheckpointConfig(Section):
    """Which checkpoints are kept; `last.ckpt` always is."""

    every_n_steps: Positive | None = 200
    """Write `last.ckpt` every so many steps, beside the end of each epoch."""
    monitor: str | None = None
    """The metric by which a checkpoint is best; if null that of the first target: IoU for labels, MAE for values."""
    mode: Literal["min", "max"] = "max"
    """Whether low or high is good."""
    top_k: NotNegative = 1
    """How many best checkpoints are kept."""


class PicturesConfig(Section):
    """Pictures of validation windows, sent to the trackers."""

    every_n_validations: Annotated[
        Positive, Field(validation_alias=AliasChoices("every_n_validations", "every_n_epochs"))
    ] = 1
    """Draw at the first validation and every so many later: `trainer.val_every_n_epochs` times as many epochs."""


class CallbacksConfig(Section):
    """What happens beside the training."""

    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    pictures: PicturesConfig = PicturesConfig()
    progress: bool = True
    """Show progress: a bar on a terminal, lines of text elsewhere."""


class Config(Section):
    """The whole tree."""

    run: RunConfig = RunConfig()
    source: SourceConfig
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: NetConfig
    task: TaskConfig = TaskConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    optim: OptimConfig = OptimConfig()
    trainer: TrainerConfig = TrainerConfig()
    tracker: TrackerConfig = TrackerConfig()
    callbacks: CallbacksConfig = CallbacksConfig()
    prepare: PrepareConfig = PrepareConfig()
    profile: ProfileConfig = ProfileConfig()
    probe: ProbeConfig = ProbeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    predict: PredictConfig = PredictConfig()
    crossval: CrossvalConfig = CrossvalConfig()
    tune: TuneConfig = TuneConfig()
    adaptation: AdaptationConfig = AdaptationConfig()
    painting: PaintingConfig = PaintingConfig()
    hyperparameters: dict[str, Any] | list[dict[str, Any]] | None = None
    """The search space of `graticule tune`: names with distributions; all else takes no notice of it."""

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        n_folds, total = self.crossval.n_folds, self.split.total_folds
        if n_folds is not None and n_folds > total:
            raise ValueError(f"crossval.n_folds is {n_folds}; it must be at most split.total_folds={total}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain data: dicts, lists, text, numbers, booleans, None."""
        return self.model_dump(mode="json")
