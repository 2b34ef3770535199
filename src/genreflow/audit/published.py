"""Compare the published faults of GTZAN with what the audit finds."""

from collections.abc import Container, Iterable, Mapping, Sequence

from genreflow.audit.faults import PublishedFaultCheck, Seen
from genreflow.datasets.gtzan.facts import TRACK_IDS, published_faults
from genreflow.manifest.track import Track


def check_published_faults(
    tracks: Iterable[Track], clusters: Sequence[Sequence[str]], damaged: Container[str]
) -> tuple[PublishedFaultCheck, ...]:
    """Check the published faults of those tracks that belong to GTZAN according to their names.

    Parameters
    ----------
    tracks : iterable of Track
    clusters : sequence of sequence of str
        Ids of tracks that are the same recording, see `Audit`.
    damaged : container of str
        Ids of tracks in whose audio the audit finds a fault.

    Returns
    -------
    tuple of PublishedFaultCheck
        Empty if no track belongs to GTZAN.
    """
    gtzan_ids = frozenset(TRACK_IDS)
    present = {name: track.id for track in tracks if (name := track.id.rpartition("/")[2]) in gtzan_ids}
    if not present:
        return ()
    cluster_of = {name: number for number, cluster in enumerate(clusters) for name in cluster}
    checks = []
    for fault in published_faults():
        ids = tuple(present[name] for name in fault.tracks if name in present)
        if not ids:
            continue
        seen: Seen
        if len(fault.tracks) > 1:
            seen = _repetition_found(ids, cluster_of)
        else:
            seen = "found" if ids[0] in damaged else "not found"
        checks.append(
            PublishedFaultCheck(fault.kind, ids, len(fault.tracks) - len(ids), fault.note, fault.source, seen)
        )
    return tuple(checks)


def _repetition_found(ids: Sequence[str], cluster_of: Mapping[str, int]) -> Seen:
    """Compare the largest number of `ids` in one cluster with all of them."""
    if len(ids) < 2:
        return ""
    clusters = [cluster_of[name] for name in ids if name in cluster_of]
    largest = max(map(clusters.count, clusters), default=0)
    if largest < 2:
        return "not found"
    return "found" if largest == len(ids) else "in part"
