"""Optuna's storage, with heartbeats, and a lock that one worker at a time holds."""

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
from genreflow.tuning.params import check_storage_url, without_password
from genreflow.tuning.trial_states import requeue

# A trial without a heartbeat for GRACE_PERIOD_S is requeued: within a minute of its worker's death.
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
        How often a worker writes a heartbeat, and the age of a heartbeat after which its trial is requeued. All workers
        of a study should use the same.

    Raises
    ------
    GenreflowError
        The storage cannot be opened.
    """
    # Optuna logs every trial and, on import, experimental features; the study logs its own lines.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    where = f"Optuna's storage {without_password(url)}"
    if url.startswith("postgresql:"):  # genreflow[postgres] installs this driver
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    try:
        check_storage_url(url)
    except ValueError as error:
        raise GenreflowError(f"Optuna's storage {error}.") from None
    options: dict[str, Any] = {"pool_pre_ping": True}  # replaces connections that were lost between two trials
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": 60}  # seconds to wait for other workers' writes
    elif "connect_timeout" not in url:
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    try:
        engine = create_engine(url, **options)
        if engine.url.get_backend_name() == "sqlite" and engine.url.database != ":memory:":
            require_writable(Path(engine.url.database or "").parent)  # a lock that cannot be created is waited for
        with _exclusive(engine):  # workers that create the tables at the same time fail
            storage = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat_interval,
                grace_period=grace_period,
                heartbeat_stale_trial_callback=requeue,
            )
        engine.dispose()
    except ImportError as error:
        hint = "; `pip install 'genreflow[postgres]'` installs it" if error.name == "psycopg" else ""
        raise GenreflowError(f"{where} needs the package {error.name}{hint}.") from None
    except OSError as error:
        raise GenreflowError(f"{where} must be in a folder that is writable; got {error.strerror or error}.") from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ValueError, RuntimeError) as error:
        raise GenreflowError(f"{where} cannot be opened: {_reason(error)}.") from None
    if url.startswith("sqlite:"):
        event.listen(storage.engine, "connect", _enable_write_ahead_log)
        storage.engine.dispose()  # reopen the connections, with the listener
    return storage


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
