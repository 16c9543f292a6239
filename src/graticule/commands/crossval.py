"""`graticule crossval`: one configuration trained on every fold with several seeds, and its score."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graticule.commands.console import copied_to, tell
from graticule.commands.folds import Folds, folds_of, for_folds, runs_of, scoring_of, trainer_of
from graticule.commands.launching import launch
from graticule.commands.resume import CHANGEABLE
from graticule.commands.stores import open_store, with_store
from graticule.conf.compose import Request, compose, compose_from, trusted_by, write_config
from graticule.conf.tree import Config
from graticule.data.store import Store
from graticule.errors import ConfigError
from graticule.runs import Crossval, crossval_folder, random_name, read_json, write_json
from graticule.studies.crossval import CrossValidation
from graticule.studies.scoring import Score
from graticule.training.trackers.tracker import flat


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    launch(crossval, arguments)


def crossval(request: Request) -> Crossval:
    """Do the cross-validation that the request asks for, or go on with the one of its name.

    Raises:
        ConfigError: for a wrong word, or if a cross-validation of that name has another configuration.
        SplitError: if a fold cannot be made.
    """
    config = for_folds(compose(request))
    store = open_store(config, words_of_store(request.words))
    config = with_store(config, store)
    name = config.crossval.name or random_name()
    folder = crossval_folder(Path(config.run.output_root), name)
    work = prepare(folder, config, store, name)
    folds = Folds(store)
    if work.is_open:
        folds.check(config)
    begin(folder, config, name)
    return _go(config, folds, work, tuple(trusted_by(request)))


def resume_crossval(path: Path, request: Request) -> Crossval:
    """Go on with the cross-validation in a folder; runs that failed are tried again.

    Raises:
        ConfigError: for a wrong word.
    """
    folder = Crossval(path)
    config = compose_from(folder.config, request, CHANGEABLE)
    store = open_store(config)
    name = read_json(folder.manifest, what="a cross-validation", remedy="give its folder")["name"]
    work = prepare(folder, config, store, name)
    work.forget_failures()
    return _go(config, Folds(store), work, tuple(request.trusted))


def prepare(folder: Crossval, config: Config, store: Store, name: str) -> CrossValidation:
    """The state of a cross-validation, from its configuration and what its folder already has."""
    scoring = scoring_of(config, store)
    return CrossValidation(
        folder, runs_of(config, name), scoring, bootstrap=config.evaluate.bootstrap, seed=config.run.seed
    )


def begin(folder: Crossval, config: Config, name: str, **context: Any) -> None:
    """Note in the folder what is to be done; what is noted already must be the same but for more folds and seeds.

    Raises:
        ConfigError: if the folder's cross-validation has another configuration.
    """
    if folder.config.exists():
        kept, told = (comparable(one) for one in (compose_from(folder.config, Request(), ()), config))
        for key in sorted(kept.keys() | told.keys()):
            if kept.get(key) != told.get(key):
                raise ConfigError(
                    f"the cross-validation '{name}' was begun with {key}={kept.get(key)}, now it is {told.get(key)}; "
                    "give the same words to go on with it, or another crossval.name."
                )
    write_config(folder.config, config)
    planned = [run.name for run in runs_of(config, name)]
    write_json(folder.manifest, {"name": name, "folds": folds_of(config), "planned": planned, **context})


def words_of_store(words: Sequence[str]) -> list[str]:
    """The words that matter for preparing a store."""
    return [
        word for word in words if word.split(".")[0] in ("experiment", "source", "data") or "=" in word.split(".")[0]
    ]


def comparable(config: Config) -> dict[str, Any]:
    """What makes a configuration another one, by dotted key; devices, logs and the number of folds do not."""
    return flat({key: value for key, value in config.to_dict().items() if key not in (*CHANGEABLE, "crossval")})


def _go(config: Config, folds: Folds, work: CrossValidation, trusted: tuple[str, ...]) -> Crossval:
    folder = work.folder
    name, done = folder.folder.name, len(work.rows)
    with copied_to(folder.console_log):
        tell(
            f"Cross-validation {name}: {folds_of(config)} folds × {config.crossval.n_randoms} seeds, {done} runs done."
        )
        train = trainer_of(config, folds, Path(config.run.output_root), trusted, cv_name=name)
        score = work.go(train, lambda ended: tell(f"[{ended} of {len(work.planned)}] runs have ended."))
        show(work, score)
    print(folder.folder)
    return folder


def show(work: CrossValidation, score: Score) -> None:
    """A table of the scoring metrics by run, and the score with its trust."""
    metrics = [metric.name for metric in work.scoring.metrics]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("fold", "seed", *metrics, "state", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in work.table().to_dict("records"):
        state = row["state"] if row["state"] == "failed" or not row["is_unstable"] else "unstable"
        values = [f"{row.get(name, float('nan')):.4f}" for name in metrics]
        table.add_row(str(row["fold"]), str(row["seed"]), *values, state, f"{row['duration']:.1f}")
    console = Console(width=max(Console().width, 100))
    console.print(table)
    told = f"score {score.value:.5f} ({'higher' if score.direction == 'maximize' else 'lower'} is better)"
    if score.is_unstable:
        told += f"; only {score.trust:.0%} of the runs ended with usable metrics, the others count as the worst"
    console.print(told, highlight=False)
