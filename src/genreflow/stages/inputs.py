"""The data that several stages read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genreflow.errors import DamagedFileError, ParameterError
from genreflow.features.segments import count_segments
from genreflow.features.spec import FilterBank
from genreflow.features.store import FeatureStore
from genreflow.file_names import one_line
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part, Track
from genreflow.splits.split import Split
from genreflow.stages import FEATURES, FILTERS, MANIFEST, SPLIT

if TYPE_CHECKING:
    from genreflow.tracking.datasets import TrainingDataset


@dataclass(frozen=True)
class Data:
    """Manifest, split and features of the project."""

    manifest: Manifest
    split: Split
    store: FeatureStore

    @classmethod
    def load(cls, *, verify_features: bool = False) -> "Data":
        """Read the outs of the stages `ingest`, `split` and `featurize`.

        Parameters
        ----------
        verify_features : bool
            Verify all features now, for stages that take long; by default each shard when it is used first.

        Raises
        ------
        ParameterError
            One of them is missing or damaged, or the split is of another manifest.
        """
        data = cls(Manifest.load(MANIFEST), Split.load(SPLIT), FeatureStore.open(FEATURES))
        unknown = data.split.groups.keys() - data.manifest.by_id.keys()
        unknown |= set().union(*data.split.parts.values()) - data.split.groups.keys()
        if unknown:
            raise ParameterError(
                f"{SPLIT}: must divide the tracks of {MANIFEST}; got {one_line(min(unknown))}. Run `dvc repro split`."
            )
        if verify_features:
            data.store.verify()
        return data

    def load_filter_bank(self) -> FilterBank:
        """Read the filter bank that the features were computed with.

        Raises
        ------
        ParameterError
            It is missing or damaged, or belongs to other features.
        """
        path = FEATURES / FILTERS
        try:
            bank = FilterBank.load(path)
            bank.check(self.store.spec)
            return bank
        except ParameterError as error:
            prefix = "" if str(error).startswith(str(path)) else f"{path}: "
            raise DamagedFileError(path, f"{prefix}{error} `dvc repro featurize` writes it again.") from None

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes that identify the data, for lineage and the names of studies."""
        return {
            "manifest_hash": self.manifest.hash,
            "split_hash": self.split.hash,
            "feature_key": self.store.spec.key,
        }

    def dataset(self, path: Path) -> "TrainingDataset":
        """Return the data as an MLflow dataset; `path` is where they came from."""
        from genreflow.tracking.datasets import TrainingDataset

        return TrainingDataset(
            name=self.manifest.source,
            digest=f"{self.manifest.hash}-{self.split.hash}",
            source=str(path),
            profile={part: len(ids) for part, ids in self.split.parts.items()} | {"genres": list(self.manifest.genres)},
        )

    def usable(self, track_ids: Iterable[str]) -> list[Track]:
        """Return the tracks that have features."""
        tracks = [self.manifest.by_id[track_id] for track_id in track_ids]
        return [track for track in tracks if track.hash is not None and track.hash in self.store]

    def hashes_of(self, track_ids: Iterable[str]) -> list[str]:
        """Return the hashes of the tracks that have features, which are their keys in the feature store."""
        return [track.hash for track in self.usable(track_ids) if track.hash is not None]

    def segment_counts(self, part: Part, *, length: int, hop: int) -> dict[str, int]:
        """Count the segments of each track in a part.

        Parameters
        ----------
        part : {"train", "valid", "test"}
        length, hop : int > 0 [frames]

        Returns
        -------
        dict of str to int > 0
            By track ID, without the tracks that have no segment in the part.
        """
        mask, counts = self.split.segment_mask(part), {}
        for track in self.usable(self.split.parts[part]):
            key = track.hash or ""
            n = count_segments(self.store.lengths(key), length, hop)
            counts[track.id] = n if mask is None else int(mask(key, n).sum())
        return {track_id: n for track_id, n in counts.items() if n}
