"""Where MLflow keeps runs and models, so that `mlflow ui` typed in the project folder finds them."""

import logging
import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

EXPERIMENT = "genreflow"
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"


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
    """A client of the project's store; nothing global is set, so that two projects can be open in one process."""
    uri = connect(root)
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
            return client.get_experiment(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # another worker was faster
            if (experiment := client.get_experiment_by_name(name)) is None:
                raise
    return experiment


def project_root(root: Path | str) -> Path:
    """`root` made absolute; of a temporary copy that DVC made for an experiment, the project that was copied."""
    root = Path(root).resolve()
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return root


def _quieten() -> None:
    # MLflow and alembic set their loggers up on import and when a database is made, and report each migration.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
