"""Where MLflow keeps runs and models: a place that `mlflow ui`, typed in the project folder, opens by default."""

import logging
import os
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

import requests
from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from genreflow.errors import GenreflowError
from genreflow.files import require_writable
from genreflow.sqlite import database_path, sqlite_url
from genreflow.tracking.database import prepare_database, relocate
from genreflow.tracking.retries import limit_retries
from genreflow.tracking.saved_view import ACCURACY_VIEW

logger = logging.getLogger(__name__)

EXPERIMENT = "genreflow"
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"
# Marks an experiment as model training; the UI shows experiments with language models differently.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
# Stores of MLflow 3. Databricks and its Unity Catalog (uc) are servers, too.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https", "databricks", "uc", "databricks-uc")
# How long a server that is being restarted is waited for, and how long it may take to answer one request.
STARTUP_TIMEOUT_S, REQUEST_TIMEOUT_S = 60.0, 5.0


def tracking_uri(root: Path | str = ".") -> str:
    """Return the tracking URI of a project.

    Parameters
    ----------
    root : Path
        The project folder. A temporary copy of DVC (``dvc exp run --temp`` and ``--queue`` work in ``.dvc/tmp/exps``)
        stands for the project that it was copied from; otherwise its runs would be deleted with the copy.

    Returns
    -------
    str
        ``MLFLOW_TRACKING_URI`` if it is set, else ``sqlite:///<root>/mlflow.db``.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(project_root(root) / DATABASE)


def open_client(root: Path | str = ".", *, timeout: float = STARTUP_TIMEOUT_S) -> MlflowClient:
    """Return a client of the project's store.

    MLflow's global tracking URI is not set, so that several projects can be open in one process.

    Parameters
    ----------
    root : Path
        The project folder.
    timeout : float >= 0 [s]
        How long to wait for a server that does not answer.

    Raises
    ------
    GenreflowError
        The server does not answer in time, the database cannot be opened or is broken, it belongs to a project in
        another folder, or the URI is of neither.
    """
    uri = tracking_uri(root)
    registry_uri = os.environ.get("MLFLOW_REGISTRY_URI") or uri
    _check_uri(uri, "MLFLOW_TRACKING_URI")
    _check_uri(registry_uri, "MLFLOW_REGISTRY_URI")
    limit_retries()
    _wait_for_server(uri, timeout)
    _quieten()  # creating a database logs every migration
    for store in dict.fromkeys((uri, registry_uri)):
        if database := database_path(store):
            prepare_database(database)
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=registry_uri)
    except (MlflowException, SQLAlchemyError, ImportError, OSError, ValueError) as error:
        raise _cannot_open(uri, error) from None
    _quieten()  # MLflow configures its loggers again
    if moved := find_former_artifacts(client, root):
        raise GenreflowError(
            f"{database_path(uri)}: must keep artifacts in {project_root(root) / ARTIFACTS}; got {moved[0]}, since the "
            "project was moved or copied; `genreflow registry relocate` corrects the paths in it."
        )
    return client


def find_former_artifacts(client: MlflowClient, root: Path | str = ".") -> list[Path]:
    """Return the folders in which a project kept its artifacts before it was moved, or those of the original of a copy.

    MLflow stores absolute paths, also where relative ones are given. Databases outside the project, which several
    projects may share, are not checked.
    """
    root = project_root(root)
    path = database_path(client.tracking_uri)
    if path is None or path.parent != root:
        return []
    experiments = client.search_experiments(view_type=ViewType.ALL)
    found = {local_path(experiment.artifact_location) for experiment in experiments}
    return sorted(
        place
        for place in found
        if place is not None and place.name == ARTIFACTS and not _is_same_folder(place.parent, root)
    )


def relocate_project(root: Path | str = ".") -> dict[str, int]:
    """Make the database of a project that was moved or copied point to its own artifacts.

    Returns
    -------
    dict of str to int
        By former folder of artifacts, the number of paths that were changed.

    Raises
    ------
    GenreflowError
        The project has no database of its own, or it is broken.
    """
    uri, root = tracking_uri(root), project_root(root)
    path = database_path(uri)
    if path is None or path.parent != root or not path.is_file():
        raise GenreflowError(
            f"{root / DATABASE}: must be the MLflow database to relocate; got "
            f"{without_credentials(uri) if path is None or path.is_file() else 'no such file'}."
        )
    prepare_database(path)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return {str(former): relocate(path, former, root / ARTIFACTS) for former in find_former_artifacts(client, root)}


def ensure_experiment(client: MlflowClient, root: Path | str = ".", *, name: str = EXPERIMENT) -> Experiment:
    """Return the experiment called `name`, which is created if it does not exist.

    An SQLite store keeps artifacts in ``<root>/mlruns``, as an absolute path; a server chooses the place itself. That
    of studies and models gets a view that shows accuracy.
    """
    tags = EXPERIMENT_KIND | (ACCURACY_VIEW if name == EXPERIMENT else {})
    if (experiment := client.get_experiment_by_name(name)) is None:
        local = database_path(client.tracking_uri) is not None
        location = (project_root(root) / ARTIFACTS).as_uri() if local else None
        try:
            experiment_id = client.create_experiment(name, artifact_location=location, tags=tags)
            return client.get_experiment(experiment_id)
        except MlflowException:
            # Another worker has just created it.
            if (experiment := client.get_experiment_by_name(name)) is None:
                raise
    for key in tags.keys() - experiment.tags.keys():
        client.set_experiment_tag(experiment.experiment_id, key, tags[key])
    return experiment


def is_reachable(uri: str) -> bool:
    """Return whether the server at `uri` answers; True for a store that is not a server."""
    if not uri.startswith(("http://", "https://")):
        return True
    try:
        return requests.get(f"{uri.rstrip('/')}/health", timeout=REQUEST_TIMEOUT_S).status_code < 500
    except requests.exceptions.SSLError:
        return True  # MLflow has its own certificate settings, and its own message
    except requests.RequestException:
        return False


def local_path(uri: str) -> Path | None:
    """Return the path of a ``file:`` URI or of a plain path; None for a URI of another scheme."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if parts.scheme else Path(uri)


def without_credentials(uri: str) -> str:
    """Return `uri` without user and password, for messages."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # a malformed address
        return uri.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def project_root(root: Path | str) -> Path:
    """Return `root` as an absolute path; of a temporary copy that DVC made, the project that it was copied from."""
    root = Path(root).resolve()
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return root


def _check_uri(uri: str, variable: str) -> None:
    """Check that a store can be opened as far as that takes no time; MLflow tries a database for two minutes."""
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    if not (scheme in SERVERS or scheme in DATABASES or uri in SERVERS):
        folder = ", as MLflow keeps no runs in folders any more" if scheme in ("", "file") else ""
        raise GenreflowError(
            f"{variable} must be a database or a server, such as sqlite:///mlflow.db or http://127.0.0.1:5000{folder}; "
            f"got {without_credentials(uri)}."
        )
    try:
        urlsplit(uri)
        if scheme in DATABASES:
            _check_database(uri)
    except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
        raise _cannot_open(uri, error) from None


def _check_database(uri: str) -> None:
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        require_writable(Path(url.database).parent)
        if not Path(url.database).is_file() and Path(url.database).exists():
            raise ValueError(f"{url.database} is not a file")
        return
    engine = create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _cannot_open(uri: str, error: Exception) -> GenreflowError:
    reason = " ".join(str(getattr(error, "orig", None) or error).split()).removesuffix(".")
    return GenreflowError(f"MLflow's store {without_credentials(uri)} cannot be opened: {reason}.")


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _wait_for_server(uri: str, timeout: float) -> None:
    started, logged = time.monotonic(), False
    while not is_reachable(uri):
        if time.monotonic() - started > timeout:
            raise GenreflowError(
                f"MLflow at {without_credentials(uri)} does not answer; start its server, or set MLFLOW_TRACKING_URI "
                "to another one."
            )
        if not logged:
            logged = True
            logger.warning("MLflow at %s does not answer; waiting up to %.0f s", without_credentials(uri), timeout)
        time.sleep(min(1.0, timeout))


def _quieten() -> None:
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
