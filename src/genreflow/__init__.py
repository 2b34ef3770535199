"""genreflow: from a folder of music to a served genre classifier."""

import os

# Nobody's music or habits are reported anywhere; a person who wants to may set these otherwise.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")

__version__ = "0.1.0"
