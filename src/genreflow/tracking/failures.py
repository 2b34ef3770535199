"""Which failed writes to MLflow are worth another attempt."""

from dataclasses import dataclass

import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from genreflow.tracking.artifacts import http_status, is_s3_unreachable
from genreflow.tracking.store import is_reachable

# HTTP status codes of a temporary failure: request timeout, too many requests, service unavailable, gateway timeout.
TEMPORARY_STATUS = (408, 429, 503, 504)


@dataclass(frozen=True)
class WriteFailure:
    """Why a write failed.

    Parameters
    ----------
    reason : str
        For people.
    transient : bool
        Whether another attempt may succeed.
    unreachable : bool
        Whether the store, or that of the artifacts, was not available at all; the number of attempts is then not
        limited.
    """

    reason: str
    transient: bool
    unreachable: bool = False


UNREACHABLE = WriteFailure("it does not answer", transient=True, unreachable=True)


def classify(error: Exception, uri: str) -> WriteFailure:
    """Return what an exception of a write to the store at `uri` means."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        if status not in TEMPORARY_STATUS and not is_reachable(uri):
            return UNREACHABLE
        unreachable = status in TEMPORARY_STATUS
        return WriteFailure(reason, transient=unreachable or status >= 500, unreachable=unreachable)
    if (status := http_status(error)) is not None:  # of a server that passes artifacts on
        unreachable = status >= 500 or status in TEMPORARY_STATUS
    else:  # other exceptions of `requests` are OSErrors, too
        unreachable = isinstance(error, (OSError, sqlalchemy.exc.OperationalError)) or is_s3_unreachable(error)
    return WriteFailure(f"{type(error).__name__}: {reason}", transient=unreachable, unreachable=unreachable)
