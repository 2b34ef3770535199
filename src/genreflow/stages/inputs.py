"""What several stages read: the data as it stands, and where results are tracked."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genreflow.features.segments import count_segments
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part, Track
from genreflow.splits.split import Split
from genreflow.stages import FEATURES, MANIFEST, SPLIT

if TYPE_CHECKING:
    from genreflow.tracking.lineage import Lineage

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

    def lineage(self, path: Path) -> "Lineage":
        """The data as MLflow shows them beside a run; `path` is where they came from."""
        from genreflow.tracking.lineage import Lineage

        return Lineage(
            name=self.manifest.source,
            digest=f"{self.manifest.hash}-{self.split.hash}",
            source=str(path),
            facts={part: len(ids) for part, ids in self.split.parts.items()} | {"genres": list(self.manifest.genres)},
        )

    def usable(self, track_ids: tuple[str, ...]) -> list[Track]:
        """Tracks that have features."""
        return [track for track in map(self.manifest.by_id.get, track_ids) if track.hash in self.store]

    def segments_of(self, part: Part, *, length: int, hop: int) -> dict[str, int]:
        """Segments of `length` frames that a part has, by the id of its tracks; those that have none are left out."""
        chosen, found = self.split.segment_mask(part), {}
        for track in self.usable(self.split.parts[part]):
            n = count_segments(self.store.lengths(track.hash), length, hop)
            found[track.id] = n if chosen is None else int(chosen(track.hash, n).sum())
        return {track_id: n for track_id, n in found.items() if n}
