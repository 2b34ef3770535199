"""A bundle as an MLflow model: its files, how they are loaded, and the run it came from."""

import importlib.metadata
import tempfile
import warnings
from pathlib import Path

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from genreflow.bundle import Bundle
from genreflow.registry import pyfunc
from genreflow.tracking.runs import start_run

# Named one by one, since MLflow would otherwise import TensorFlow to find them out; not genreflow itself, which no
# package index has: who loads the model has it installed.
REQUIREMENTS = ("numpy", "onnxruntime", "pandas", "scipy", "soundfile", "soxr")


def log_bundle(client: MlflowClient, experiment_id: str, bundle: Bundle) -> LoggedModel:
    """Copy a bundle into the store as an MLflow model with the python-function flavour.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    bundle : Bundle

    Returns
    -------
    LoggedModel
        Of the run that trained the bundle; where this store does not know that run, of a run made for it.
    """
    run_id = _training_run(client, experiment_id, bundle)
    mark = {"leaking": "true"} if bundle.leaking else {}
    logged = client.create_logged_model(experiment_id, name=bundle.name, source_run_id=run_id, tags=mark)
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary, "model")
        with warnings.catch_warnings():
            # MLflow would like an input example, but a path of this machine means nothing on another.
            warnings.filterwarnings("ignore", message=".*input example.*")
            mlflow.pyfunc.save_model(
                local,
                loader_module=pyfunc.__name__,
                data_path=str(bundle.directory),
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                    run_id=run_id,
                ),
                signature=pyfunc.SIGNATURE,
                pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
            )
        client.log_model_artifacts(logged.model_id, str(local))
    return client.finalize_logged_model(logged.model_id, "READY")


def find_bundle(model_dir: Path | str) -> Path:
    """Where in a downloaded MLflow model the bundle is (its parent folder, if it is missing)."""
    data = Path(model_dir, "data")
    return next((path.parent for path in data.glob("*/bundle.json")), data)


def _training_run(client: MlflowClient, experiment_id: str, bundle: Bundle) -> str:
    if run_id := bundle.lineage.get("mlflow_run"):
        try:
            return client.get_run(run_id).info.run_id
        except MlflowException:
            pass  # it was trained on another machine
    with start_run(
        client, experiment_id, f"import {bundle.hash[:12]}", tags={"architecture": bundle.architecture}
    ) as run:
        return run.run_id
