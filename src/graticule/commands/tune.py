"""`graticule tune`: a study over hyperparameters, created, joined, worked at by any number of runners."""

import argparse
import functools
import os
import signal
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from graticule.commands.console import copied_to, tell
from graticule.commands.crossval import comparable, words_of_store
from graticule.commands.folds import Folds, scoring_of
from graticule.commands.launching import submit
from graticule.commands.resume import CHANGEABLE
from graticule.commands.stores import open_store, with_store
from graticule.commands.trials import Trials, base_of, check_device, checked_space, on_device
from graticule.conf.compose import Request, as_yaml, checked, compose, trusted_by
from graticule.conf.config_files import read_config_file, read_table
from graticule.conf.overrides import wishes
from graticule.conf.tree import Config
from graticule.conf.tuned import with_values
from graticule.conf.verbs import TuneConfig
from graticule.errors import ConfigError, nearest
from graticule.files import whole_file
from graticule.runs import StudyFolder, random_name
from graticule.studies.runner import Runner
from graticule.studies.space import Space, read_space
from graticule.studies.storage import Database, parse_url, shown
from graticule.studies.study import Plan, Study
from graticule.studies.tables import best_trials, values_of, write_manifest, write_tables
from graticule.studies.wandb_sweep import is_sweep, read_sweep

RETRAIN = "retrain"
"""Name of the lease of the last training."""


@dataclass(frozen=True)
class Wish:
    """What the command line asks for beside the configuration."""

    request: Request
    sweep_id: str | None = None
    device: str | None = None


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    Without --sweep-id a study is created; with --device this process then works at it. With both it joins the study.

    Raises:
        ConfigError: with --sweep-id alone.
    """
    words = list(arguments.words)
    hpconfig = arguments.hpconfig or arguments.sweep_file
    for key, value in (("hpconfig", hpconfig), ("storage", arguments.storage)):
        if value:
            quoted = value.replace("'", "\\'")
            words.append(f"tune.{key}='{quoted}'")
    request = Request(words, arguments.config, tuple(arguments.trust))
    launched = arguments.launcher != "here"
    if arguments.print_config:
        print(as_yaml(_settled(request)[0]), end="")
        return
    if arguments.sweep_id and not arguments.device and not launched:
        raise ConfigError(
            f"--sweep-id {arguments.sweep_id} joins a study, and no --device says where to run; add --device 0 "
            "(or cpu)."
        )
    wish = Wish(request, arguments.sweep_id, arguments.device)
    if launched:
        _launch(wish, arguments)
    else:
        tune(wish)


def tune(wish: Wish) -> StudyFolder:
    """Create a study, or join one, and work at it where a device is named.

    Raises:
        ConfigError: for a wrong word, a search space that does not fit, a study that does not exist or is another one.
        OutputError: if the database cannot be reached.
    """
    if wish.device is not None:
        check_device(wish.device)
    database, study, config = _joined(wish) if wish.sweep_id else _created(wish.request)
    folder = StudyFolder(Path(config.run.output_root) / study.name)
    try:
        if wish.device is not None:
            with copied_to(folder.console_log):
                _work(study, folder, config, wish)
            print(folder.folder)
    finally:
        database.close()
    return folder


def _settled(request: Request) -> tuple[Config, Space]:
    """The configuration with what a sweep file sets, and the search space.

    Raises:
        ConfigError: if there is no search space.
    """
    config = compose(request)
    if config.tune.hpconfig is None:
        if config.hyperparameters is None:
            raise ConfigError(
                "there is no search space; give --hpconfig FILE, or `hyperparameters` in the file of --config."
            )
        return _grid(config), read_space(config.hyperparameters)
    path = Path(config.tune.hpconfig)
    content = read_table(path)
    if is_sweep(content):
        sweep = read_sweep(content)
        for key in sweep.ignored:
            tell(f"{path}: '{key}' has no meaning here and is left out.")
        told = _told(request)
        settings = {key: value for key, value in sweep.settings.items() if key not in told}
        return _grid(with_values(config, settings, trusted_by(request))), sweep.space
    if "hyperparameters" not in content:
        hint = nearest("hyperparameters", content)
        raise ConfigError(f"{path} has neither `hyperparameters` nor `parameters`; {hint}")
    return _grid(config), read_space(content["hyperparameters"])


def _told(request: Request) -> set[str]:
    told = set(wishes(request.words).values)
    return told | (set(read_config_file(request.config_file).values) if request.config_file else set())


def _grid(config: Config) -> Config:
    """`n_trials: grid` is another way to ask for the grid sampler."""
    if config.tune.n_trials != "grid":
        return config
    return config.model_copy(update={"tune": config.tune.model_copy(update={"sampler": "grid"})})


def _plan(request: Request) -> tuple[Config, Plan]:
    """The whole configuration, and the plan that follows from it."""
    config, space = _settled(request)
    base = base_of(config)
    store = open_store(base, words_of_store(request.words))
    base = with_store(base, store)
    tuned = checked_space(space, base, trusted_by(request))
    options = config.tune
    plan = Plan(
        base.to_dict(), tuned, scoring_of(base, store), objectives=options.objectives, sampler=options.sampler,
        pruner=options.pruner, startup=options.startup_trials, seed=options.seed, max_trials=options.max_trials,
        retrain=options.retrain_and_test,
    )  # fmt: skip
    plan.check()
    if not any(key.startswith("split") for key in tuned.dimensions):
        Folds(store).check(base)
    return base.model_copy(update={"tune": options}), plan


def _created(request: Request) -> tuple[Database, Study, Config]:
    config, plan = _plan(request)
    name = config.tune.name or random_name()
    folder = StudyFolder(Path(config.run.output_root) / name)
    if folder.manifest.exists():
        raise ConfigError(
            f"there is a study in {folder.folder} already; join it with --sweep-id {name}, or choose another tune.name."
        )
    database = _database(config, folder)
    study = Study(database, name, plan, grace=config.tune.grace, interval=config.tune.heartbeat)
    write_manifest(study, folder, shown(database.url))
    limit = f"{plan.limit} trials" if plan.limit else "no limit of trials"
    keys = ", ".join(plan.space.dimensions)
    tell(f"Study {name}: {plan.sampler} search over {keys}; {limit}; kept in {shown(database.url)}.")
    tell(f"Further runners: graticule tune --sweep-id {name} --device DEVICE")
    print(name)
    return database, study, config


def _joined(wish: Wish) -> tuple[Database, Study, Config]:
    """The study of the sweep id, with the configuration that is kept in its database.

    Words may change what does not make it another study; if they say more, it must be what the study was created with.
    """
    request, name = wish.request, str(wish.sweep_id)
    told = compose(request, kinds=())
    folder = StudyFolder(Path(told.run.output_root) / name)
    if told.tune.storage is None and not folder.database.exists():
        known = [path.parent.name for path in folder.folder.parent.glob("*/study.db")]
        hint = nearest(name, known) if known else "there is none."
        raise ConfigError(f"there is no study '{name}' in {folder.folder.parent}; {hint} (Or give its --storage.)")
    database = _database(told, folder, wait=True)
    study = Study(database, name, grace=told.tune.grace, interval=told.tune.heartbeat)
    trusted = trusted_by(request)
    kept = checked(study.plan.config, trusted)
    asked = wishes(request.words)
    free = {key: value for key, value in asked.values.items() if key.split(".")[0] in CHANGEABLE}
    own = {key for key in asked.values if key.split(".")[0] in (*CHANGEABLE, "tune") and key != "tune.hpconfig"}
    if asked.groups or asked.deleted or request.config_file or set(asked.values) - own - {"run.output_root"}:
        _compare(study, *_plan(request))
    config = with_values(kept, free, trusted) if free else kept
    run = config.run.model_copy(update={"output_root": told.run.output_root})
    write_manifest(study, folder, shown(database.url))
    tell(f"Joining study {name}, kept in {shown(database.url)}.")
    return database, study, config.model_copy(update={"tune": told.tune, "run": run})


def _compare(study: Study, config: Config, plan: Plan) -> None:
    """Refuse words that ask for another study than the one of the sweep id.

    Raises:
        ConfigError: naming what differs.
    """
    kept, told = study.plan.space.describe(), plan.space.describe()
    for key in sorted(kept.keys() | told.keys()):
        if kept.get(key) != told.get(key):
            raise ConfigError(
                f"the study '{study.name}' has another search space: hyperparameter '{key}' is "
                f"{_short(kept.get(key))} there and {_short(told.get(key))} here; leave the words out to join it, or "
                "create a study of another name."
            )
    theirs, ours = comparable(checked(study.plan.config)), comparable(config.model_copy(update={"tune": TuneConfig()}))
    for key in sorted(theirs.keys() | ours.keys()):
        if theirs.get(key) != ours.get(key) and not key.startswith("run."):
            raise ConfigError(
                f"the study '{study.name}' was created with {key}={theirs.get(key)}, now it is {ours.get(key)}; leave "
                "the words out to join it, or create a study of another name."
            )


def _short(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "not"
    if "choices" in told:
        return str(told["choices"])
    marks = [key for key in ("log", "integer") if told[key]]
    return " ".join([f"{told['low']:g} to {told['high']:g}", *marks])


def _database(config: Config, folder: StudyFolder, *, wait: bool = False) -> Database:
    text = config.tune.storage or f"sqlite:///{folder.database.resolve()}"
    return Database(parse_url(text), config.tune.patience, tell, wait=wait)


def _work(study: Study, folder: StudyFolder, config: Config, wish: Wish) -> None:
    """Do trials on the device until there is none left for this runner."""
    trusted: Collection[str] = trusted_by(wish.request)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    config = on_device(config, str(wish.device), os.environ.__setitem__, visible)
    trials = Trials(study.name, config, Folds(open_store(config)), trusted)
    n_trials = None if config.tune.n_trials == "grid" else int(config.tune.n_trials)
    tell(f"Runner {socket.gethostname()}:{os.getpid()} on {wish.device}.")
    signal.signal(signal.SIGTERM, _go_away)
    runner = Runner(
        study, trials.work, n_trials=n_trials, max_takers=config.tune.max_takers, tell=tell,
        after_each=lambda: _note(study, folder, config, weigh=False),
    )  # fmt: skip
    runner.run()
    _note(study, folder, config, weigh=True)
    best = best_trials(study)
    if best:
        score = ", ".join(f"{value:.5g}" for value in best[0].values)
        tell(f"Best so far: trial {best[0].number} with {score}; run it with: graticule train --config {folder.best}")
    if study.plan.retrain and best and study.is_finished and study.leases.take(RETRAIN):
        tell(f"Training once more with the values of trial {best[0].number}, on all that does not test.")
        trials.retrain(folder, values_of(best[0]))


def _go_away(number: int, frame: FrameType | None) -> None:
    """Outside of a training, which saves first, SIGTERM ends a runner as a preemption does."""
    raise SystemExit(os.EX_TEMPFAIL)


def _note(study: Study, folder: StudyFolder, config: Config, *, weigh: bool) -> None:
    """Bring the files of the study up to date."""
    write_tables(study, folder, weigh=weigh)
    best = best_trials(study)
    if best:
        # From the study's configuration, not this runner's, which has a device of its own.
        trusted = {str(config.model.name).split(":")[0].split(".")[0]}
        own = with_values(checked(study.plan.config, trusted), values_of(best[0]), trusted)
        own = own.model_copy(update={"evaluate": own.evaluate.model_copy(update={"parts": ["test"]})})
        scores = ", ".join(f"{value:.6g}" for value in best[0].values)
        head = f"# The best of study {study.name}: trial {best[0].number}, {scores}.\n#\n"
        head += f"#   graticule train --config {folder.best.name}\n\n"
        with whole_file(folder.best) as temporary:
            temporary.write_text(head + as_yaml(own))


def _launch(wish: Wish, arguments: argparse.Namespace) -> None:
    """Create the study if it is not there, and hand its runners to submitit."""
    request = wish.request
    sweep_id = wish.sweep_id
    if sweep_id is None:
        database, study, config = _created(request)
        sweep_id = study.name
        if database.url.password:
            # Jobs inherit the environment; what submitit writes into files knows no password.
            os.environ["PGPASSWORD"] = str(database.url.password)
        if config.tune.storage is not None:
            os.environ["GRATICULE_STORAGE"] = database.url.set(password=None).render_as_string()
        database.close()
    runner = functools.partial(_run_joined, sweep_id=sweep_id, device=wish.device or "auto")
    kept = [word for word in request.words if word.split(".")[0] in CHANGEABLE or word.startswith("tune.n_trials")]
    request = Request(kept, None, request.trusted)
    submit(runner, [request] * arguments.runners, arguments.launcher, arguments.slurm)


def _run_joined(request: Request, *, sweep_id: str, device: str) -> None:
    tune(Wish(request, sweep_id, device))
