"""MLflow's SQLite database: created as a whole or not at all, checked when it is opened, and moved with its project."""

import contextlib
import os
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from genreflow.errors import GenreflowError
from genreflow.files import remove_leftovers, temporary_path

# How long to wait for another process that writes [s].
TIMEOUT_S = 60.0
# A larger database is not checked page by page when it is opened: that takes 0.2 s per 100 MB.
CHECKED_BYTES = 256_000_000
# What SQLite keeps beside a database. Left by another database of the same name, they would damage a new one.
_SIDE_FILES = ("-journal", "-wal", "-shm")
# What SQLite reports about a database that may be sound.
_FAULTS_OF_THE_DISK = (
    "database or disk is full",
    "readonly database",
    "unable to open database file",
    "disk I/O error",
    "database is locked",
)
# Where MLflow stores absolute paths; its public API cannot change them.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite database, for SQLAlchemy and MLflow.

    SQLAlchemy decodes ``%`` in it and cuts it at ``?``, so these are encoded. MLflow makes the parent folder of a
    ``sqlite:`` URL without decoding it, and not of a URL that names the driver.
    """
    url = URL.create("sqlite", database=str(path))
    if url.render_as_string() == f"sqlite:///{path}":
        return f"sqlite:///{path}"
    return url.set(drivername="sqlite+pysqlite").render_as_string()


def database_path(uri: str) -> Path | None:
    """Return the absolute path of an SQLite database; None for another store."""
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    try:
        database = make_url(uri).database
    except ArgumentError:
        return None
    return Path(database).resolve() if database and database != ":memory:" else None


def prepare_database(path: Path) -> None:
    """Create a database that does not exist, and check one that does.

    MLflow creates its tables in fifty steps, which an interruption or a second process leaves half done, for good. So
    the database is made under a lock at a temporary path, and renamed when it is complete.

    Raises
    ------
    GenreflowError
        The database is incomplete, damaged, or of another version of MLflow.
    """
    if not _has_content(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), _explained(path):
            if not _has_content(path):
                _create(path)
    with _explained(path):
        with closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as connection:
            check = (
                "pragma quick_check(1)" if path.stat().st_size <= CHECKED_BYTES else "select 'ok' from sqlite_master"
            )
            found = connection.execute(check).fetchone()
            if found is None or found[0] != "ok":
                raise sqlite3.DatabaseError("no tables" if found is None else " ".join(found[0].split()))
        _open(path)


def relocate(path: Path, old: Path, new: Path) -> int:
    """Replace the folder of the artifacts in every path that MLflow's database holds, in one transaction.

    Parameters
    ----------
    path : Path
        The database.
    old, new : Path
        Absolute paths of the former and the present folder of artifacts.

    Returns
    -------
    int
        Number of paths that were changed.
    """
    changed = 0
    with _explained(path), closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as connection, connection:
        connection.execute("begin immediate")
        for table, column in _LOCATIONS:
            # MLflow writes the default location as a path, all others as URIs.
            for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
                changed += connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "
                    f"where {column} = ? or substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
                ).rowcount
    return changed


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _create(path: Path) -> None:
    remove_leftovers(path.parent, path.name)  # of a process that was killed here
    try:
        with temporary_path(path) as temporary:
            # MLflow puts the working directory into the statement for the experiment "Default", and quotes it wrongly.
            quoted = not {"'", "\\"}.isdisjoint(str(Path.cwd()))
            with contextlib.chdir(tempfile.gettempdir()) if quoted else contextlib.nullcontext():
                _open(temporary)
                if quoted:
                    relocate(temporary, Path.cwd(), path.parent)
            for side in _SIDE_FILES:
                path.with_name(path.name + side).unlink(missing_ok=True)
            _publish(temporary, path)
    finally:
        remove_leftovers(path.parent, path.name)


def _publish(temporary: Path, path: Path) -> None:
    """Give a complete database its name, unless a process that does not know the lock, `mlflow ui`, was faster."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if not _has_content(path):
            os.replace(temporary, path)
    except OSError:  # no hard links
        os.replace(temporary, path)


def _open(path: Path) -> None:
    """Let MLflow open a database, which creates or checks its tables."""
    uri = sqlite_url(path)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, GenreflowError):
        raise
    except Exception as error:  # those of MLflow, SQLAlchemy and Alembic have no common base class
        reason = " ".join(str(error).partition("[SQL:")[0].split()).rstrip(".")[:300]
        if any(fault in reason for fault in _FAULTS_OF_THE_DISK):
            raise GenreflowError(f"{path}: must be readable and writable; got {reason}.") from error
        if "out-of-date database schema" in reason:
            raise GenreflowError(
                f"{path}: must have the schema of this version of MLflow; got an earlier one; copy it, then run "
                f"`mlflow db upgrade {shlex.quote(sqlite_url(path))}`."
            ) from error
        raise GenreflowError(
            f"{path}: must be a complete database of this version of MLflow; got {type(error).__name__}: {reason}; "
            f"restore a copy of it, or rename it to {path.name}.broken: the next command then creates a new one, "
            "without the runs and models of this one."
        ) from error
