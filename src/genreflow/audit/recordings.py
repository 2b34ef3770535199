"""Which tracks are one recording: exact copies, near-duplicates, and what both say about labels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.faults import Fault
from genreflow.manifest import groups
from genreflow.manifest.track import Track

_NAMED = 6  # tracks of a cluster that a message names


def recordings(tracks: Sequence[Track], pairs: Iterable[NearDuplicate]) -> tuple[tuple[str, ...], ...]:
    """Return the ids of the tracks that share a recording, directly or through others.

    Parameters
    ----------
    tracks : sequence of Track
        Those with the same hash are the same.
    pairs : iterable of NearDuplicate
        Of these tracks.

    Returns
    -------
    clusters : tuple of tuple of str
        Two or more ids each; sorted, and each id in one cluster only.
    """
    same = groups.recording_of(tracks, [(pair.first, pair.second) for pair in pairs])
    members = defaultdict(list)
    for name in sorted(same):
        members[same[name]].append(name)
    return tuple(sorted(tuple(names) for names in members.values() if len(names) > 1))


def recording_faults(
    tracks: Sequence[Track], clusters: Iterable[Sequence[str]], pairs: Iterable[NearDuplicate]
) -> Iterator[Fault]:
    """Yield what is wrong with tracks that share a recording.

    Tracks of one recording under several genres are all left out. Of exact copies one is kept: the first that a
    published split names, else the first; near-duplicates are all kept, since a split keeps them together.
    """
    of = {track.id: track for track in tracks}
    conflicting = set()
    for cluster in clusters:
        if len({of[name].genre for name in cluster}) > 1:
            conflicting.update(cluster)
            yield from _conflict([of[name] for name in cluster])
    kept: dict[str, Track] = {}
    for track in sorted(tracks, key=lambda track: track.split is None):
        twin = kept.setdefault(track.hash, track)
        if twin is not track and track.id not in conflicting:
            message = f"{name_of(track)} is the same recording as {name_of(twin)}, which is kept."
            yield Fault(track.id, "duplicate", message, True)
    for pair in pairs:
        if pair.first not in conflicting:
            message = near_duplicate_message(pair, of[pair.first], of[pair.second])
            yield Fault(pair.second, "near_duplicate", message, False)


def _conflict(cluster: Sequence[Track]) -> Iterator[Fault]:
    exact = len({track.hash for track in cluster}) == 1
    what = "The same recording has" if exact else "The same recording, or nearly so, has"
    named = ", ".join(f"{track.id} ({track.genre})" for track in cluster[:_NAMED])
    more = f" and {len(cluster) - _NAMED} more" if len(cluster) > _NAMED else ""
    for track in cluster:
        message = f"{what} different genres: {named}{more}; which one is right cannot be told."
        yield Fault(track.id, "conflicting_labels", message, True)


def near_duplicate_message(pair: NearDuplicate, first: Track, second: Track) -> str:
    """Say in what the second of a pair differs from the first, as in "97 % alike, 0.70 s later"."""
    words = [f"{100 * pair.similarity:.0f} % alike"]
    if abs(pair.offset) >= 0.05:
        words.append(f"{abs(pair.offset):.2f} s {'later' if pair.offset > 0 else 'earlier'}")
    if abs(pair.speed - 1) >= 0.0005:
        words.append(f"at {pair.speed:.3f} of its speed")
    return f"{name_of(second)} is nearly the same as {name_of(first)}: {', '.join(words)}."


def name_of(track: Track) -> str:
    """Return what people know a track by: its file, or its name where many share one."""
    return track.path if track.entries is None else track.id
