"""A registered model version, read from its MLflow tags."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

# Tags of a version. RECORD is JSON: one tag, since the UI lists all of them. GATED is a prefix: of gated test splits.
HASH, RECORD, ROLLED_BACK, GATED = "bundle_hash", "record", "rolled_back", "gated."
# Prefixes of tags that versions of genreflow before 0.2 wrote instead of RECORD.
METRIC, LINEAGE, CONTENT = "metric.", "lineage.", "bundle_content_hash"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered bundle.

    Parameters
    ----------
    version : str
    aliases : tuple of str
        ``candidate``, ``champion``.
    bundle_hash, content_hash : str
        See `genreflow.bundle.Bundle`.
    model_id : str or None
        Of the MLflow model; None if genreflow before 0.2 registered it.
    created : str
        ISO 8601, UTC.
    metrics : dict of str to float
    lineage : dict of str to str
    leaking : bool
        It was evaluated on a split that leaks; its metrics are optimistically biased.
    rolled_back : bool
        It was champion until it was rolled back.
    gated : dict of str to str
        Hash of each test split that the gate evaluated it on to ``promoted`` or ``not promoted``.
    """

    version: str
    aliases: tuple[str, ...]
    bundle_hash: str
    content_hash: str
    model_id: str | None
    created: str
    metrics: dict[str, float]
    lineage: dict[str, str]
    leaking: bool
    rolled_back: bool
    gated: dict[str, str]

    def to_dict(self) -> dict:
        return asdict(self)


def write_record(
    *, content_hash: str, model_id: str | None, metrics: Mapping[str, float], lineage: Mapping[str, str]
) -> str:
    """Return the value of the tag `RECORD`; metrics that are NaN or infinite are left out."""
    finite = {name: float(f"{value:.6g}") for name, value in metrics.items() if math.isfinite(value)}
    record = {"content_hash": content_hash, "model_id": model_id, "metrics": finite, "lineage": lineage}
    return json.dumps(record, sort_keys=True)


def read_version(entry: ModelVersion, aliases: Mapping[str, str] | None = None) -> Version:
    """Read a version from MLflow.

    Parameters
    ----------
    entry : mlflow.entities.model_registry.ModelVersion
    aliases : mapping of str to str, optional
        Alias to version, of the whole registered model.
    """

    def with_prefix(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in sorted(entry.tags.items()) if key.startswith(prefix)}

    record = {
        "content_hash": entry.tags.get(CONTENT, ""),
        "model_id": None,
        "metrics": with_prefix(METRIC),
        "lineage": with_prefix(LINEAGE),
    }
    record |= json.loads(entry.tags.get(RECORD, "{}"))
    return Version(
        version=str(entry.version),
        aliases=tuple(sorted(alias for alias, version in (aliases or {}).items() if version == str(entry.version))),
        bundle_hash=entry.tags.get(HASH, ""),
        content_hash=record["content_hash"],
        model_id=record["model_id"],
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        metrics={name: float(value) for name, value in record["metrics"].items()},
        lineage=record["lineage"],
        leaking=record["lineage"].get("leaking") == str(True),
        rolled_back=ROLLED_BACK in entry.tags,
        gated=with_prefix(GATED),
    )
