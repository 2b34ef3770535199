"""Groups that a split must keep together: artists, merged where they share a recording."""

from collections.abc import Iterable, Sequence

from genreflow.manifest.track import Track

# The name of a merged group lists at most this many of its members.
NAMED_MEMBERS = 3


def merged_groups(tracks: Sequence[Track], clusters: Iterable[Sequence[str]]) -> dict[str, str]:
    """Merge the groups that share a recording, so that a group-disjoint split is also recording-disjoint.

    Parameters
    ----------
    tracks : sequence of Track
        All tracks of the manifest, including those that are left out: an unused copy still connects two groups.
    clusters : iterable of sequence of str
        Ids of tracks that are the same recording, as in `Audit.clusters`; unknown ids are ignored. Tracks with equal
        hashes are the same recording in any case.

    Returns
    -------
    group_of : dict of str to str
        Group by track id. A group that shares no recording keeps its name; a merged group is named after its members
        in alphabetical order: ``a + b``, or ``a + b + c + 2 more``. The result does not depend on the order of
        `tracks` and `clusters`.
    """
    own = {track.id: track.group for track in tracks}
    groups_by_recording: dict[str, set[str]] = {}
    for track_id, recording in recording_of(tracks, clusters).items():
        groups_by_recording.setdefault(recording, set()).add(own[track_id])
    component = connected_components(groups_by_recording.values(), own.values())
    members: dict[str, list[str]] = {}
    for group in sorted(component):
        members.setdefault(component[group], []).append(group)
    return {track_id: _merged_name(members[component[group]]) for track_id, group in own.items()}


def recording_of(tracks: Sequence[Track], clusters: Iterable[Sequence[str]]) -> dict[str, str]:
    """Identify the recording of each track.

    Parameters
    ----------
    tracks, clusters
        See `merged_groups`.

    Returns
    -------
    recording_of : dict of str to str
        By track id, the alphabetically first id among the tracks of the same recording.
    """
    ids = {track.id for track in tracks}
    by_hash: dict[str, set[str]] = {}
    for track in tracks:
        if track.hash:
            by_hash.setdefault(track.hash, set()).add(track.id)
    return connected_components([*by_hash.values(), *(ids & set(cluster) for cluster in clusters)], ids)


def connected_components(sets: Iterable[Iterable[str]], items: Iterable[str]) -> dict[str, str]:
    """Return the connected component of each item, where items of the same set are connected (union-find).

    Returns
    -------
    component_of : dict of str to str
        By item, the alphabetically first item of its component.
    """
    parent = {item: item for item in items}

    def root(item: str) -> str:
        while parent[item] != item:
            parent[item] = parent[parent[item]]  # path halving
            item = parent[item]
        return item

    for connected in sets:
        roots = sorted(root(item) for item in connected)
        for other in roots[1:]:
            parent[other] = roots[0]
    return {item: root(item) for item in parent}


def _merged_name(members: list[str]) -> str:
    more = [f"{len(members) - NAMED_MEMBERS} more"] if len(members) > NAMED_MEMBERS else []
    return " + ".join([*members[:NAMED_MEMBERS], *more])
