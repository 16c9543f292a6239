"""Studies with runners that are processes of their own, on the embedded storage."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState
from runner_process import STEPS, objective, work_in

from graticule.errors import ConfigError
from graticule.studies.leases import Heartbeat, Leases
from graticule.studies.runner import Result, Runner
from graticule.studies.scoring import Scoring
from graticule.studies.space import read_space
from graticule.studies.storage import Database, parse_url
from graticule.studies.study import NOTES, Plan, Study

SPACE = read_space({"lr": {"low": 1e-5, "high": 1e-1, "distribution": "loguniform"}, "norm": ["batch", "group"]})


def plan(**options):
    return Plan(**{"config": {}, "space": SPACE, "scoring": Scoring.parse("val/iou"), "max_trials": 6, **options})


@pytest.fixture
def database(tmp_path):
    opened = Database(parse_url(f"sqlite:///{tmp_path}/study.db"))
    yield opened
    opened.close()


def start(tmp_path, *words, name="alps"):
    command = [sys.executable, str(Path(__file__).parent / "runner_process.py")]
    command += [f"sqlite:///{tmp_path}/study.db", name, str(tmp_path), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(study):
    """What the trials came to, whoever did them."""
    return {(tuple(sorted(trial.params.items())), tuple(trial.values)) for trial in study.trials(TrialState.COMPLETE)}


def test_a_killed_runner_loses_nothing_and_another_goes_on_with_its_trial(tmp_path, database):
    study = Study(database, "alps", plan(), grace=30, interval=0.5)
    undisturbed = Study(database, "calm", plan())
    (tmp_path / "calm").mkdir()
    Runner(undisturbed, work_in(tmp_path / "calm", 0), n_trials=6).run()

    first = start(tmp_path, 6, 4)
    until = time.monotonic() + 60
    while not (tmp_path / "trial-0.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    second = start(tmp_path, 6, 0.4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    told, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "Taking over trial 0:" in told
    assert outcome(study) == outcome(undisturbed)
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert Counter((tmp_path / "ended.txt").read_text().split()) == {str(n): 1 for n in range(6)}
    steps = json.loads((tmp_path / "trial-0.json").read_text())
    assert [step["step"] for step in steps] == list(range(STEPS))
    assert {step["process"] for step in steps} == {first.pid, second.pid}, "it went on where it was"
    assert sorted(trials[0].intermediate_values) == list(range(1, STEPS + 1)), "and inherited its pruning history"


def test_a_trial_of_another_machine_is_stale_when_its_heart_has_stopped(database, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("graticule.studies.leases.here", lambda: "another-machine")
        far = Study(database, "alps", plan(max_trials=1), grace=1.0, interval=0.2)
        job = far.next_job()
    near = Study(database, "alps", grace=1.0, interval=0.2)
    with far.beating(job) as heart:
        time.sleep(1.3)
        assert near.next_job() is None, "it lives as long as its heart beats"
        assert near.waits_for() is None
        heart._ended.set()
        time.sleep(1.3)
        taken = near.next_job()
    assert (taken.number, taken.values, taken.taken_over) == (0, job.values, True)
    assert not far.leases.beat("trial-0"), "the first owner learns that it has lost it"


def test_a_heart_that_lost_its_lease_stops_the_work(database):
    one, other = Leases(database, "s", grace=0.2), Leases(database, "s", grace=0.2)
    stopped = []
    assert one.take("x")
    time.sleep(0.4)
    assert other.take("x")
    with Heartbeat(one, "x", 0.05, lost=lambda: stopped.append(1)) as heart:
        time.sleep(0.5)
    assert (heart.is_lost, stopped) == (True, [1])


def test_only_one_takes_a_lease(database):
    one, other = Leases(database, "s", grace=60), Leases(database, "s", grace=60)
    assert [one.take("x"), other.take("x"), one.take("x")] == [True, False, True]
    one.give_back("x")
    assert other.take("x")
    assert other.all()["x"].takers == 2


def test_a_trial_on_which_many_runners_die_is_given_up(database, tmp_path):
    study = Study(database, "alps", plan(max_trials=2))
    for _ in range(3):
        dying = Study(database, "alps")
        dying.leases.give_back(f"trial-{dying.next_job(new=study.trials() == []).number}")
    Runner(study, work_in(tmp_path, 0), n_trials=5, max_takers=3).run()
    first, second = study.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs[NOTES]["reason"] == "3 runners ended while they worked at it"


def test_a_trial_that_cannot_be_configured_fails_and_the_others_go_on(database, tmp_path):
    def work(job, report):
        if job.number == 1:
            raise ConfigError("data.augment.crop is 64; windows have 32.")
        return work_in(tmp_path, 0)(job, report)

    study = Study(database, "alps", plan(max_trials=3))
    Runner(study, work, n_trials=3).run()
    assert [t.state.name for t in study.trials()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials()[1].user_attrs[NOTES]["reason"] == "data.augment.crop is 64; windows have 32."
    assert study.is_finished


def test_a_runner_starts_as_many_trials_as_asked_and_the_study_has_its_limit(database, tmp_path):
    study = Study(database, "alps", plan(max_trials=5))
    Runner(study, work_in(tmp_path, 0), n_trials=3).run()
    assert len(study.trials()) == 3
    assert not study.is_finished
    Runner(study, work_in(tmp_path, 0), n_trials=3).run()
    assert len(study.trials()) == 5
    assert study.is_finished


def test_a_grid_is_done_once_and_whole(database, tmp_path):
    space = read_space({"lr": [1e-3, 1e-2, 1e-4], "norm": ["batch", "group"]})
    study = Study(database, "grid", Plan({}, space, Scoring.parse("val/iou"), sampler="grid"))
    Runner(study, work_in(tmp_path, 0), n_trials=None).run()
    found = [(trial.params["lr"], trial.params["norm"]) for trial in study.trials()]
    assert found == [(lr, norm) for lr in (1e-3, 1e-2, 1e-4) for norm in ("batch", "group")]
    assert study.optuna.best_trial.params == {"lr": 1e-3, "norm": "batch"}


@pytest.mark.parametrize("metric", ["val/iou:higher", "val/loss:lower"])
def test_pruning_and_choosing_respect_the_direction(database, metric):
    scoring = Scoring.parse(metric)
    name = metric.split(":")[0]
    # Trials 0-4 are good, 5 is bad, 6 is better than all.
    goodness = [0.5] * 5 + [0.1, 0.9]
    study = Study(database, metric, plan(scoring=scoring, pruner="median", startup=4, max_trials=7))

    def work(job, report):
        value = goodness[job.number] if scoring.metrics[0].higher else 1 / goodness[job.number]
        for step in (1, 2):
            report(step, scoring.of_runs([{name: value}] * step, step).value)
        score = scoring.of_runs([{name: value}] * 2, 2)
        return Result(score, [score])

    Runner(study, work, n_trials=None).run()
    states = [trial.state.name for trial in study.trials()]
    assert states == ["COMPLETE"] * 5 + ["PRUNED", "COMPLETE"]
    assert study.optuna.best_trial.number == 6


def test_several_objectives_have_a_front(database):
    scoring = Scoring.parse(["val/iou", "val/loss:lower"])
    study = Study(database, "front", plan(scoring=scoring, objectives="metrics", sampler="tpe", max_trials=3))
    points = [{"val/iou": 0.9, "val/loss": 2.0}, {"val/iou": 0.5, "val/loss": 0.5}, {"val/iou": 0.4, "val/loss": 3.0}]

    def work(job, report):
        runs = [points[job.number]]
        return Result(scoring.of_runs(runs, 1), scoring.of_each_metric(runs, 1))

    Runner(study, work, n_trials=None).run()
    assert sorted(trial.number for trial in study.optuna.best_trials) == [0, 1]


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "gp"])
def test_every_sampler_finds_its_way(database, tmp_path, sampler):
    study = Study(database, sampler, plan(sampler=sampler, max_trials=14))
    Runner(study, work_in(tmp_path, 0), n_trials=None).run()
    assert len(outcome(study)) == 14
    assert all(1e-5 <= trial.params["lr"] <= 1e-1 for trial in study.trials())
    assert objective(study.optuna.best_trial.params) == pytest.approx(study.optuna.best_value)


def test_random_values_do_not_depend_on_who_draws_them(database):
    one, other = Study(database, "one", plan()), Study(database, "other", plan())
    first = [one.next_job().values for _ in range(4)]
    assert [other.next_job().values for _ in range(4)] == first
    assert len({values["lr"] for values in first}) == 4


def test_a_trial_without_usable_metrics_fails(database):
    scoring = Scoring.parse("val/iou")
    study = Study(database, "alps", plan(max_trials=1))
    nothing = scoring.of_runs([{}], 1)
    Runner(study, lambda job, report: Result(nothing, [nothing]), n_trials=1).run()
    (trial,) = study.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[NOTES]["reason"] == "no run ended with usable metrics"


def test_a_plan_travels_in_the_database(database):
    written = plan(sampler="tpe", pruner="median", config={"a": {"b": [1, None, "x"]}})
    Study(database, "alps", written)
    assert Study(database, "alps").plan == written


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sampler": "grid"}, "a grid search cannot count the values of 'lr', which has a continuous range; give a"),
        ({"sampler": "tpee"}, "tune.sampler 'tpee' does not exist; did you mean 'tpe'?"),
        ({"pruner": "mean"}, "tune.pruner 'mean' does not exist"),
        ({"sampler": "cmaes", "objectives": "metrics"}, "'cmaes' takes one objective"),
        ({"pruner": "median", "objectives": "metrics"}, "several objectives cannot be pruned"),
    ],
)
def test_what_does_not_go_together_is_said(database, options, told):
    scoring = Scoring.parse(["val/iou", "val/loss:lower"])
    with pytest.raises(ConfigError) as caught:
        Study(database, "alps", plan(scoring=scoring, **options))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_studies_are_known(database):
    Study(database, "alps", plan())
    with pytest.raises(ConfigError, match="there is a study 'alps' already; join it with --sweep-id alps, or choose"):
        Study(database, "alps", plan())
    with pytest.raises(ConfigError, match="the database has no study 'alpz'; did you mean 'alps'"):
        Study(database, "alpz")


def test_a_connection_that_breaks_is_waited_for(database):
    """As pg8000 tells it: while a server goes down, a connection may break outside of any statement."""
    breaks = [ConnectionResetError(104, "Connection reset by peer"), TimeoutError("timed out")]

    def call():
        if breaks:
            raise breaks.pop()
        return "back"

    assert database.surely(call) == "back"
    assert not breaks
    with pytest.raises(OSError, match="No space left"):
        database.surely(lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")))
