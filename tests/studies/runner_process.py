"""A runner of its own process for the tests of studies: `python runner_process.py URL STUDY FOLDER [N] [SECONDS]`.

Its trials have real folders with checkpoints: work of some steps, each written down before the next, that goes on where
it was. The score is a function of the hyperparameters alone.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

from graticule.files import whole_file
from graticule.studies.runner import Result, Runner
from graticule.studies.scoring import Scoring
from graticule.studies.storage import Database, parse_url
from graticule.studies.study import Study

STEPS = 4


def objective(values):
    """What a trial scores: known on paper."""
    return 1 / (1 + math.log10(values["lr"] / 1e-3) ** 2) * (1 if values["norm"] == "batch" else 0.5)


def work_in(folder, seconds):
    def work(job, report):
        place = folder / f"trial-{job.number}.json"
        done = json.loads(place.read_text()) if place.exists() else []
        for step in range(STEPS):
            if step >= len(done):
                time.sleep(seconds / STEPS)
                done.append({"step": step, "process": os.getpid()})
                with whole_file(place) as temporary:
                    temporary.write_text(json.dumps(done))
            # A step that the runner before has done may not have been reported yet when it was killed.
            report(step + 1, objective(job.values) * (step + 1) / STEPS)
        with (folder / "ended.txt").open("a") as file:
            file.write(f"{job.number}\n")
        score = Scoring.parse("val/iou").of_runs([{"val/iou": objective(job.values)}], 1)
        return Result(score, [score], {"runner": os.getpid()})

    return work


def main(url, study, folder, n_trials=None, seconds=0.2):
    database = Database(parse_url(url), patience=60, wait=True)
    joined = Study(database, study, grace=float(os.environ.get("GRACE", 30)), interval=0.5)
    tell = lambda text: print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: E731
    Runner(joined, work_in(Path(folder), seconds), n_trials=n_trials, max_takers=1000, tell=tell).run()
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:4], *(kind(word) for kind, word in zip((int, float), sys.argv[4:], strict=False)))
