"""MLflow's SQLite database: created as a whole or not at all, checked when it is opened, and moved with its project."""

import contextlib
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient

from genreflow.sqlite import TIMEOUT_S, LibraryDatabase, sqlite_url

# Where MLflow stores absolute paths; its public API cannot change them.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare_database(path: Path) -> None:
    """Create a database that does not exist, and check one that does.

    Raises
    ------
    GenreflowError
        The database is incomplete, damaged, or of another version of MLflow.
    """
    database = _database(path)
    database.create(lambda temporary: _create(temporary, path.parent))
    database.check()
    with database.explained():
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
    with _database(path).explained(), closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as connection, connection:
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


def _database(path: Path) -> LibraryDatabase:
    return LibraryDatabase(
        path, "MLflow", "runs and models", outdated="out-of-date database schema", upgrade="mlflow db upgrade"
    )


def _create(path: Path, folder: Path) -> None:
    # MLflow puts the working directory into the statement for the experiment "Default", and quotes it wrongly.
    quoted = not {"'", "\\"}.isdisjoint(str(Path.cwd()))
    with contextlib.chdir(tempfile.gettempdir()) if quoted else contextlib.nullcontext():
        _open(path)
        if quoted:
            relocate(path, Path.cwd(), folder)


def _open(path: Path) -> None:
    """Let MLflow open a database, which creates or checks its tables."""
    uri = sqlite_url(path)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)
