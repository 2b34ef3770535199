"""A registered model version, read from its MLflow tags."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mlflow.entities.model_registry import ModelVersion

# Tags of a version. RECORD, GATE and PROMOTION are JSON: one tag each, since the UI lists all of them. GATED is a
# prefix: of gated test splits. GATE has the figures of the last decision, PROMOTION who promoted the version by hand
# and why.
GATE, PROMOTION = "gate", "promoted_by_hand"
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
    gate : dict or None
        Last decision of the gate with its figures, see `write_decision`; None if there was none.
    promoted_by_hand : dict or None
        See `genreflow.registry.promotion.Promotion`.
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
    gate: dict[str, Any] | None = None
    promoted_by_hand: dict[str, Any] | None = None

    def to_dict(self) -> dict:
        return asdict(self)


def write_record(
    *, content_hash: str, model_id: str | None, metrics: Mapping[str, float], lineage: Mapping[str, str]
) -> str:
    """Return the value of the tag `RECORD`; metrics that are NaN or infinite are left out."""
    finite = {name: float(f"{value:.6g}") for name, value in metrics.items() if math.isfinite(value)}
    record = {"content_hash": content_hash, "model_id": model_id, "metrics": finite, "lineage": lineage}
    return json.dumps(record, sort_keys=True)


def write_decision(report: Mapping[str, Any]) -> str:
    """Return the value of the tag `GATE`: the figures of a gate's report, without its sentences and long lists.

    Parameters
    ----------
    report : mapping
        See `genreflow.registry.gate.GateReport.to_dict`.
    """
    figures = {name: _rounded(value) for name, value in report.items() if name not in ("reason", "comparison")}
    if compared := report["comparison"]:
        names = ("tracks", "excluded", "difference", "difference_low", "difference_high", "gained", "lost")
        figures["comparison"] = {name: _rounded(compared[name]) for name in names}
    return json.dumps(figures, sort_keys=True)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


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
        gate=json.loads(entry.tags[GATE]) if GATE in entry.tags else None,
        promoted_by_hand=json.loads(entry.tags[PROMOTION]) if PROMOTION in entry.tags else None,
    )
