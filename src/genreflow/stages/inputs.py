"""What several stages read: the data as it stands, and where results are tracked."""

from dataclasses import dataclass
from pathlib import Path

from genreflow.datasets.manifest import Manifest
from genreflow.datasets.split import Split
from genreflow.features.store import FeatureStore
from genreflow.stages import FEATURES, MANIFEST, SPLIT

PROJECT = Path()


@dataclass(frozen=True)
class Data:
    """Manifest, split and features of the project, as the stages before left them."""

    manifest: Manifest
    split: Split
    store: FeatureStore

    @classmethod
    def load(cls) -> "Data":
        return cls(Manifest.load(MANIFEST), Split.load(SPLIT), FeatureStore.open(FEATURES))

    @property
    def hashes(self) -> dict[str, str]:
        """What names this state of the data, for lineage and the names of studies."""
        return {
            "manifest_hash": self.manifest.hash,
            "split_hash": self.split.hash,
            "feature_key": self.store.spec.key,
        }

    def usable(self, track_ids: tuple[str, ...]) -> list:
        """Tracks that have features."""
        return [track for track in map(self.manifest.by_id.get, track_ids) if track.hash in self.store]
