"""MLflow: studies and trials as runs, the registry of bundles and the gate before it."""

import os

# MLflow reads it while it is imported; an own choice in the environment stands.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A bar for a copy that takes a tenth of a second is noise between the lines of a pipeline.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
