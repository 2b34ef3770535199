"""The options that every source takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genreflow.datasets.cache import IngestCache
from genreflow.datasets.params import ComponentParams
from genreflow.datasets.track_table import TrackTable


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """Which tracks of a source are ingested, and how.

    Parameters
    ----------
    n_jobs : int
        Number of parallel jobs, as in joblib: -1 means one per core.
    progress : bool
        Show progress bars on stderr.
    genres : sequence of str
        Subset of the genres; empty means all.
    table : TrackTable or None
        The table named by `data.tracks`, if it has rows.
    subset : str or None
        Subset of a published dataset; None means detect.
    components : sequence of ComponentParams
        The sources of a combination.
    is_component : bool
        Whether the source is a component of a combination, which need not have all of `genres`.
    genre_map, per_genre
        Of a component, see `ComponentParams`.
    cache : IngestCache
    """

    n_jobs: int
    progress: bool
    genres: Sequence[str] = ()
    table: TrackTable | None = None
    subset: str | None = None
    components: Sequence[ComponentParams] = ()
    is_component: bool = False
    genre_map: Mapping[str, str] = field(default_factory=dict)
    per_genre: int | None = None
    cache: IngestCache = field(default_factory=IngestCache)

    def table_or(self, path: Path) -> tuple[TrackTable, list[str]]:
        """Return the table named by `data.tracks`, else that at `path`, else an empty one; and messages for users."""
        if self.table is not None:
            return self.table, []
        if path.is_file():
            note = f"{path.name} in the source folder was used; set data.tracks to have changes of it detected."
            return TrackTable.read(path), [note]
        return TrackTable(path), []


def read_table(path: Path | None) -> TrackTable | None:
    """Read the table named by `data.tracks`; None if there is none, or it has no rows."""
    table = TrackTable.read(path) if path is not None else None
    return table if table and table.rows else None
