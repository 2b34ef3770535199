"""What a split must keep whole: artists, and the artists that share a recording."""

from collections.abc import Iterable, Sequence

from genreflow.manifest.track import Track

# A merged group is named after this many of its artists.
NAMED = 3


def merged_groups(tracks: Sequence[Track], clusters: Iterable[Sequence[str]]) -> dict[str, str]:
    """Join the groups that share a recording: dividing them would put it on two sides.

    Parameters
    ----------
    tracks : sequence of Track
        Those that are left out too: a copy that is not used still says that two groups belong together.
    clusters : iterable of sequences of str
        Ids of tracks that are the same recording, as `Audit.clusters`; ids of other tracks are ignored. Tracks of equal
        hash are the same recording in any case.

    Returns
    -------
    group_of : dict of str to str
        By the track's id. A group that shares nothing keeps its name; merged ones are called after their members in
        alphabetical order, ``a + b`` (``a + b + c + 2 more``). The order of tracks and clusters makes no difference.
    """
    own = {track.id: track.group for track in tracks}
    sharing: dict[str, set[str]] = {}
    for track_id, recording in recordings(tracks, clusters).items():
        sharing.setdefault(recording, set()).add(own[track_id])
    first = joined(sharing.values(), own.values())
    members: dict[str, list[str]] = {}
    for group in sorted(first):
        members.setdefault(first[group], []).append(group)
    return {track_id: _name(members[first[group]]) for track_id, group in own.items()}


def recordings(tracks: Sequence[Track], clusters: Iterable[Sequence[str]]) -> dict[str, str]:
    """Say which tracks are the same recording: by id, the first of the ids (in alphabetical order) that share it.

    Parameters
    ----------
    tracks, clusters
        As in `merged_groups`.
    """
    ids = {track.id for track in tracks}
    by_hash: dict[str, set[str]] = {}
    for track in tracks:
        if track.hash:
            by_hash.setdefault(track.hash, set()).add(track.id)
    return joined([*by_hash.values(), *(ids & set(cluster) for cluster in clusters)], ids)


def joined(sets: Iterable[Iterable[str]], items: Iterable[str]) -> dict[str, str]:
    """Connect items that share a set, transitively.

    Returns
    -------
    first : dict of str to str
        Of each item, the first (in alphabetical order) of all that it is connected with.
    """
    parent = {item: item for item in items}

    def root(item: str) -> str:
        while parent[item] != item:
            parent[item] = parent[parent[item]]  # halve the way for the next one who asks
            item = parent[item]
        return item

    for connected in sets:
        roots = sorted(root(item) for item in connected)
        for other in roots[1:]:
            parent[other] = roots[0]
    return {item: root(item) for item in parent}


def _name(members: list[str]) -> str:
    more = [f"{len(members) - NAMED} more"] if len(members) > NAMED else []
    return " + ".join([*members[:NAMED], *more])
