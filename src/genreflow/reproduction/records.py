"""What is finished, as one JSON file a fit: the memory of a reproduction between two calls."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from genreflow.files import read_json, write_json
from genreflow.models import MODELS
from genreflow.models.build import get_architecture
from genreflow.reproduction.tasks import KINDS, Kind

FOLDER = "records"


def read_record(folder: Path, system: str, kind: Kind) -> dict | None:
    """The record of a fit, finished or failed, whatever data it is of; None where there is none."""
    try:
        return read_json(_path(folder, system, kind))
    except (OSError, ValueError):
        return None


def write_record(folder: Path, record: dict) -> None:
    """Keep the record of a fit, in place of the one before."""
    write_json(_path(folder, record["system"], record["protocol"]), record)


def records_of(folder: Path, data: Mapping[str, str]) -> list[dict]:
    """All records of these data (hashes), also those of systems that were not asked for this time."""
    found = [read_record(folder, system, kind) for system in MODELS for kind in KINDS]
    return [record for record in found if record is not None and record["data"] == data]


def failure(system: str, kind: Kind, reason: str, *, key: str, data: Mapping[str, str]) -> dict:
    """The record of a fit that came to nothing, for `reason`."""
    return {
        "system": system,
        "protocol": kind,
        "key": key,
        "status": "failed",
        "reason": " ".join(reason.split()),
        "reported": get_architecture(system).reported,
        "data": dict(data),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _path(folder: Path, system: str, kind: Kind) -> Path:
    return folder / FOLDER / f"{system}-{kind}.json"
