"""Optuna's storage, with heartbeats, and a lock that one worker at a time holds."""

import contextlib
import logging
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from genreflow.errors import GenreflowError
from genreflow.files import require_writable
from genreflow.sqlite import TIMEOUT_S, LibraryDatabase, database_path, sqlite_url
from genreflow.tuning.params import check_storage_url, without_password

logger = logging.getLogger(__name__)

# A trial without a heartbeat for GRACE_PERIOD_S is repeated: within a minute of its worker's death.
HEARTBEAT_INTERVAL_S, GRACE_PERIOD_S = 10, 40
# How long a PostgreSQL server that does not answer is waited for.
CONNECT_TIMEOUT_S = 20
# The key of PostgreSQL's advisory lock: any number that all workers agree on.
_ADVISORY_LOCK = 0x67656E72


def open_storage(
    url: str, *, heartbeat_interval: int = HEARTBEAT_INTERVAL_S, grace_period: int = GRACE_PERIOD_S
) -> RDBStorage:
    """Open Optuna's storage; a database without tables gets them.

    Parameters
    ----------
    url : str
        Such as ``sqlite:///optuna.db``, or ``postgresql://user@host/database`` for workers on several machines.
    heartbeat_interval, grace_period : int > 0 [s]
        How often a worker writes a heartbeat, and the age of a heartbeat after which its trial is repeated. All workers
        of a study should use the same.

    Raises
    ------
    GenreflowError
        The storage cannot be opened.
    """
    # Optuna logs every trial and, on import, experimental features; the study logs its own lines.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage")  # `heartbeats` writes them
    where = f"Optuna's storage {without_password(url)}"
    try:
        check_storage_url(url)
    except ValueError as error:
        raise GenreflowError(f"Optuna's storage {error}.") from None
    heartbeat: dict[str, Any] = {"heartbeat_interval": heartbeat_interval, "grace_period": grace_period}
    try:
        return _open_sqlite(url, heartbeat) if database_path(url) else _open_server(url, heartbeat)
    except ImportError as error:
        hint = "; `pip install 'genreflow[postgres]'` installs it" if error.name == "psycopg" else ""
        raise GenreflowError(f"{where} needs the package {error.name}{hint}.") from None
    except OSError as error:
        raise GenreflowError(f"{where} must be in a folder that is writable; got {error.strerror or error}.") from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, RuntimeError) as error:
        raise GenreflowError(f"{where} cannot be opened: {_reason(error)}.") from None


@contextmanager
def closing(storage: RDBStorage) -> Iterator[None]:
    """Close the connections of a storage with the block; a file of SQLite alone then holds everything."""
    try:
        yield
    finally:
        storage.remove_session()
        storage.engine.dispose()
        if path := database_path(storage.url):
            _database(path).checkpoint()


def _open_sqlite(url: str, heartbeat: dict[str, Any]) -> RDBStorage:
    path = database_path(url)
    assert path is not None
    engine = create_engine(url)
    require_writable(path.parent)  # a lock that cannot be created is waited for
    if path.exists() and not path.is_file():
        raise GenreflowError(f"Optuna's storage {path} must be a file; got something else.")
    database = _database(path)
    database.create(_create)
    database.check(writable=True)
    with _exclusive(engine), database.explained():
        storage = RDBStorage(
            _escaped(url),
            engine_kwargs={"connect_args": {"timeout": TIMEOUT_S}},
            skip_table_creation=_is_complete(path),  # it would add tables to those of an earlier version
            **heartbeat,
        )
    database.checkpoint()  # what a worker that was killed has left
    event.listen(storage.engine, "connect", _enable_write_ahead_log)
    storage.engine.dispose()  # reopen the connections, with the listener
    return storage


def _open_server(url: str, heartbeat: dict[str, Any]) -> RDBStorage:
    if url.startswith("postgresql:"):  # genreflow[postgres] installs this driver
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    options: dict[str, Any] = {"pool_pre_ping": True}  # replaces connections that were lost between two trials
    if "connect_timeout" not in url:
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(url, **options)
    with _exclusive(engine):  # workers that create the tables at the same time fail
        storage = RDBStorage(_escaped(url), engine_kwargs=options, **heartbeat)
    engine.dispose()
    return storage


def _database(path: Path) -> LibraryDatabase:
    return LibraryDatabase(
        path,
        "Optuna",
        "studies",
        outdated="no longer compatible with the table schema",
        upgrade="optuna storage upgrade --storage",
    )


def _create(path: Path) -> None:
    RDBStorage(_escaped(sqlite_url(path))).engine.dispose()


def _is_complete(path: Path) -> bool:
    """Return whether a database has all tables of Optuna; its version is written last."""
    with contextlib.closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        if "studies" not in tables:
            raise ValueError("tables of another program")
        return "alembic_version" in tables and bool(connection.execute("select * from alembic_version").fetchall())


def _escaped(url: str) -> str:
    """Return a URL as Optuna expects it, which replaces fields in braces."""
    return url.replace("{", "{{").replace("}", "}}")


@contextmanager
def heartbeats(storage: RDBStorage, trial_id: int) -> Iterator[None]:
    """Write heartbeats of a trial from a thread while the block runs.

    The thread of Optuna's `Study.optimize` ends with the first write that fails, and keeps the process from ending if
    Ctrl-C arrives while it is started.
    """
    stopped = threading.Event()

    def write() -> None:
        while not stopped.wait(storage.heartbeat_interval):
            try:
                storage.record_heartbeat(trial_id)
            except Exception as error:  # the database is away; so may the next one be
                logger.warning("no heartbeat could be written: %s", _reason(error))

    threading.Thread(target=write, name="genreflow heartbeat", daemon=True).start()
    try:
        yield
    finally:
        stopped.set()


@contextmanager
def exclusive(storage: RDBStorage) -> Iterator[None]:
    """Hold the storage's lock, which one worker at a time can.

    It is a lock file beside an SQLite database, or an advisory lock of PostgreSQL. Both are released when the process
    that holds them ends. Other databases have none: workers that start at the same time may then create a run of the
    study each, and start one trial more than ``tune.trials``.
    """
    with _exclusive(storage.engine):
        yield


@contextmanager
def _exclusive(engine: Engine) -> Iterator[None]:
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        with FileLock(f"{engine.url.database}.lock"):
            yield
    elif engine.url.get_backend_name() == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.commit()  # the session holds the lock, so that no transaction stays open
            try:
                yield
            finally:
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
                connection.commit()
    else:
        yield


def _enable_write_ahead_log(connection: Any, _record: Any) -> None:
    """Set SQLite's journal mode: the forty small writes of a trial take 0.05 s instead of 0.4 s.

    What is written survives the death of the process; if the machine fails, the last trial may be lost.
    """
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")


def _reason(error: Exception) -> str:
    """Return the message of the database on one line, without SQL and links to SQLAlchemy's documentation."""
    text = str(getattr(error, "orig", None) or error)
    return " ".join(text.split()).partition("(Background")[0].strip().removesuffix(".")
