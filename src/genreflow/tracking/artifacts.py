"""Where MLflow keeps the files of runs and models: a folder, its server, or a store such as S3."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from genreflow.errors import GenreflowError
from genreflow.tracking.store import local_path, without_credentials

# By the name of the class, since the extra s3 need not be installed.
_S3_ERRORS = frozenset(
    {"botocore.exceptions.BotoCoreError", "botocore.exceptions.ClientError", "boto3.exceptions.Boto3Error"}
)
_S3_CONNECTION_ERRORS = frozenset({"botocore.exceptions.ConnectionError", "botocore.exceptions.HTTPClientError"})


def is_s3_error(error: BaseException) -> bool:
    """Return whether boto3 raised an exception."""
    return not _S3_ERRORS.isdisjoint(_class_names(error))


def is_s3_unreachable(error: BaseException) -> bool:
    """Return whether boto3 raised an exception because the store does not answer, or not now (status >= 500)."""
    if not _S3_CONNECTION_ERRORS.isdisjoint(_class_names(error)):
        return True
    # boto3 raises S3UploadFailedError, without a status, while it handles one that has it.
    for cause in (error, error.__cause__, error.__context__):
        if cause is not None and "botocore.exceptions.ClientError" in _class_names(cause):
            status = getattr(cause, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return bool(status >= 500)
    return False


def http_status(error: BaseException) -> int | None:
    """Return the status of the response for which `requests` raised an exception; None for any other exception."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code
    return None


@contextmanager
def artifact_errors(place: str, *, what: str, advice: str) -> Iterator[None]:
    """Raise a `GenreflowError` if the files in a place cannot be read or written.

    Parameters
    ----------
    place : str
        The location as MLflow has it.
    what : str
        What must be possible, such as "readable to download version 3".
    advice : str
        What to do, without a period.
    """
    name = str(local_path(place) or without_credentials(place))
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise GenreflowError(
            f"{name}: needs the package {error.name}; `pip install 'genreflow[s3]'` installs it."
        ) from None
    except Exception as error:
        if not (isinstance(error, MlflowException | OSError) or is_s3_error(error)):
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise GenreflowError(f"{name}: must be {what}; got {reason}; {advice}.") from error


def delete_artifacts(client: MlflowClient, location: str) -> bool:
    """Delete the files in a location of artifacts.

    Parameters
    ----------
    client : MlflowClient
    location : str
        Of one run or model.

    Returns
    -------
    bool
        False if their store is away or does not allow it.
    """
    if (folder := local_path(location)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    try:
        get_artifact_repository(location, tracking_uri=client.tracking_uri).delete_artifacts()
    except Exception as error:
        if not (isinstance(error, MlflowException | OSError | ImportError) or is_s3_error(error)):
            raise
        return False
    return True


def _class_names(error: BaseException) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
