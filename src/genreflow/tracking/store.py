"""Where MLflow keeps runs and models, so that `mlflow ui` typed in the project folder finds them."""

import logging
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from genreflow.errors import GenreflowError

EXPERIMENT = "genreflow"
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"
# What tells the UI that this is no experiment with language models (3.17's goes by its own switch "Model training").
KIND = {"mlflow.experimentKind": "custom_model_development"}
# A server that is started again is waited for so long, before anything is begun; asked, it may take so long to answer.
PATIENCE_S, ANSWER_S = 60.0, 5.0


def connect(root: Path | str = ".") -> str:
    """Tracking URI of a project.

    Parameters
    ----------
    root : Path
        The project folder. Where it is one of DVC's temporary copies (``dvc exp run --temp`` and ``--queue`` work
        in ``.dvc/tmp/exps``), the project it was copied from is taken, or its runs would vanish with the copy.

    Returns
    -------
    str
        ``MLFLOW_TRACKING_URI`` where that is set, else ``sqlite:///<root>/mlflow.db``, which is also what `mlflow ui`
        opens by default.
    """
    _quieten()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root(root) / DATABASE}"


def open_client(root: Path | str = ".") -> MlflowClient:
    """A client of the project's store; nothing global is set, so that two projects can be open in one process.

    Raises
    ------
    GenreflowError
        The store is a server that does not answer, within a minute.
    """
    uri = connect(root)
    _wait_for(uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    _quieten()
    return client


def ensure_experiment(client: MlflowClient, root: Path | str = ".", *, name: str = EXPERIMENT) -> Experiment:
    """The experiment called `name`, made where there is none.

    Of a SQLite store the artifacts go to ``<root>/mlruns``, as an absolute path; a server decides for itself.
    """
    if (experiment := client.get_experiment_by_name(name)) is None:
        local = client.tracking_uri.startswith("sqlite:")
        location = (project_root(root) / ARTIFACTS).as_uri() if local else None
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=location, tags=KIND))
        except MlflowException:
            # another worker was faster
            if (experiment := client.get_experiment_by_name(name)) is None:
                raise
    if not KIND.keys() & experiment.tags.keys():
        for key, value in KIND.items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return experiment


def answers(uri: str) -> bool:
    """Whether the server at `uri` answers; True for a store that is no server."""
    if not uri.startswith(("http://", "https://")):
        return True
    try:
        return requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWER_S).status_code < 500
    except requests.exceptions.SSLError:
        return True  # MLflow has settings for certificates, and will say what is wrong
    except requests.RequestException:
        return False


def shown(uri: str) -> str:
    """`uri` for people to read: without user and password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def project_root(root: Path | str) -> Path:
    """`root` made absolute; of a temporary copy that DVC made for an experiment, the project that was copied."""
    root = Path(root).resolve()
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return root


def _wait_for(uri: str) -> None:
    began, said = time.monotonic(), False
    while not answers(uri):
        if time.monotonic() - began > PATIENCE_S:
            raise GenreflowError(
                f"MLflow at {shown(uri)} does not answer; start its server, or let MLFLOW_TRACKING_URI name another."
            )
        if not said:
            said = True
            line = f"MLflow at {shown(uri)} does not answer yet; waiting for it, {PATIENCE_S:.0f} s at most."
            print(line, file=sys.stderr, flush=True)
        time.sleep(1)


def _quieten() -> None:
    # MLflow and alembic set their loggers up on import and when a database is made, and report each migration.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
