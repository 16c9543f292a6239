"""What a study costs beside its trainings: seconds per trial, and how fast 8 runners are given trials.

The overhead is that of asking, drawing, noting and telling around a trial whose work takes no time, as the command does
it. The throughput is of whole trials, by processes that work at one study. Goals: under 1 s, and a trial per second.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from figures import report
from graticule.runs import StudyFolder
from graticule.studies.runner import Report, Result, Runner
from graticule.studies.scoring import Scoring
from graticule.studies.space import read_space
from graticule.studies.storage import Database, parse_url
from graticule.studies.study import Job, Plan, Study
from graticule.studies.tables import write_tables

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "studies"))
import postgres

SCORING = Scoring.parse("val/iou")
SPACE = read_space({"lr": {"low": 1e-5, "high": 1e-1, "distribution": "loguniform"}, "norm": ["batch", "group"]})


def work(job: Job, tell: Report) -> Result:
    """Three runs that take no time."""
    for ended in (1, 2, 3):
        tell(ended, job.values["lr"])
    score = SCORING.of_runs([{"val/iou": job.values["lr"]}], 1)
    return Result(score, [score])


def runner(url: str, name: str, begin: float) -> None:
    """One of several processes; all begin at once."""
    database = Database(parse_url(url))
    study = Study(database, name)
    time.sleep(max(0.0, begin - time.time()))
    Runner(study, work, n_trials=None).run()
    database.close()


def overhead(url: str, folder: Path, trials: int) -> float:
    """Seconds per trial around work that takes none, tables included."""
    database = Database(parse_url(url))
    study = Study(database, "overhead", Plan({}, SPACE, SCORING, max_trials=trials))
    place = StudyFolder(folder)
    started = time.perf_counter()
    Runner(study, work, n_trials=None, after_each=lambda: write_tables(study, place, weigh=False)).run()
    seconds = (time.perf_counter() - started) / trials
    database.close()
    return seconds


def throughput(url: str, sampler: str, trials: int, runners: int) -> float:
    """Trials per second by several processes."""
    database = Database(parse_url(url))
    study = Study(database, sampler, Plan({}, SPACE, SCORING, sampler=sampler, max_trials=trials))
    begin = time.time() + 6 + runners
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=runner, args=(url, sampler, begin)) for _ in range(runners)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    seconds = max(t.datetime_complete.timestamp() for t in study.trials()) - begin
    database.close()
    return trials / seconds


def measure(kind: str, url: str, folder: Path, trials: int, runners: int) -> None:
    """All figures of one database."""
    report(f"{kind}: seconds per trial beside its trainings", overhead(url, folder, trials // 4), 1.0, "lower")
    for sampler in ("random", "tpe"):
        rate = throughput(url, sampler, trials, runners)
        report(f"{kind}: trials per second, {runners} runners, {sampler}", rate, 1.0)


def main() -> None:
    """Measure on the embedded storage, and on PostgreSQL where it is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--runners", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="studies-") as name:
        folder = Path(name)
        servers = {"SQLite": f"sqlite:///{folder}/study.db"}
        server = None
        if not postgres.missing():
            server = postgres.Server(folder / "postgres")
            servers["PostgreSQL"] = server.url
        try:
            for kind, url in servers.items():
                measure(kind, url, folder / kind, arguments.trials, arguments.runners)
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
