"""Tracks that are the same recording, and the faults that follow: duplicates and conflicting labels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.faults import Fault
from genreflow.manifest.groups import recording_of
from genreflow.manifest.track import Track

_MAX_NAMED = 6  # tracks of a cluster that a message lists


def recording_clusters(tracks: Sequence[Track], pairs: Iterable[NearDuplicate]) -> tuple[tuple[str, ...], ...]:
    """Return the ids of the tracks that are the same recording.

    Parameters
    ----------
    tracks : sequence of Track
        Tracks with equal hashes are the same recording.
    pairs : iterable of NearDuplicate
        Near-duplicates among these tracks.

    Returns
    -------
    clusters : tuple of tuple of str
        Connected components with two or more ids each; sorted and disjoint.
    """
    recordings = recording_of(tracks, [(pair.first, pair.second) for pair in pairs])
    members = defaultdict(list)
    for track_id in sorted(recordings):
        members[recordings[track_id]].append(track_id)
    return tuple(sorted(tuple(ids) for ids in members.values() if len(ids) > 1))


def known_recordings(tracks: Sequence[Track], pairs: Sequence[NearDuplicate]) -> dict[str, str]:
    """Find the corrections whose recording is among the other tracks, directly or as a copy of another correction.

    Parameters
    ----------
    tracks, pairs
        See `recording_clusters`.

    Returns
    -------
    dict of str to str
        By id of each such correction, the first id of the other tracks with its recording.
    """
    by_id = {track.id: track for track in tracks}
    found = {}
    for cluster in recording_clusters(tracks, pairs):
        others = [track_id for track_id in cluster if not by_id[track_id].train_only]
        if others:
            found.update(dict.fromkeys((track_id for track_id in cluster if by_id[track_id].train_only), others[0]))
    return found


def known_recording_faults(known: Mapping[str, str], by_id: Mapping[str, Track]) -> Iterator[Fault]:
    """Yield the faults of the corrections that `known_recordings` found."""
    for correction, other in known.items():
        message = (
            f"{correction} ({by_id[correction].genre}) is the same recording as {display_name(by_id[other])} "
            f"({by_id[other].genre}), which is kept."
        )
        yield Fault(correction, "known_recording", message, True)


def recording_faults(
    tracks: Sequence[Track], clusters: Iterable[Sequence[str]], pairs: Iterable[NearDuplicate]
) -> Iterator[Fault]:
    """Yield the faults of tracks that are the same recording.

    If the tracks of a cluster have different genres, all are left out. Of exact duplicates one is kept: the first that
    is in a published split, else the first. Near-duplicates are all kept, since a split keeps them together.
    """
    by_id = {track.id: track for track in tracks}
    conflicting: set[str] = set()
    for cluster in clusters:
        if len({by_id[track_id].genre for track_id in cluster}) > 1:
            conflicting.update(cluster)
            yield from _conflicting_labels([by_id[track_id] for track_id in cluster])
    kept: dict[str | None, Track] = {}
    for track in sorted(tracks, key=lambda track: track.split is None):
        original = kept.setdefault(track.hash, track)
        if original is not track and track.id not in conflicting:
            message = f"{display_name(track)} is an exact duplicate of {display_name(original)}, which is kept."
            yield Fault(track.id, "duplicate", message, True)
    for pair in pairs:
        if pair.first not in conflicting:
            message = near_duplicate_message(pair, by_id[pair.first], by_id[pair.second])
            yield Fault(pair.second, "near_duplicate", message, False)


def _conflicting_labels(cluster: Sequence[Track]) -> Iterator[Fault]:
    exact = len({track.hash for track in cluster}) == 1
    subject = "Exact duplicates" if exact else "Copies of one recording"
    names = ", ".join(f"{track.id} ({track.genre})" for track in cluster[:_MAX_NAMED])
    more = f" and {len(cluster) - _MAX_NAMED} more" if len(cluster) > _MAX_NAMED else ""
    message = f"{subject} have different genres: {names}{more}."
    for track in cluster:
        yield Fault(track.id, "conflicting_labels", message, True)


def near_duplicate_message(pair: NearDuplicate, first: Track, second: Track) -> str:
    """Describe how the second track of a pair differs from the first: similarity, offset and speed."""
    words = [f"similarity {pair.similarity:.2f}"]
    if abs(pair.offset) >= 0.05:
        words.append(f"{abs(pair.offset):.2f} s {'later' if pair.offset > 0 else 'earlier'}")
    if abs(pair.speed - 1) >= 0.0005:
        words.append(f"speed {pair.speed:.3f}")
    return f"{display_name(second)} is a near-duplicate of {display_name(first)}: {', '.join(words)}."


def display_name(track: Track) -> str:
    """Return the name of a track in messages: its file, or its id where several tracks share a file."""
    return track.path if track.entries is None else track.id
