"""Studies on a real PostgreSQL: runners that are killed, a server that goes away and comes back, a wrong password."""

import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import postgres
import pytest
import sqlalchemy
from optuna.trial import TrialState
from runner_process import work_in
from test_study import outcome, plan

from graticule.errors import GraticuleError
from graticule.studies.runner import Runner
from graticule.studies.storage import Database, parse_url, shown
from graticule.studies.study import Study

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = postgres.Server(tmp_path_factory.mktemp("db") / "pg", password="s3cret")
    yield started
    started.stop()


def connections(server):
    url = parse_url(server.url)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        counted = connection.execute(
            sqlalchemy.text(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'graticule' AND backend_type = 'client backend'"
            )
        ).scalar()
    engine.dispose()
    return counted - 1


def test_killed_runners_and_a_restarted_server_lose_nothing(server, tmp_path):
    n = 16
    database = Database(parse_url(server.url), patience=60)
    study = Study(database, "chaos", plan(max_trials=n), grace=30, interval=0.5)
    undisturbed = Study(database, "calm", plan(max_trials=n))
    (tmp_path / "calm").mkdir()
    Runner(undisturbed, work_in(tmp_path / "calm", 0), n_trials=None).run()

    command = [
        sys.executable,
        str(Path(__file__).parent / "runner_process.py"),
        server.url,
        "chaos",
        str(tmp_path),
        "99",
        "0.5",
    ]
    start = lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: E731
    runners, chosen, killed, restarted = [start() for _ in range(3)], random.Random(0), 0, False
    until = time.monotonic() + 120
    while not study.is_finished and time.monotonic() < until:
        time.sleep(0.7)
        if killed < 3 and len(study.trials()) > 3 * killed:
            victim = chosen.choice(runners)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            runners[runners.index(victim)] = start()
            killed += 1
        if killed == 2 and not restarted:
            server.stop()
            time.sleep(0.5)
            server.start()
            restarted = True
    assert (killed, restarted) == (3, True)
    assert [runner.wait(timeout=60) for runner in runners] == [0, 0, 0]
    assert outcome(study) == outcome(undisturbed)
    assert [trial.number for trial in study.trials()] == list(range(n))
    assert {trial.state for trial in study.trials()} == {TrialState.COMPLETE}
    assert max(Counter((tmp_path / "ended.txt").read_text().split()).values()) <= 2, (
        "at most the very end was done again"
    )
    database.close()
    assert connections(server) == 0, "no connection leaks"


def test_the_password_is_never_told(server, monkeypatch):
    wrong = server.url.replace("s3cret", "geheim")
    with pytest.raises(GraticuleError) as caught:
        Database(parse_url(wrong))
    told = str(caught.value)
    assert "refuses the user or the password; check both" in told
    assert "postgresql://graticule:***@127.0.0.1" in told
    assert "geheim" not in told
    assert "\n" not in told
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    Database(parse_url(server.url.replace(":s3cret", ""))).close()


def test_a_database_that_does_not_exist_or_is_not_there(server):
    with pytest.raises(GraticuleError, match="does not exist on its server; make it with createdb"):
        Database(parse_url(server.url.replace("/postgres", "/nowhere")))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(GraticuleError, match=r"cannot be reached \(.*\); check that it runs and its address") as caught:
        Database(parse_url(f"postgresql://me:pw@127.0.0.1:{free}/x"))
    assert "pw" not in str(caught.value).replace("password", "")


def test_what_is_shown_of_an_address():
    assert shown(parse_url("postgres://me:a%40b@db.org:5432/studies")) == "postgresql://me:***@db.org:5432/studies"
    assert shown(parse_url("sqlite:////tmp/study.db")) == "sqlite:////tmp/study.db"
