"""Which evaluations `graticule evaluate` is to make: one grid, several, or all those of HEAL-SWIN's guide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graticule.conf.verbs import EvaluateConfig
from graticule.data.splits import Part
from graticule.data.store import Store
from graticule.errors import ConfigError
from graticule.inference.photographs import Place, are_photographs
from graticule.schema import Target

ARRAY_TASK = "SLURM_ARRAY_TASK_ID"
_NSIDE, _SIZE, _SMALL, _MASKED = 256, "640x768", "629x834", "store:masked"


@dataclass(frozen=True)
class Job:
    """One evaluation."""

    part: Part
    grid: str
    chamfer: bool = False
    pictures: int = 0
    top_k: int = 0
    ranking: str | None = None


def jobs_of(
    config: EvaluateConfig, store: Store, targets: Sequence[Target], environment: Mapping[str, str] | None = None
) -> list[Job]:
    """The evaluations that a configuration asks for.

    Args:
        config: `grid` names one, several, or `all`.
        store: whose samples are evaluated.
        targets: what is predicted.
        environment: of a job array of Slurm: its number picks one of the guide's evaluations from `all`.

    Raises:
        ConfigError: if the number picks none.
        GridError: if a name is no grid for photographs.
    """
    grids = [config.grid] if isinstance(config.grid, str) else list(config.grid)
    photos = are_photographs(store)
    if any(target.is_of_sample for target in targets):  # one answer per sample has no place that could be blended
        grids = list(dict.fromkeys("store" if grid in ("all", "scene") else grid for grid in grids))
    if photos:
        for grid in grids:
            if grid != "all":
                Place.parse(grid)
    plain = [
        Job(part, grid, config.chamfer, config.pictures, config.top_k, config.ranking)
        for part in config.parts
        for grid in (("store", "scene") if grids == ["all"] and not photos else grids)
        if grid != "all"
    ]
    if "all" not in grids or not photos:
        return plain
    numbered = guide_jobs(config, targets, on_sphere=len(store.space) == 1)
    picked = (environment or {}).get(ARRAY_TASK)
    if picked is None:
        return _merged([*plain, *(job for jobs in numbered.values() for job in jobs)])
    if not picked.isdigit() or int(picked) not in numbered:
        raise ConfigError(
            f"{ARRAY_TASK} is '{picked}'; this run has the evaluations {min(numbered)} to {max(numbered)}: submit the "
            f"job array as 0-{max(numbered)}."
        )
    return _merged([*plain, *numbered[int(picked)]])


def guide_jobs(config: EvaluateConfig, targets: Sequence[Target], *, on_sphere: bool) -> dict[int, list[Job]]:
    """The evaluations of HEAL-SWIN's guide by the number that they have there."""
    numbered: dict[int, list[Job]] = {}
    for target in targets:
        if target.is_categorical:
            for number, jobs in enumerate(_of_classes(config, on_sphere)):
                numbered.setdefault(number, []).extend(jobs)
        elif target.kind == "depth":
            for number, jobs in enumerate(_of_depth(config, on_sphere)):
                numbered.setdefault(number, []).extend(jobs)
    return numbered


def _of_classes(config: EvaluateConfig, on_sphere: bool) -> list[list[Job]]:
    top = config.top_k or 5
    first = [
        _each(config, "store", pictures=config.pictures or 10),
        _each(config, "store", top_k=top),
        [Job("train", "store", top_k=top)],
    ]
    grids = ["camera", f"camera:{_SIZE}", f"camera:{_SIZE}:masked"] if on_sphere else [f"healpix:{_NSIDE}", _MASKED]
    return [*first, *(_each(config, grid) for grid in grids)]


def _of_depth(config: EvaluateConfig, on_sphere: bool) -> list[list[Job]]:
    top = config.top_k or 5
    clouds = ("store", "camera", "camera:masked", f"camera:{_SMALL}:masked")
    first = [
        _each(config, "store", pictures=config.pictures or 10),
        [job for grid in clouds for job in _each(config, grid, chamfer=True)],
        _each(config, "store", top_k=top),
        [Job("train", "store", top_k=top)],
    ]
    grids = ["camera", f"camera:{_SIZE}"] if on_sphere else [f"healpix:{_NSIDE}"]
    return [*first, *(_each(config, grid) for grid in grids)]


def _each(config: EvaluateConfig, grid: str, **given: Any) -> list[Job]:
    return [Job(part, grid, ranking=config.ranking, **given) for part in config.parts]


def _merged(jobs: Sequence[Job]) -> list[Job]:
    """Each grid of each part once, with all that is asked for on it."""
    kept: dict[tuple[str, str], Job] = {}
    for job in jobs:
        key = (job.part, job.grid)
        other = kept.get(key, job)
        kept[key] = replace(
            other, chamfer=other.chamfer or job.chamfer, pictures=max(other.pictures, job.pictures),
            top_k=max(other.top_k, job.top_k),
        )  # fmt: skip
    return list(kept.values())
