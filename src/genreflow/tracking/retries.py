"""How long MLflow itself tries again to reach a server."""

import os

# MLflow's own retries of one request take four minutes, with pauses of up to two: a store that is back would be noticed
# long after, and one that is away would be reported as late. Environment variables are the only way to configure them.
REQUEST_LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def limit_retries() -> None:
    """Set those of `REQUEST_LIMITS` that are not in the environment, for this process and those that it starts."""
    for name, value in REQUEST_LIMITS.items():
        os.environ.setdefault(name, value)
