"""From the metrics of several runs to one score: combine the metrics of each run, then take the mean over the runs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from graticule.errors import ConfigError, nearest
from graticule.objectives.names import PIXEL_METRICS

Strategy = Literal["arithmetic", "geometric", "harmonic", "min"]
Direction = Literal["maximize", "minimize"]

OTHER_NAMES = {**PIXEL_METRICS, "acc": "accuracy"}
"""What torchmetrics and the sweeps of the course call our metrics."""


@dataclass(frozen=True)
class Metric:
    """A logged metric, such as `val/iou`, and whether high or low is good."""

    name: str
    higher: bool = True

    @classmethod
    def parse(cls, text: str) -> "Metric":
        """`val/iou`, `val/iou:higher` or `val/loss:lower`; names of DARTS and of the course are translated.

        Raises:
            ConfigError: if what follows the colon is neither.
        """
        name, colon, direction = text.partition(":")
        if colon and direction not in ("higher", "lower"):
            raise ConfigError(
                f"crossval.scoring_metric '{text}' ends in ':{direction}'; a metric ends in ':higher' or ':lower'."
            )
        return cls(our_name(name.strip()), direction != "lower")

    def __str__(self) -> str:
        return f"{self.name}:{'higher' if self.higher else 'lower'}"

    @property
    def direction(self) -> Direction:
        """What a search does with it."""
        return "maximize" if self.higher else "minimize"

    @property
    def worst(self) -> float:
        """What a run counts as that has no usable value: 0 where high is good, infinity where low is."""
        return 0.0 if self.higher else math.inf

    def usable(self, value: float | None) -> bool:
        """Whether the value is finite and not 0; 0 is what a metric is that has nothing to measure."""
        return value is not None and math.isfinite(value) and value != 0


def our_name(name: str) -> str:
    """The name under which we log a metric that DARTS or the course calls otherwise: val/JaccardIndex is val/iou."""
    stage, slash, rest = name.partition("/") if "/" in name else name.partition("_")
    if not slash or stage.rstrip("0123456789") not in ("train", "val", "test"):
        return name
    translated = OTHER_NAMES.get(rest, rest)
    known = slash == "/" or translated != rest or rest == "loss"
    return f"{stage.rstrip('0123456789')}/{translated}" if known else name


@dataclass(frozen=True)
class Score:
    """The score of several runs, its direction, and how far it can be trusted.

    `trust` is the share of the planned runs that ended with usable values; below 1 the score is unstable.
    """

    value: float
    direction: Direction
    trust: float

    @property
    def is_unstable(self) -> bool:
        """Whether any run failed, is missing or has a value that is not finite, or 0."""
        return self.trust < 1


@dataclass(frozen=True)
class Scoring:
    """Which metrics make the score, and how they are combined.

    With one metric the score is its mean over the runs, in its own direction. With several, those of a run are
    combined first, a `:lower` one as 1 / value, so that high is good; the score is the mean of that.

    A run without a usable value for each metric is unstable and counts as the worst there is (0, or the worst of the
    others where that is below; infinity for a single `:lower` metric), so that a failure never improves a score.
    """

    metrics: tuple[Metric, ...]
    strategy: Strategy = "harmonic"

    @classmethod
    def parse(cls, names: str | Sequence[str], strategy: str = "harmonic") -> "Scoring":
        """From the configuration's words.

        Raises:
            ConfigError: if no metric is named, one twice, or the strategy does not exist.
        """
        metrics = tuple(Metric.parse(text) for text in ([names] if isinstance(names, str) else names))
        if not metrics:
            raise ConfigError("crossval.scoring_metric names no metric; give one, such as val/iou:higher.")
        for metric in metrics:
            if [other.name for other in metrics].count(metric.name) > 1:
                raise ConfigError(f"crossval.scoring_metric names {metric.name} twice; name each metric once.")
        for choice in get_args(Strategy):
            if strategy == choice:
                return cls(metrics, choice)
        raise ConfigError(
            f"crossval.multi_score_strategy '{strategy}' does not exist; {nearest(strategy, get_args(Strategy))}"
        )

    @property
    def direction(self) -> Direction:
        """Whether a high or a low score is good."""
        return self.metrics[0].direction if len(self.metrics) == 1 else "maximize"

    @property
    def worst(self) -> float:
        """What an unstable run counts as."""
        return self.metrics[0].worst if len(self.metrics) == 1 else 0.0

    def check(self, known: Iterable[str]) -> None:
        """Refuse a metric that no run logs.

        Raises:
            ConfigError: naming the nearest one that is logged.
        """
        names = list(known)
        for metric in self.metrics:
            if metric.name not in names:
                hint = nearest(metric.name, names)
                raise ConfigError(f"crossval.scoring_metric names '{metric.name}', which is not logged; {hint}")

    def of_run(self, values: Mapping[str, float]) -> float:
        """The combined metrics of one run; NaN where the run is unstable."""
        found = [(metric, values.get(metric.name)) for metric in self.metrics]
        usable = [(metric, value) for metric, value in found if value is not None and metric.usable(value)]
        if len(usable) < len(found):
            return math.nan
        if len(usable) == 1:
            return usable[0][1]
        combined = combine(self.strategy, [value if metric.higher else 1 / value for metric, value in usable])
        return combined if math.isfinite(combined) else math.nan

    def of_runs(self, runs: Sequence[Mapping[str, float]], planned: int) -> Score:
        """The score of several runs.

        Args:
            runs: the metrics of each run that has ended; an empty mapping for one that failed.
            planned: how many runs there ought to be; those that are missing count as failed.

        Raises:
            ValueError: if more runs ended than were planned.
        """
        return self._reduce([self.of_run(values) for values in runs], self.worst, self.direction, planned)

    def of_each_metric(self, runs: Sequence[Mapping[str, float]], planned: int) -> list[Score]:
        """The score by each metric alone, in its own direction: the objectives of a search with several of them."""
        alone = (Scoring((metric,)) for metric in self.metrics)
        return [one.of_runs(runs, planned) for one in alone]

    def _reduce(self, values: Sequence[float], worst: float, direction: Direction, planned: int) -> Score:
        if len(values) > planned:
            raise ValueError(f"{len(values)} runs ended and {planned} were planned.")
        stable = [value for value in values if not math.isnan(value)]
        bad = planned - len(stable)
        if not bad:
            return Score(math.fsum(stable) / planned, direction, 1.0)
        # A metric that can be negative may be worse than 0 already.
        floor = min(worst, *stable) if stable and direction == "maximize" else worst
        return Score((math.fsum(stable) + bad * floor) / planned, direction, len(stable) / planned)


def combine(strategy: Strategy, values: Sequence[float]) -> float:
    """The mean of the values by a strategy; NaN where it has none (a root of a negative, a harmonic mean across 0)."""
    return _COMBINE[strategy](values)


def _geometric(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else math.nan


def _harmonic(values: Sequence[float]) -> float:
    return len(values) / math.fsum(1 / value for value in values) if min(values) > 0 else math.nan


_COMBINE: dict[Strategy, Callable[[Sequence[float]], float]] = {
    "arithmetic": lambda values: math.fsum(values) / len(values),
    "geometric": _geometric,
    "harmonic": _harmonic,
    "min": min,
}
