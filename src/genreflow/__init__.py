"""genreflow: from a folder of music to a served genre classifier."""

import os
import sys

if sys.platform == "win32":
    raise ImportError("genreflow runs on Linux and macOS; on Windows, install it in WSL (Windows Subsystem for Linux).")

# Usage statistics of the libraries below are off unless a user sets these variables. Each library reads its variable
# when it is imported or starts, and offers no other switch that works from inside a program.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")

__version__ = "0.2.0"
