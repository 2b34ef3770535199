"""Results of fits, one JSON file each; a second call of `reproduce` finds finished fits there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genreflow.files import read_json, write_json
from genreflow.models import MODELS
from genreflow.models.build import get_architecture
from genreflow.reproduction.tasks import KINDS, Kind

FOLDER = "records"


def read_record(folder: Path, system: str, kind: Kind) -> dict[str, Any] | None:
    """Read the record of a fit, finished or failed, on whatever data; None if there is none or it is unreadable."""
    try:
        return read_json(_path(folder, system, kind))
    except (OSError, ValueError):
        return None


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a fit, instead of a previous one of the same system and protocol."""
    write_json(_path(folder, record["system"], record["protocol"]), record)


def records_of(folder: Path, data: Mapping[str, str]) -> list[dict[str, Any]]:
    """All records of the data with these hashes, in the order of the registry."""
    found = [read_record(folder, system, kind) for system in MODELS for kind in KINDS]
    return [record for record in found if record is not None and record["data"] == data]


def failed_record(system: str, kind: Kind, reason: str, *, key: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The record of a fit that failed.

    Parameters
    ----------
    system : str
    kind : {"own", "group_disjoint"}
    reason : str
    key : str
        Of the task; empty if there is none.
    data : mapping of str to str
        Hashes of the project's data.
    """
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
