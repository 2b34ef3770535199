"""MLflow: studies and trials as runs, the registry of bundles and the gate before it."""

import os

# MLflow reads them while it is imported; an own choice in the environment stands.
# A bar for each copy, and two links for each trial, are noise between the lines of a pipeline.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
