"""A bundle as an MLflow model with the python_function flavour."""

import contextlib
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
from genreflow.tracking.artifacts import artifact_errors, delete_artifacts
from genreflow.tracking.orphans import PROCESS, is_orphaned, process_tag
from genreflow.tracking.runs import start_run

# Listed, since MLflow would otherwise import TensorFlow to infer them. genreflow itself is on no package index: it must
# be installed where the model is loaded.
REQUIREMENTS = ("av", "numpy", "onnxruntime", "pandas", "scipy", "soundfile", "soxr")


def log_bundle(client: MlflowClient, experiment_id: str, bundle: Bundle, *, name: str) -> LoggedModel:
    """Log a bundle as an MLflow model with the python_function flavour.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    bundle : Bundle
    name : str
        Of the registered model that it will be a version of.

    Returns
    -------
    LoggedModel
        Of the run that trained the bundle; if this store does not have that run, of a new one. It is to be registered
        and then passed to `keep_model`: otherwise the next call deletes it, as that of a killed process.
    """
    _delete_orphaned_models(client, experiment_id)
    run_id = _training_run(client, experiment_id, bundle)
    tags = process_tag() | ({"leaking": "true"} if bundle.leaking else {})
    # Unlike that of a registered model, the name of a logged one has no dots.
    logged = client.create_logged_model(experiment_id, name=name.replace(".", "-"), source_run_id=run_id, tags=tags)
    try:
        with artifact_errors(
            logged.artifact_location,
            what="writable to store the model",
            advice="nothing is registered yet, and the same command does it when that is possible again",
        ):
            _write_model(client, logged, bundle)
        return client.finalize_logged_model(logged.model_id, "READY")
    except BaseException:
        with contextlib.suppress(MlflowException):
            _delete_model(client, logged)
        raise


def keep_model(client: MlflowClient, model: LoggedModel) -> None:
    """Mark a model as registered."""
    client.delete_logged_model_tag(model.model_id, PROCESS)


def find_bundle(model_dir: Path | str) -> Path:
    """Return the folder of the bundle in a downloaded MLflow model; without one, the folder that should hold it."""
    data = Path(model_dir, "data")
    return next((path.parent for path in data.glob("*/bundle.json")), data)


def _write_model(client: MlflowClient, logged: LoggedModel, bundle: Bundle) -> None:
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
                    run_id=logged.source_run_id,
                ),
                signature=pyfunc.SIGNATURE,
                pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
            )
        client.log_model_artifacts(logged.model_id, str(local))


def _delete_orphaned_models(client: MlflowClient, experiment_id: str) -> None:
    """Delete models that a process was killed before it had registered."""
    registered = {entry.source for entry in client.search_model_versions(max_results=10_000)}
    token = None
    while True:
        page = client.search_logged_models([experiment_id], page_token=token)
        for model in page:
            if is_orphaned(model.tags) and model.artifact_location not in registered:
                _delete_model(client, model)
        if not (token := page.token):
            return


def _delete_model(client: MlflowClient, model: LoggedModel) -> None:
    # The files first: without the model nobody would know them. MLflow itself leaves them. A model whose files are in a
    # store that is away stays, and the next registration deletes both.
    folder = model.artifact_location.rstrip("/").rpartition("/")[0]
    if not folder.endswith(f"/{model.model_id}") or delete_artifacts(client, folder):
        client.delete_logged_model(model.model_id)


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
