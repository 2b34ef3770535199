"""How the audio of each genre is divided between its tracks."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from genreflow.audit.faults import Fault, LargestTrack
from genreflow.audit.params import AuditParams
from genreflow.audit.recordings import display_name
from genreflow.features.store import FeatureStore
from genreflow.manifest.track import Track

# Of two or three similar tracks, one has more than the allowed share without being unusual: a track is only flagged if
# it is also so many times as long as the mean of the others.
MIN_RATIO = 3.0


def track_seconds(track: Track, store: FeatureStore | None) -> float | None:
    """Return the duration of a track [s]; that of imported spectrograms follows from the feature spec."""
    if track.duration is None and store is not None and track.hash is not None and track.hash in store:
        return store.spec.seconds(sum(store.lengths(track.hash)))
    return track.duration


def largest_tracks(tracks: Iterable[Track], store: FeatureStore | None) -> dict[str, LargestTrack]:
    """Return the longest track of each genre.

    Parameters
    ----------
    tracks : iterable of Track
        Those that are usable.
    store : FeatureStore or None
        For the durations of imported spectrograms, which are ignored without it.

    Returns
    -------
    dict of str to LargestTrack
        By genre, in alphabetical order; without the genres whose durations are unknown.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    for track in tracks:
        if duration := track_seconds(track, store):
            seconds[track.genre][track.id] = duration
    largest = {}
    for genre, of in sorted(seconds.items()):
        longest = max(of, key=lambda track_id: (of[track_id], track_id))
        largest[genre] = LargestTrack(longest, len(of), round(of[longest], 3), round(sum(of.values()), 3))
    return largest


def dominant_faults(
    largest: Mapping[str, LargestTrack], tracks: Mapping[str, Track], params: AuditParams
) -> Iterator[Fault]:
    """Yield a fault for each genre of whose audio one track has more than ``audit.track_share``.

    Parameters
    ----------
    largest : mapping of str to LargestTrack
        By genre.
    tracks : mapping of str to Track
        By id.
    params : AuditParams
    """
    for genre, track in largest.items():
        others = track.genre_seconds - track.seconds
        if track.share > params.track_share and track.seconds * (track.tracks - 1) > MIN_RATIO * others > 0:
            message = (
                f"{display_name(tracks[track.track])}: its share of the audio of {genre} must be <= audit.track_share "
                f"= {params.track_share:g} for tracks of similar weight; got {track.share:.2f}, {track.seconds:.0f} of "
                f"{track.genre_seconds:.0f} s."
            )
            yield Fault(track.track, "dominant", message, False)
