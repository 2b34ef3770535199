"""A version of the registry, as its tags tell it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

# Tags of a version. Figures, lineage and the gate's verdict on a test split have a prefix and a name of their own.
HASH, WITHDRAWN, METRIC, LINEAGE, GATED = "bundle_hash", "rolled_back", "metric.", "lineage.", "gated."


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered bundle.

    Parameters
    ----------
    version : str
    aliases : tuple of str
        ``candidate``, ``champion``.
    bundle_hash : str
    created : str
        ISO 8601, UTC.
    metrics : dict of str to float
    lineage : dict of str to str
    leaking : bool
        Its split leaks, so that its metrics flatter.
    rolled_back : bool
        Someone went back from it.
    gated : dict of str to str
        Hash of a test split to what the gate did with it there: ``promoted`` or ``kept out``.
    """

    version: str
    aliases: tuple[str, ...]
    bundle_hash: str
    created: str
    metrics: dict[str, float]
    lineage: dict[str, str]
    leaking: bool
    rolled_back: bool
    gated: dict[str, str]

    def to_dict(self) -> dict:
        return asdict(self)


def read_version(entry: ModelVersion, aliases: Mapping[str, str] | None = None) -> Version:
    """What MLflow holds of a version; `aliases` are those of the model, each with the version it points to."""

    def under(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in sorted(entry.tags.items()) if key.startswith(prefix)}

    return Version(
        version=str(entry.version),
        aliases=tuple(sorted(alias for alias, version in (aliases or {}).items() if version == str(entry.version))),
        bundle_hash=entry.tags.get(HASH, ""),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        metrics={name: float(value) for name, value in under(METRIC).items()},
        lineage=under(LINEAGE),
        leaking=entry.tags.get(f"{LINEAGE}leaking") == str(True),
        rolled_back=WITHDRAWN in entry.tags,
        gated=under(GATED),
    )
