"""Tracks that may only be in train: which of them can, without leakage."""

from collections.abc import Iterable, Mapping, Sequence

from genreflow.manifest.groups import merged_groups, recording_of
from genreflow.manifest.track import Track


def groups_without(tracks: Sequence[Track], clusters: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the merged groups of all tracks, such that tracks that may only be in train merge no other groups.

    Otherwise a correction of a listener could move an artist from test to train.

    Parameters
    ----------
    tracks : sequence of Track
        All tracks of the manifest.
    clusters : sequence of sequence of str
        See `genreflow.manifest.groups.merged_groups`.

    Returns
    -------
    group_of : dict of str to str
        Group by track id.
    """
    ordinary = [track for track in tracks if not track.train_only]
    groups = merged_groups(ordinary, clusters)
    if len(ordinary) == len(tracks):
        return groups
    merged_name = {track.group: groups[track.id] for track in ordinary}
    others = [track for track in tracks if track.train_only]
    own = merged_groups([track for track in others if track.group not in merged_name], clusters)
    return groups | {track.id: merged_name.get(track.group) or own[track.id] for track in others}


def conflicts(
    tracks: Sequence[Track],
    clusters: Iterable[Sequence[str]],
    groups: Mapping[str, str],
    held_out: Iterable[str],
) -> dict[str, tuple[str, ...]]:
    """Find the tracks that may only be in train, and cannot be there: they are connected to held-out tracks.

    Parameters
    ----------
    tracks : sequence of Track
        All tracks of the manifest.
    clusters : iterable of sequence of str
        See `genreflow.manifest.groups.recording_of`.
    groups : mapping of str to str
        Of `groups_without`.
    held_out : iterable of str
        Ids of the tracks in valid and test.

    Returns
    -------
    dict of str to tuple of str
        By id of each such track, the groups of held-out tracks with its artist or a copy of its recording, sorted. Of
        an artist who has no other tracks, a copy among held-out tracks excludes all.
    """
    held_out_groups = {groups[track_id] for track_id in held_out}
    recordings = recording_of(tracks, clusters)
    of_recording: dict[str, set[str]] = {}
    for track_id in held_out:
        of_recording.setdefault(recordings[track_id], set()).add(groups[track_id])
    ordinary = {groups[track.id] for track in tracks if not track.train_only}
    found: dict[str, set[str]] = {}  # by group of tracks that may only be in train
    own: dict[str, set[str]] = {}  # by track
    for track in (track for track in tracks if track.train_only):
        group = groups[track.id]
        own[track.id] = of_recording.get(recordings[track.id], set()) | ({group} & held_out_groups)
        found.setdefault(group, set()).update(own[track.id])
    touched = {
        track_id: touching if groups[track_id] in ordinary else touching | found[groups[track_id]]
        for track_id, touching in own.items()
    }
    return {track_id: tuple(sorted(touching)) for track_id, touching in touched.items() if touching}
