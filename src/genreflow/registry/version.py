"""A registered model version, read from its MLflow tags."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion

# Tags of a version; the last three are prefixes: of each metric, each item of lineage, and each gated test split.
HASH, CONTENT = "bundle_hash", "bundle_content_hash"
ROLLED_BACK, METRIC, LINEAGE, GATED = "rolled_back", "metric.", "lineage.", "gated."


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
        It was evaluated on a split that leaks; its metrics are optimistically biased.
    rolled_back : bool
        It was champion until it was rolled back.
    gated : dict of str to str
        Hash of each test split that the gate evaluated it on to ``promoted`` or ``not promoted``.
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
    """Read a version from MLflow.

    Parameters
    ----------
    entry : mlflow.entities.model_registry.ModelVersion
    aliases : mapping of str to str, optional
        Alias to version, of the whole registered model.
    """

    def with_prefix(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in sorted(entry.tags.items()) if key.startswith(prefix)}

    return Version(
        version=str(entry.version),
        aliases=tuple(sorted(alias for alias, version in (aliases or {}).items() if version == str(entry.version))),
        bundle_hash=entry.tags.get(HASH, ""),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        metrics={name: float(value) for name, value in with_prefix(METRIC).items()},
        lineage=with_prefix(LINEAGE),
        leaking=entry.tags.get(f"{LINEAGE}leaking") == str(True),
        rolled_back=ROLLED_BACK in entry.tags,
        gated=with_prefix(GATED),
    )
