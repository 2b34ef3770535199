"""GTZAN's published faults beside what the audit sees of them."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from genreflow.datasets.gtzan.facts import TRACK_IDS, published_faults
from genreflow.manifest.track import Track

Seen = Literal["found", "in part", "not found"]


@dataclass(frozen=True)
class Published:
    """A published fault whose tracks are here.

    Parameters
    ----------
    kind : str
        As `genreflow.datasets.gtzan.facts.PublishedFault` has it.
    tracks : tuple of str
        Ids in the manifest of those tracks that are here.
    absent : int >= 0
        Tracks of the fault that are not.
    note, source : str
    seen : {"found", "in part", "not found"}
        Whether the audit sees it too: of a set of tracks that repeat each other, all, some or none; "" where that
        cannot be asked, since fewer than two of them are here.
    """

    kind: str
    tracks: tuple[str, ...]
    absent: int
    note: str
    source: str
    seen: Seen | Literal[""]


def published(
    tracks: Iterable[Track], clusters: Sequence[Sequence[str]], damaged: Container[str]
) -> tuple[Published, ...]:
    """Return the published faults of those tracks that are GTZAN's by their names; none where no track is.

    Parameters
    ----------
    tracks : iterable of Track
    clusters : sequence of sequences of str
        Ids of the tracks that share a recording, as `Audit` has them.
    damaged : container of str
        Ids of the tracks whose sound is faulty.
    """
    known = frozenset(TRACK_IDS)
    here = {name: track.id for track in tracks if (name := track.id.rpartition("/")[2]) in known}
    if not here:
        return ()
    cluster_of = {name: number for number, cluster in enumerate(clusters) for name in cluster}
    rows = []
    for fault in published_faults():
        ids = tuple(here[name] for name in fault.tracks if name in here)
        if not ids:
            continue
        seen = _together(ids, cluster_of) if len(fault.tracks) > 1 else _heard(ids[0], damaged)
        rows.append(Published(fault.kind, ids, len(fault.tracks) - len(ids), fault.note, fault.source, seen))
    return tuple(rows)


def _heard(name: str, damaged: Container[str]) -> Seen:
    return "found" if name in damaged else "not found"


def _together(ids: Sequence[str], cluster_of: dict[str, int]) -> Seen | Literal[""]:
    if len(ids) < 2:
        return ""
    clusters = [cluster_of[name] for name in ids if name in cluster_of]
    most = max(map(clusters.count, clusters), default=0)
    return "not found" if most < 2 else "found" if most == len(ids) else "in part"
