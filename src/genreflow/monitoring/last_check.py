"""The file in which the last check for drift is, beside the log; the service shows it in its metrics."""

from datetime import datetime
from pathlib import Path

from genreflow.files import read_json

CHECK_FILE = "drift.json"
CHECK_FORMAT = 1


def read_last_check(path: Path, bundle_hash: str) -> tuple[bool, float] | None:
    """Return whether the last check of a model found drift, and when it was [s since the epoch].

    None if there was no check of this model, or its file cannot be read.
    """
    try:
        content = read_json(path)
        if content["format"] != CHECK_FORMAT or content["model"]["hash"] != bundle_hash:
            return None
        return bool(content["drift"]), datetime.fromisoformat(content["checked"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None
