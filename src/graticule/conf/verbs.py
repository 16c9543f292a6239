"""The sections of the configuration that say how a verb works, beside training.

The docstring under a field is its line in the reference (`docs/reference/configuration.md`).
"""

from typing import Annotated, Literal

from pydantic import Field, field_serializer, model_validator

from graticule.conf.sections import NotNegative, Positive, Section, Share
from graticule.errors import without_password

Part = Literal["train", "val", "test"]


class PrepareConfig(Section):
    """How a store is written: who works at it."""

    workers: Positive = 1
    """Processes that prepare scenes side by side, on a local Dask cluster; 1 works in this process."""
    codec: Literal["none", "zstd"] = "none"
    """`none` reads at the speed of a memcpy; `zstd` makes the store smaller."""
    dask: str | None = None
    """Address of the scheduler of a Dask cluster that is there already, such as tcp://HOST:8786; it does the work."""


class ProfileConfig(Section):
    """What `graticule profile` measures."""

    name: str | None = None
    """Name of the profile's folder, which ends in an id. A random one if null."""
    batches: Positive = 20
    """Of data: batches of one loop."""
    loops: Positive = 5
    """Of data: loops with each number of threads; the numbers take turns, so that a busy machine hits all alike."""
    workers: Annotated[list[NotNegative], Field(min_length=1)] = [0, 1, 2, 4]
    """Of data: the values of `data.num_workers` to try, beside the one that is set."""
    steps: Positive = 10
    """Of models: training steps to time."""
    largest_batch: bool = True
    """Of models: tell the largest batch that fits, tried on CUDA, and estimated from free memory elsewhere."""
    trace: bool = False
    """Of models: write what torch's profiler sees of three steps, as `trace.json` and `trace.txt`."""
    shape: Annotated[list[Positive], Field(min_length=2, max_length=3)] | None = None
    """Of models: [bands, rows, columns], or on HEALPix [bands, cells], of a sample of noise; if null the store's."""
    base_pixels: list[Annotated[int, Field(ge=0, lt=12)]] | None = None
    """With `shape` on HEALPix: the base pixels that the cells cover; those under one parent if null."""
    outputs: Positive = 10
    """With `shape`: classes to predict; 1 is a binary target."""

    @model_validator(mode="after")
    def _fits(self) -> "ProfileConfig":
        if self.base_pixels is not None and (self.shape is None or len(self.shape) != 2):
            raise ValueError("profile.base_pixels needs profile.shape=[bands,cells]; give it, or leave both out")
        return self


class EvaluateConfig(Section):
    """The evaluation, after training or by its verb."""

    after_train: bool = True
    """Evaluate when training has ended."""
    parts: list[Part] = ["test"]
    """The parts to evaluate."""
    grid: str | list[str] = "store"
    """`store`: own pixels of the windows; `scene`: blended on the scene; or a grid: `healpix:256`, `raster:0.1deg`.

    Of photographs also `camera` (as taken), `camera:640x768`, each with `:masked` to count base pixels only; a list of
    them; or `all`, every evaluation of HEAL-SWIN's guide.
    """
    area_weighted: bool = True
    """Weigh each pixel by its area on the Earth."""
    restitch: bool = False
    """Of rasters: put each scene together from its samples, as picture and GeoTIFFs in `predictions/<model>/`."""
    threshold: Share | Literal["best"] = 0.5
    """Of binary targets: positive is a probability of at least this; `best`: what scored best in validation."""
    objects: bool | None = None
    """Count objects, on the grids `store` and `scene` of rasters: of binary targets if null, of classes too if true."""
    bootstrap: NotNegative = 1000
    """Draws of parents for the intervals; 0 gives none."""
    tta: bool = False
    """Take the mean over the eight flips and quarter turns of each window; eight times the cost."""
    examples: NotNegative = 8
    """Windows kept as pictures for the report."""
    base_pixels: list[Annotated[int, Field(ge=0, lt=12)]] | None = None
    """Of photographs: those that count on masked grids; those of the store, or those that the cameras see, if null."""
    chamfer: bool = False
    """Of photographs with depth: measure the Chamfer distance of the point clouds; seconds per photograph."""
    pictures: NotNegative = 0
    """Of photographs: draw the first so many, with truth, prediction and mistakes."""
    top_k: NotNegative = 0
    """Of photographs: draw so many of the best, and of the worst."""
    ranking: Literal["iou", "iou_ignored", "acc", "acc_ignored", "mse", "silog", "chamfer"] | None = None
    """The measure that says which are best; `iou_ignored` of classes and `mse` of depth if null."""


class PredictConfig(Section):
    """Whole scenes and the whole Earth."""

    window: Positive | None = None
    """Side of a window in pixels; 256 on rasters and 64 on HEALPix if null."""
    overlap: NotNegative = 32
    """Pixels that windows on a raster share and blend; on HEALPix a quarter of the window is halo on each side."""
    reflection: NotNegative = 0
    """Pixels by which a raster is mirrored outwards, so that its edge is not the edge of a window."""
    batch_size: Positive = 8
    """Windows of one step."""
    tta: bool = False
    """Take the mean over the eight flips and quarter turns of each window; eight times the cost."""
    probabilities: Literal["none", "uint8", "float32"] = "none"
    """Write the probability of each class too, in steps of 1/250 or in full."""
    products: list[Literal["objects", "extent", "thumbnail", "stac"]] | None = None
    """Beside the maps; if null those that fit: on a raster all, with the objects of binary targets, else `stac`."""
    quality_level: Literal[0, 1, 2, "none", "low_quality", "high_quality"] = 1
    """Of scenes with a quality mask, leave out: the invalid (1, `low_quality`), all but the good (2), nothing (0)."""
    mask_erosion_size: NotNegative = 0
    """Leave out pixels that are so near to one without input or quality; the radius of a disc, in pixels."""
    edge_erosion_size: NotNegative | None = None
    """Leave out so many rows and columns at the edge of a scene; as `mask_erosion_size` if null."""
    min_object_size: NotNegative = 0
    """Make class 0 of smaller objects of binary targets; in pixels, which belong together if corners touch."""
    binarization_threshold: Share = 0.5
    """Class 1 of a binary target is where its probability is at least so high."""
    nside: Positive = 256
    """Of the sphere that photographs are written on, where the net does not predict on one."""
    formats: list[Literal["cog", "zarr", "fits"]] | None = None
    """`cog` for rasters, `zarr` and `fits` for HEALPix; those that fit the grid if null."""
    output: str | None = None
    """Folder to write to; `predictions` in the first run's if null."""
    workers: Positive = 1
    """Processes that predict scenes side by side, on a local Dask cluster; 1 works in this process."""
    devices: list[str] | None = None
    """One worker on each of these, such as [cuda:0,cuda:1]; if null all work where `trainer.accelerator` says."""
    dask: str | None = None
    """Address of the scheduler of a Dask cluster that is there already, such as tcp://HOST:8786; it does the work."""

    @property
    def lowest_quality(self) -> int:
        """The level as a number."""
        names = {"none": 0, "low_quality": 1, "high_quality": 2}
        return names[self.quality_level] if isinstance(self.quality_level, str) else self.quality_level


class ProbeConfig(Section):
    """What `graticule probe` measures of a net's features."""

    name: str | None = None
    """First part of the name of the probe's folder; that of the net if null."""
    target: str | None = None
    """The target whose classes are probed; the first of classes if null."""
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = [0.01, 0.05, 0.1, 1.0]
    """Shares of the training labels."""
    seeds: Positive = 5
    """Draws of each share, and random starts."""
    cs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0]
    """The values of C tried for the linear layer; that which is best in validation counts."""
    size: Positive | None = None
    """Side in pixels that samples are resized to; as they are if null."""
    baseline: bool = True
    """Probe a random start of the same architecture beside it."""


class CrossvalConfig(Section):
    """A cross-validation: runs over folds and seeds, and their score."""

    name: str | None = None
    """Name of the cross-validation; its runs are named after it. A random one if null."""
    n_folds: Positive | None = None
    """Folds to run, the first ones of `split.total_folds`; all if null."""
    n_randoms: Positive = 3
    """Seeds to run each fold with: `run.seed`, 21, 69, then drawn ones."""
    scoring_metric: str | list[str] | None = None
    """Metrics that make the score, each with `:higher` or `:lower`; if null that by which checkpoints are best."""
    multi_score_strategy: Literal["harmonic", "geometric", "arithmetic", "min"] = "harmonic"
    """How several metrics of a run are combined, before the mean over runs is taken."""


class TuneConfig(Section):
    """A study: cross-validations over hyperparameters."""

    name: str | None = None
    """Name of the study, which is also its sweep id. A random one if null."""
    hpconfig: str | None = None
    """File with the search space: one with `hyperparameters`, or a sweep of Weights & Biases."""
    storage: str | None = None
    """Database of the study: `postgresql://USER@HOST:PORT/NAME`; if null, GRATICULE_STORAGE or a file in its folder."""
    n_trials: Positive | Literal["grid"] = 100
    """Trials that each runner starts; `grid` tries every combination once."""
    max_trials: Positive | None = None
    """Trials of the study by all runners together; null is no limit."""
    sampler: Literal["random", "grid", "tpe", "cmaes", "gp"] = "random"
    """How hyperparameters are chosen."""
    seed: NotNegative = 42
    """Seed of what is chosen."""
    objectives: Literal["score", "metrics"] = "score"
    """One objective, the score; or one for each scoring metric."""
    pruner: Literal["none", "median", "hyperband", "successive_halving"] = "none"
    """How bad trials are given up before all of their runs are done."""
    startup_trials: NotNegative = 5
    """Complete trials before the median prunes."""
    retrain_and_test: bool = False
    """At the end, train once more with the best on all that does not test, and test."""
    heartbeat: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two signs of life of a runner."""
    grace: Annotated[float, Field(gt=0)] = 120.0
    """Seconds without one after which another runner takes the trial over."""
    patience: Annotated[float, Field(ge=0)] = 900.0
    """Seconds for which the database may be away."""
    max_takers: Positive = 10
    """Runners that may end while they work at a trial before it counts as failed."""

    @field_serializer("storage")
    def _without_password(self, storage: str | None) -> str | None:
        return storage and without_password(storage)

    @model_validator(mode="after")
    def _beats_in_time(self) -> "TuneConfig":
        if self.grace < 2 * self.heartbeat:
            raise ValueError(
                f"tune.grace is {self.grace:g}; it must be at least twice tune.heartbeat={self.heartbeat:g}"
            )
        return self
