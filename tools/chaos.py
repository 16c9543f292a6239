"""Kill runners at random, restart PostgreSQL, and see that the study ends as one that nobody disturbed.

    python tools/chaos.py                          cheap trials, 4 runners, 40 trials, random and grid search
    python tools/chaos.py --real                   real trainings of the tiny Earth, embedded storage

It starts a server of its own on loopback (Debian: apt-get install postgresql), kills with SIGKILL, and stops by itself.
Exit status 0 if nothing was lost, doubled, left running or leaked.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy
from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "studies"))
import postgres
from runner_process import work_in

from graticule.studies.runner import Runner
from graticule.studies.scoring import Scoring
from graticule.studies.space import read_space
from graticule.studies.storage import Database, parse_url
from graticule.studies.study import Plan, Study

RANDOM = read_space({"lr": {"low": 1e-5, "high": 1e-1, "distribution": "loguniform"}, "norm": ["batch", "group"]})
GRID = read_space({"lr": [10.0**-k / 2 for k in range(1, 21)], "norm": ["batch", "group"]})
Outcome = set[tuple[tuple, tuple]]


def outcome(study: Study) -> Outcome:
    """The set of (parameters, values) of the complete trials."""
    return {(tuple(sorted(t.params.items())), tuple(t.values)) for t in study.trials(TrialState.COMPLETE)}


def disturb(
    start: Callable[[], subprocess.Popen], is_finished: Callable[[], bool], *, runners: int, every: float,
    seed: int, limit: float, restart: Callable[[], None] | None = None, after: int = 5,
) -> tuple[int, list[int]]:  # fmt: skip
    """Keep runners going and kill one of them every few seconds until the study is finished.

    Returns:
        How many were killed, and the exit statuses of those that ended by themselves.
    """
    chosen, alive, killed = random.Random(seed), [start() for _ in range(runners)], 0
    ended: list[int] = []
    until = time.monotonic() + limit
    while time.monotonic() < until:
        time.sleep(chosen.uniform(0.5, 1.5) * every)
        gone = [process for process in alive if process.poll() is not None]
        ended += [process.returncode for process in gone]
        alive = [process for process in alive if process.returncode is None]
        if is_finished():
            break
        if alive:
            victim = chosen.choice(alive)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            alive.remove(victim)
            killed += 1
        alive += [start() for _ in range(runners - len(alive))]
        if restart is not None and killed == after:
            restart()
            restart = None
    ended += [process.wait(timeout=120) for process in alive]
    return killed, ended


def judge(study: Study, undisturbed: Study, n: int, killed: int, ended: Sequence[int]) -> bool:
    """Print what became of the study; whether all is well."""
    trials = study.trials()
    states = Counter(trial.state.name for trial in trials)
    taken = sum(lease.takers > 1 for name, lease in study.leases.all().items() if name.startswith("trial-"))
    checks = {
        f"{n} trials, each number once": [trial.number for trial in trials] == list(range(n)),
        "all complete": states == {"COMPLETE": n},
        "parameters and scores equal the undisturbed study's": outcome(study) == outcome(undisturbed),
        "runners that were not killed ended well": set(ended) <= {0},
    }
    print(f"{study.plan.sampler}: {killed} runners killed, {taken} trials taken over, states {dict(states)}")
    for what, well in checks.items():
        print(f"  {'yes' if well else 'NO '} {what}")
    return all(checks.values())


def cheap(folder: Path, n: int, runners: int, seconds: float) -> bool:
    """Random and grid search on PostgreSQL, which is restarted once, with trials that only wait."""
    server = postgres.Server(folder / "postgres", password="chaos")
    try:
        return on_server(server, folder, n, runners, seconds)
    finally:
        server.stop()


def on_server(server: postgres.Server, folder: Path, n: int, runners: int, seconds: float) -> bool:
    """Both searches on a server; whether all is well."""
    database = Database(parse_url(server.url), patience=120)

    def restart() -> None:
        print("PostgreSQL is stopped and started again")
        server.stop()
        time.sleep(2)
        server.start()

    well = True
    for sampler, space in (("random", RANDOM), ("grid", GRID)):
        plan = Plan({}, space, Scoring.parse("val/iou"), sampler=sampler, max_trials=n)
        undisturbed = Study(database, f"{sampler}-calm", plan)
        (folder / f"{sampler}-calm").mkdir()
        Runner(undisturbed, work_in(folder / f"{sampler}-calm", 0), n_trials=None).run()
        study = Study(database, sampler, plan, interval=0.5)
        place = folder / sampler
        place.mkdir()
        script = Path(postgres.__file__).parent / "runner_process.py"
        command = [sys.executable, str(script), server.url, sampler, str(place), "9999", str(seconds)]
        killed, ended = disturb(
            lambda command=command: subprocess.Popen(command, stdout=subprocess.DEVNULL),
            lambda study=study: study.is_finished, runners=runners, every=2.5, seed=n, limit=600, restart=restart,
        )  # fmt: skip
        well &= judge(study, undisturbed, n, killed, ended)
    database.close()
    engine = sqlalchemy.create_engine(parse_url(server.url))
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        left = connection.execute(sqlalchemy.text(query)).scalar() - 1
    engine.dispose()
    print(f"  {'yes' if left == 0 else 'NO '} no connection is left ({left})")
    return well and left == 0


def real(folder: Path, n: int) -> bool:
    """Two runners with real trainings on the embedded storage, through the command line."""
    os.chdir(folder)
    graticule = [sys.executable, "-m", "graticule"]
    words = [
        "source.grid=raster:3deg", "model=unet", "model.channels=4", "model.levels=2", "data.batch_size=32",
        "data.targets=[landcover]", "split.total_folds=2", "crossval.n_randoms=1", "trainer=cpu",
        "trainer.max_epochs=6", "callbacks.progress=false", "callbacks.pictures.every_n_epochs=99",
        "callbacks.checkpoint.every_n_steps=2", "evaluate.bootstrap=0", "evaluate.examples=0",
    ]  # fmt: skip
    Path("search.yaml").write_text(
        "hyperparameters:\n  learning_rate: {low: 1e-4, high: 1e-2, distribution: loguniform}\n  channels: [2, 4]\n"
    )
    subprocess.run([*graticule, "prepare", *words], check=True)
    tune = [*graticule, "tune", *words, "--hpconfig", "search.yaml", f"tune.max_trials={n}"]
    subprocess.run([*tune, "tune.name=calm", "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*tune, "tune.name=chaos"], check=True)
    join = [*graticule, "tune", "--sweep-id", "chaos", "--device", "cpu", "tune.n_trials=99"]
    calm = Study(Database(parse_url(f"sqlite:///{folder}/runs/calm/study.db")), "calm")
    study = Study(Database(parse_url(f"sqlite:///{folder}/runs/chaos/study.db")), "chaos")
    killed, ended = disturb(
        lambda: subprocess.Popen(join, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        lambda: study.is_finished, runners=2, every=20, seed=1, limit=1800,
    )  # fmt: skip
    return judge(study, calm, n, killed, ended)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--runners", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.5, help="that a cheap trial takes")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        if arguments.real:
            return 0 if real(folder, arguments.trials or 6) else 1
        if postgres.missing():
            print(postgres.missing())
            return 2
        return 0 if cheap(folder, arguments.trials or 40, arguments.runners, arguments.seconds) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
