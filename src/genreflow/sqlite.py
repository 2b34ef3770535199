"""SQLite databases of libraries: created as a whole or not at all, checked when they are opened, kept in one file."""

import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
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


@dataclass(frozen=True)
class LibraryDatabase:
    """An SQLite database whose tables a library makes.

    Parameters
    ----------
    path : Path
    library : str
        Its name, for messages.
    content : str
        What is lost with the database.
    outdated : str
        Part of the library's message about the tables of an earlier version.
    upgrade : str
        The command that adapts them, without the URL of the database, which follows it.
    """

    path: Path
    library: str
    content: str
    outdated: str
    upgrade: str

    def create(self, make: Callable[[Path], object]) -> None:
        """Create the database unless it exists.

        Libraries create their tables in many steps, which an interruption or a second process leaves half done, for
        good. So the database is made under a lock at a temporary path, and renamed when it is complete.

        Parameters
        ----------
        make : callable
            Makes a database with all tables at the path that it is called with, and closes it.

        Raises
        ------
        GenreflowError
            The disk is full, for example.
        """
        if self._has_content():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"), self.explained():
            if self._has_content():
                return
            remove_leftovers(self.path.parent, self.path.name)  # of a process that was killed here
            try:
                with temporary_path(self.path) as temporary:
                    make(temporary)
                    for side in _SIDE_FILES:
                        self.path.with_name(self.path.name + side).unlink(missing_ok=True)
                    self._publish(temporary)
            finally:
                remove_leftovers(self.path.parent, self.path.name)

    def check(self, *, writable: bool = False) -> None:
        """Check that the database is sound, and that it can be written if it has to be.

        Raises
        ------
        GenreflowError
            It is not.
        """
        with self.explained(), closing(self._connect()) as connection:
            whole = self.path.stat().st_size <= CHECKED_BYTES
            found = connection.execute(
                "pragma quick_check(1)" if whole else "select 'ok' from sqlite_master"
            ).fetchone()
            if found is None or found[0] != "ok":
                raise sqlite3.DatabaseError("no tables" if found is None else " ".join(found[0].split()))
            if writable:
                connection.execute("begin immediate")
                connection.execute("rollback")

    def checkpoint(self) -> None:
        """Move what is in the write-ahead log to the database, so that the file alone holds everything.

        What another process reads or writes just then stays in the log, for its own checkpoint.
        """
        with self.explained(), closing(self._connect()) as connection:
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an exception of the library, or of SQLite, into a sentence about the database."""
        try:
            yield
        except (OSError, GenreflowError):
            raise
        except Exception as error:  # those of MLflow, SQLAlchemy and Alembic have no common base class
            reason = " ".join(str(error).partition("[SQL:")[0].split()).rstrip(".")[:300]
            if any(fault in reason for fault in _FAULTS_OF_THE_DISK):
                raise GenreflowError(f"{self.path}: must be readable and writable; got {reason}.") from error
            if self.outdated in reason:
                raise GenreflowError(
                    f"{self.path}: must have the tables of this version of {self.library}; got those of an earlier "
                    f"one; copy it, then run `{self.upgrade} {shlex.quote(sqlite_url(self.path))}`."
                ) from error
            raise GenreflowError(
                f"{self.path}: must be a complete database of this version of {self.library}; got "
                f"{type(error).__name__}: {reason}; restore a copy of it, or rename it to {self.path.name}.broken: the "
                f"next command then creates a new one, without the {self.content} of this one."
            ) from error

    def _has_content(self) -> bool:
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=TIMEOUT_S, isolation_level=None)

    def _publish(self, temporary: Path) -> None:
        """Give a complete database its name, unless a process that does not know the lock was faster."""
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            if not self._has_content():
                os.replace(temporary, self.path)
        except OSError:  # no hard links
            os.replace(temporary, self.path)
