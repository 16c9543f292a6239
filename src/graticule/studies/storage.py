"""The database of studies: opened, reached again after it was away, and never told with its password."""

import logging
import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from graticule.errors import ConfigError, OutputError, without_password

T = TypeVar("T")
_CONNECT_SECONDS = 30
# Classes of SQLSTATE that pass: connection lost, out of connections, the operator stops or starts the server,
# a transaction that has to be tried again.
_PASSING = ("08", "53", "57", "40")


def parse_url(text: str) -> URL:
    """The address of a database; PostgreSQL gets the driver that comes with `graticule[studies]`.

    A password that is not in it is taken from PGPASSWORD.

    Raises:
        ConfigError: if it is none, or of a kind that cannot be shared safely.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigError(
            "tune.storage is no address of a database; write sqlite:///PATH or postgresql://USER@HOST:PORT/NAME."
        ) from error
    kind = "postgresql" if url.drivername == "postgres" else url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ConfigError(f"tune.storage is a database of kind '{kind}'; use sqlite:///PATH or postgresql://...")
    if kind == "postgresql":
        if "+" not in url.drivername:
            url = url.set(drivername="postgresql+pg8000")
        if url.password is None and os.environ.get("PGPASSWORD"):
            url = url.set(password=os.environ["PGPASSWORD"])
    return url


def shown(url: URL | str) -> str:
    """The address without its password and driver."""
    text = url.render_as_string(hide_password=True) if isinstance(url, URL) else url
    return re.sub(r"^(\w+)\+\w+:", r"\1:", without_password(text))


class Database:
    """The storage of studies behind a URL, with few connections, and patience for when it is away.

    Args:
        url: as from `parse_url`.
        patience: seconds for which it may be away before a runner gives up.
        tell: is told once when it is away and once when it is back.
        wait: be patient from the start, as who joins a study that is known to exist; else it must be there now.

    Raises:
        OutputError: if it cannot be reached; says why in one line, without the password.
    """

    def __init__(
        self, url: URL, patience: float = 600.0, tell: Callable[[str], None] = lambda text: None, *, wait: bool = False
    ) -> None:
        self.url, self.patience, self.tell = url, patience, tell
        self.is_sqlite = url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": _CONNECT_SECONDS}}
        if self.is_sqlite and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        elif not self.is_sqlite:
            # One connection for the runner, one for its heartbeat; checked before use, since the server may have gone.
            options |= {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 1, "pool_recycle": 1800}
            if not url.drivername.endswith("pg8000"):
                options["connect_args"] = {"connect_timeout": _CONNECT_SECONDS}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # A connection that broke with the server cannot be closed well; that is no news.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.storage = self.surely(lambda: self._opened(options)) if wait else self._opened(options)
        except ImportError as error:
            raise ConfigError(
                f"the driver of {shown(url)} is not installed; pip install 'graticule[studies]' and write postgresql://..."
            ) from error
        except (SQLAlchemyError, StorageInternalError, OSError) as error:
            raise OutputError(f"the study database {shown(url)} {reason(error)}") from error

    def _opened(self, options: dict[str, Any]) -> RDBStorage:
        text = self.url.render_as_string(hide_password=False)
        for _ in range(20):
            try:
                return RDBStorage(text, engine_kwargs=options)
            except (SQLAlchemyError, StorageInternalError) as error:
                # Two runners that make the tables at once: one of them comes too late, and finds them.
                if not any(told in str(error) for told in ("already exists", "duplicate key", "database is locked")):
                    raise
                time.sleep(0.2)
        return RDBStorage(text, engine_kwargs=options)

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The connections, for tables of our own beside Optuna's."""
        return self.storage.engine

    def surely(self, call: Callable[[], T]) -> T:
        """What `call` returns, called again while the database is away. It must not matter if it is done twice.

        Raises:
            OutputError: if the database is away for longer than our patience.
        """
        until, waited, pause = time.monotonic() + self.patience, False, 0.2
        while True:
            try:
                result = call()
            except (SQLAlchemyError, StorageInternalError, ConnectionError, TimeoutError) as error:
                if not passes(error):
                    raise
                if time.monotonic() > until:
                    raise OutputError(
                        f"the study database {shown(self.url)} {reason(error)} It was away for {self.patience:.0f} s "
                        "(tune.patience); start the runner again with --sweep-id when it is back."
                    ) from error
                if not waited:
                    self.tell(f"The study database is away ({reason(error)}) Waiting.")
                waited = True
                if hasattr(self, "storage"):
                    self.storage.remove_session()
                time.sleep(pause)
                pause = min(pause * 1.5, 5.0)
            else:
                if waited:
                    self.tell("The study database is back.")
                return result

    def close(self) -> None:
        """Give back all connections."""
        self.storage.remove_session()
        self.engine.dispose()


def passes(error: BaseException) -> bool:
    """Whether an error of the database may go away by waiting."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True  # a connection that breaks while it is made or closed: pg8000 tells it as it is
    if isinstance(error, StorageInternalError):
        return error.__cause__ is not None and passes(error.__cause__)
    if not isinstance(error, DBAPIError):
        return False
    code = _sqlstate(error)
    if code is not None:
        return code.startswith(_PASSING)
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def reason(error: BaseException) -> str:
    """Why a database cannot be used, as the end of a sentence and what to do; knows nothing of the password."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    code = _sqlstate(error) if isinstance(error, DBAPIError) else None
    if code in ("28P01", "28000"):
        return "refuses the user or the password; check both (PGPASSWORD, or in tune.storage)."
    if code == "3D000":
        return "does not exist on its server; make it with createdb."
    origin = error.orig if isinstance(error, DBAPIError) else error
    text = " ".join(str(origin).split())
    if "password" in text.lower():
        return "wants a password; set PGPASSWORD."
    if "unable to open" in text or "readonly" in text:
        return f"cannot be opened ({text}); choose a place that you may write to."
    return f"cannot be reached ({text[:160]}); check that it runs and its address."


def _sqlstate(error: DBAPIError) -> str | None:
    origin = error.orig
    told = origin.args[0] if origin is not None and origin.args else None
    if isinstance(told, dict):  # pg8000
        return str(told.get("C")) if told.get("C") else None
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    return str(state) if state else None
