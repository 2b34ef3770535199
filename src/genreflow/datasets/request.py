"""What every source is asked for, and what it may reuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from genreflow.datasets.importing import fingerprint
from genreflow.datasets.track_table import TrackTable
from genreflow.errors import ParameterError
from genreflow.files import read_json, write_json
from genreflow.manifest.manifest import Manifest

# Facts that decoding gives: those of an unchanged file need not be measured again.
_MEASURED = (
    "duration", "declared_duration", "undeclared_duration", "hash", "sample_rate", "declared_sample_rate", "channels",
    "peak", "rms", "clipped",
)  # fmt: skip


def index_of(manifest_path: Path) -> Path:
    """Return where the fingerprints of the user's files are kept.

    Not in the copies' own times, which DVC does not keep, nor in the manifest, which is the same on every machine.
    """
    return Path(manifest_path).with_name(".ingested.json")


def write_index(manifest: Manifest, brought: Mapping[str, tuple[int, int]], manifest_path: Path) -> None:
    """Keep the fingerprints of those of the files `brought` that are tracks, for the next run."""
    hashes = {track.path: track.hash for track in manifest.tracks if track.hash}
    index = {path: [*facts, hashes[path]] for path, facts in brought.items() if path in hashes}
    if index:
        write_json(index_of(manifest_path), index)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One of the sources of a combination.

    Parameters
    ----------
    source : str
        Its name.
    path : Path
        Where it lies, below the folder of the combination.
    subset : str or None
        Which part of a published dataset.
    genres : mapping of str to str
        Their genres to ours; those not named are left out, an empty mapping keeps all as they are.
    per_genre : int > 0 or None
        At most so many tracks of each of our genres.
    """

    # pydantic's, where params.yaml is checked against this class; an unknown key must not pass
    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    source: str
    path: Path
    subset: str | None = None
    genres: Mapping[str, str] = field(default_factory=dict)
    per_genre: int | None = None

    def __post_init__(self) -> None:
        if self.per_genre is not None and self.per_genre < 1:
            raise ParameterError(
                f"data.sources: per_genre of {self.source} is {self.per_genre}; at least 1, or null, is right."
            )


@dataclass(frozen=True, kw_only=True)
class Request:
    """The part of an ingest that does not depend on the kind of source.

    Parameters
    ----------
    genres : sequence of str or None
        Subset wanted; None is all.
    table : TrackTable or None
        The tracks.csv that was named, if it has rows.
    earlier : Path or None
        Raw data of the previous run.
    known : mapping of str to dict
        Measured facts of the previous run, by path below `earlier`.
    ingested : mapping of str to list
        Size, time of change and hash of the audio of the user's files when they were last brought here, by path.
    brought : dict of str to (int, int)
        The same without hash of those brought now, filled on the way.
    subset : str or None
        Which part of a published dataset; None is what is there.
    components : sequence of Component
        Of a combination, what it combines.
    partial : bool
        Asked for a part of a combination, which need not have all of `genres`.
    genre_map, per_genre
        Of such a part, as `Component` has them.
    n_jobs : int
        As joblib takes it: -1 is all cores.
    progress : bool
        Show a bar on stderr.
    """

    genres: Sequence[str] | None = None
    table: TrackTable | None = None
    earlier: Path | None = None
    known: Mapping[str, dict] = field(default_factory=dict)
    ingested: Mapping[str, list] = field(default_factory=dict)
    brought: dict[str, tuple[int, int]] = field(default_factory=dict)
    subset: str | None = None
    components: Sequence[Component] = ()
    partial: bool = False
    genre_map: Mapping[str, str] = field(default_factory=dict)
    per_genre: int | None = None
    n_jobs: int = -1
    progress: bool = True

    @classmethod
    def with_table(cls, tracks_csv: Path | None, **fields) -> "Request":
        """Build a request with the table at `tracks_csv`, which counts as none when it has no rows."""
        table = TrackTable.read(tracks_csv) if tracks_csv is not None else None
        return cls(table=table if table and table.rows else None, **fields)

    def reusing(self, raw_dir: Path, manifest_path: Path) -> "Request":
        """Return a request that may reuse what an earlier run left."""
        try:
            tracks = Manifest.load(manifest_path).tracks
        except ParameterError:  # none yet, or of another version
            return self
        # What failed is tried again: a decoder may have been installed since.
        known = {
            track.path: {name: getattr(track, name) for name in _MEASURED} for track in tracks if track.error is None
        }
        try:
            ingested = read_json(index_of(manifest_path))
        except (OSError, ValueError):
            ingested = {}
        return replace(self, earlier=Path(raw_dir), known=known, ingested=ingested)

    def facts_of(self, path: str, original: Path) -> dict | None:
        """Return what is known of a file that has not changed since it was brought here, else None; note that it comes.

        The hash tells whether the raw data are still those of that time: DVC may have checked out others since.
        """
        known = self.known.get(path)
        self.brought[path] = fingerprint(original)
        now = [*self.brought[path], known and known["hash"]]
        return known if known and self.ingested.get(path) == now else None

    def table_near(self, path: Path) -> tuple[TrackTable, list[str]]:
        """Return the table that was named, else the one at `path`, else an empty one; and notes."""
        if self.table is not None:
            return self.table, []
        if path.is_file():
            note = f"{path.name} beside the source was used; name it in data.tracks, so that its changes are noticed."
            return TrackTable.read(path), [note]
        return TrackTable(path), []
