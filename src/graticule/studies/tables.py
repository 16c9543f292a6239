"""What a study has found, as files: the table of trials, the best of them, how much each hyperparameter matters."""

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from graticule.errors import without_password
from graticule.files import whole_file
from graticule.runs import StudyFolder, finite, write_json
from graticule.studies.distributions import label
from graticule.studies.study import NOTES, Plan, Study

_ABOUT = ("number", "state", "cv_name")


def trial_table(study: Study) -> pd.DataFrame:
    """One row per trial: number, state, objectives, score, trust, hyperparameters under their keys, times, reason.

    `intermediate` holds the score after each run, as JSON text.
    """
    names = objective_names(study.plan)
    rows = [_row(study, trial, names) for trial in study.trials()]
    keys = [f"hp/{key}" for key in study.plan.space.dimensions]
    columns = [
        *_ABOUT, *names, "trust", *keys, "started", "ended", "duration", "failed_runs", "reason", "intermediate",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))


def objective_names(plan: Plan) -> list[str]:
    """What the objectives are called."""
    return [metric.name for metric in plan.scoring.metrics] if plan.objectives == "metrics" else ["score"]


def _row(study: Study, trial: FrozenTrial, names: list[str]) -> dict[str, Any]:
    notes: Mapping[str, Any] = trial.user_attrs.get(NOTES, {})
    values = trial.values or [math.nan] * len(names)
    drawn = notes.get("values", {})
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "cv_name": f"{study.name}-cv{trial.number}",
        **dict(zip(names, values, strict=False)),
        "trust": notes.get("trust", math.nan),
        **{f"hp/{key}": label(drawn.get(key)) for key in study.plan.space.dimensions},
        "started": trial.datetime_start,
        "ended": trial.datetime_complete,
        "duration": notes.get("duration", math.nan),
        "failed_runs": notes.get("failed_runs", 0),
        "reason": notes.get("reason", ""),
        "intermediate": json.dumps({str(step): finite(v) for step, v in sorted(trial.intermediate_values.items())}),
    }


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best complete trials, best first; the front where there are several objectives.

    A trial all of whose runs were stable comes before any other, however good that seems.
    """
    complete = study.trials(TrialState.COMPLETE)
    stable = [trial for trial in complete if trial.user_attrs.get(NOTES, {}).get("trust") == 1] or complete
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in study.plan.directions]
    costs = {trial.number: [sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in stable}
    if len(signs) == 1:
        return sorted(stable, key=lambda trial: (costs[trial.number], trial.number))
    front = [trial for trial in stable if not any(_dominates(costs[o.number], costs[trial.number]) for o in stable)]
    # Of the front, the one with the best combined score first.
    return sorted(front, key=lambda trial: (-(trial.user_attrs.get(NOTES, {}).get("score") or 0.0), trial.number))


def _dominates(one: list[float], other: list[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """The configuration's values in a trial."""
    return dict(trial.user_attrs[NOTES]["values"])


def importances(study: Study) -> dict[str, dict[str, float]]:
    """How much of the variation of each objective each hyperparameter explains (functional ANOVA over the trials).

    Hutter, Hoos and Leyton-Brown (2014). Empty where fewer than four trials, or all alike, leave nothing to explain.
    """
    found: dict[str, dict[str, float]] = {}
    names = {dimension.drawn_as(key): key for key, dimension in study.plan.space.dimensions.items()}
    for place, objective in enumerate(objective_names(study.plan)):
        complete = [t for t in study.trials(TrialState.COMPLETE) if all(map(math.isfinite, t.values))]
        if len(complete) < 4 or len({trial.values[place] for trial in complete}) < 2:
            continue
        scratch = optuna.create_study(direction=study.plan.directions[place])
        varied = {n for n in complete[0].params if len({trial.params.get(n) for trial in complete}) > 1}
        for trial in complete:
            scratch.add_trial(
                optuna.trial.create_trial(
                    params={n: v for n, v in trial.params.items() if n in varied},
                    distributions={n: d for n, d in trial.distributions.items() if n in varied},
                    value=trial.values[place],
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=study.plan.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            shares = optuna.importance.get_param_importances(scratch, evaluator=evaluator)
        found[objective] = {names[name]: float(share) for name, share in shares.items()}
    return found


def write_tables(study: Study, folder: StudyFolder, *, weigh: bool) -> None:
    """Write the table and the summary of a study into its folder.

    Args:
        study: the study.
        folder: its folder.
        weigh: work out importances too, which takes a second or more.
    """
    with whole_file(folder.trials) as temporary:
        trial_table(study).to_parquet(temporary, index=False)
    best = best_trials(study)[:20]
    states = [trial.state.name.lower() for trial in study.trials()]
    summary = {
        "name": study.name,
        "objectives": objective_names(study.plan),
        "directions": study.plan.directions,
        "counts": {state: states.count(state) for state in dict.fromkeys(states)},
        "best": [trial.number for trial in best],
        "best_values": values_of(best[0]) if best else None,
        "is_finished": study.is_finished,
        "importances": importances(study) if weigh else {},
    }
    write_json(folder.summary, summary)


def write_manifest(study: Study, folder: StudyFolder, storage: str) -> None:
    """Note in the folder what the study is about; the database's password is not written."""
    told = study.plan.to_dict()
    told.pop("config")
    write_json(folder.manifest, {"name": study.name, "storage": without_password(storage), **told})
