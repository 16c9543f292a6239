"""Who works at what: leases with heartbeats, in a table beside Optuna's.

A lease belongs to one owner until the owner gives it back, stops beating for longer than the grace, or is a process of
this very machine that is no more. Then another may take it: what was leased is stale, not failed. Time is that of the
database, and while the database was away nothing grows stale.
"""

import contextlib
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import StorageInternalError
from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from graticule.studies.storage import Database

_TABLE = """CREATE TABLE IF NOT EXISTS graticule_leases (
    study VARCHAR(512) NOT NULL, name VARCHAR(128) NOT NULL, owner VARCHAR(200) NOT NULL,
    beat DOUBLE PRECISION NOT NULL, takers INTEGER NOT NULL, PRIMARY KEY (study, name))"""
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
}
# Before a server was started nobody could beat.
_SINCE = {
    "sqlite": "beat",
    "postgresql": "greatest(beat, CAST(extract(epoch FROM pg_postmaster_start_time()) AS DOUBLE PRECISION))",
}


@dataclass(frozen=True)
class Lease:
    """A row: what is leased, by whom (nobody if empty), how many seconds ago it beat, how many have taken it."""

    name: str
    owner: str
    age: float
    takers: int


class Leases:
    """The leases of one study, for one owner.

    Args:
        database: where they are.
        study: whose.
        grace: seconds without a heartbeat after which a lease may be taken.
    """

    def __init__(self, database: Database, study: str, grace: float) -> None:
        self.database, self.study, self.grace = database, study, grace
        self.owner = f"{here()}:{os.getpid()}:{_started(os.getpid())}:{uuid.uuid4().hex[:8]}"
        kind = database.url.get_backend_name()
        self._now, self._since = _NOW[kind], _SINCE[kind]
        database.surely(self._make_table)

    def _make_table(self) -> None:
        # Two runners may make it at once; PostgreSQL then complains to one of them although IF NOT EXISTS was said.
        with contextlib.suppress(SQLAlchemyError), self.database.engine.begin() as connection:
            connection.execute(text(_TABLE))

    def take(self, name: str) -> bool:
        """Take a lease if it is free, ours, or stale; whether it is ours now."""
        return self.database.surely(lambda: self._take(name))

    def _take(self, name: str) -> bool:
        values = {"study": self.study, "name": name, "me": self.owner, "grace": self.grace}
        update = text(
            f"UPDATE graticule_leases SET owner = :me, beat = {self._now}, "
            "takers = takers + CASE WHEN owner = :me THEN 0 ELSE 1 END "
            "WHERE study = :study AND name = :name AND (owner IN :free OR "
            f"{self._now} - {self._since} > :grace)"
        ).bindparams(bindparam("free", expanding=True))
        insert = text(
            "INSERT INTO graticule_leases (study, name, owner, beat, takers) "
            f"VALUES (:study, :name, :me, {self._now}, 1) ON CONFLICT DO NOTHING"
        )
        dead = [lease.owner for lease in self._all(name) if is_dead(lease.owner)]
        with self.database.engine.begin() as connection:
            if connection.execute(update, {**values, "free": ["", self.owner, *dead]}).rowcount == 1:
                return True
            return connection.execute(insert, values).rowcount == 1

    def beat(self, name: str) -> bool:
        """Renew a lease, once; whether it is still ours."""
        statement = text(
            f"UPDATE graticule_leases SET beat = {self._now} WHERE study = :study AND name = :name AND owner = :me"
        )
        with self.database.engine.begin() as connection:
            values = {"study": self.study, "name": name, "me": self.owner}
            return connection.execute(statement, values).rowcount == 1

    def give_back(self, name: str) -> None:
        """Let others take it at once."""
        statement = text("UPDATE graticule_leases SET owner = '' WHERE study = :study AND name = :name AND owner = :me")

        def call() -> None:
            with self.database.engine.begin() as connection:
                connection.execute(statement, {"study": self.study, "name": name, "me": self.owner})

        self.database.surely(call)

    def all(self) -> dict[str, Lease]:
        """All leases of the study by name."""
        return {lease.name: lease for lease in self.database.surely(self._all)}

    def is_free(self, lease: Lease | None) -> bool:
        """Whether somebody else may take it."""
        return lease is None or not lease.owner or lease.age > self.grace or is_dead(lease.owner)

    def _all(self, name: str | None = None) -> list[Lease]:
        statement = (
            f"SELECT name, owner, {self._now} - {self._since}, takers FROM graticule_leases WHERE study = :study"
        )
        with self.database.engine.connect() as connection:
            rows = connection.execute(text(statement), {"study": self.study}).all()
        return [Lease(*row) for row in rows if name is None or row[0] == name]

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """While it lasts no other runner is in the same passage; one that died in it is passed by."""
        while not self.take(name):
            time.sleep(random.uniform(0.02, 0.1))
        try:
            yield
        finally:
            self.give_back(name)


class Heartbeat:
    """Renews a lease in a thread while something else works, and stops that work when the lease is lost.

    Args:
        leases: of our owner.
        name: of the lease.
        interval: seconds between two beats.
        lost: called once when somebody else has taken the lease; by default the process is asked to end (SIGTERM),
            whereupon a training saves.
    """

    def __init__(
        self, leases: Leases, name: str, interval: float,
        lost: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:  # fmt: skip
        self.leases, self.name, self.interval, self._lost = leases, name, interval, lost
        self.is_lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat of {name}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self.interval):
            try:
                held = self.leases.beat(self.name)
            except (SQLAlchemyError, StorageInternalError, OSError):
                continue  # away: the work goes on, and the next beat tells
            if not held:
                self.is_lost = True
                self._lost()
                return


def here() -> str:
    """This machine since it was started, and this set of processes on it: within it a process number tells all."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}".replace(":", "")
    except OSError:
        return f"unknown-{uuid.uuid4().hex}"


def _started(process: int) -> str:
    """When a process was started, in clock ticks; empty where there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()
    return "" if fields[0] in "ZX" else fields[19]


def is_dead(owner: str) -> bool:
    """Whether an owner was a process of this very machine that is no more; of other machines nothing is known."""
    place, _, rest = owner.partition(":")
    if not rest or place != here():
        return False
    process, started, _ = rest.split(":")
    return _started(int(process)) != started
