"""A bundle as an MLflow model with the python_function flavour."""

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

# Listed, since MLflow would otherwise import TensorFlow to infer them. genreflow itself is on no package index: it must
# be installed where the model is loaded.
REQUIREMENTS = ("numpy", "onnxruntime", "pandas", "scipy", "soundfile", "soxr")


def log_bundle(client: MlflowClient, experiment_id: str, bundle: Bundle) -> LoggedModel:
    """Log a bundle as an MLflow model with the python_function flavour.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    bundle : Bundle

    Returns
    -------
    LoggedModel
        Of the run that trained the bundle; if this store does not have that run, of a new one.
    """
    run_id = _training_run(client, experiment_id, bundle)
    mark = {"leaking": "true"} if bundle.leaking else {}
    logged = client.create_logged_model(experiment_id, name=bundle.name, source_run_id=run_id, tags=mark)
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary, "model")
        with warnings.catch_warnings():
            # An input example would be a path, which means nothing on another machine.
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
    """Return the folder of the bundle in a downloaded MLflow model; without one, the folder that should hold it."""
    data = Path(model_dir, "data")
    return next((path.parent for path in data.glob("*/bundle.json")), data)


def _training_run(client: MlflowClient, experiment_id: str, bundle: Bundle) -> str:
    if run_id := bundle.lineage.get("mlflow_run"):
        try:
            return client.get_run(run_id).info.run_id
        except MlflowException:
            pass  # it was trained with another store
    with start_run(
        client, experiment_id, f"import {bundle.hash[:12]}", tags={"architecture": bundle.architecture}
    ) as run:
        return run.run_id
