"""Select tracks of a source by genre and number, before they are copied and decoded."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from genreflow.datasets.labels import select_genres
from genreflow.datasets.options import IngestOptions
from genreflow.errors import ParameterError
from genreflow.manifest.track import Track


def select_tracks(tracks: Iterable[Track], options: IngestOptions, *, where: str) -> list[Track]:
    """Apply genre map, genre subset and maximum number of tracks per genre.

    Parameters
    ----------
    tracks : iterable of Track
        All tracks of the source, not yet decoded.
    options : IngestOptions
    where : str
        Name of the source for messages.

    Raises
    ------
    ParameterError
        A genre does not exist or has several spellings, or too few genres are left.
    """
    tracks = list(tracks)
    if options.genre_map:
        existing = {track.genre for track in tracks}
        if unknown := sorted(set(options.genre_map) - existing):
            raise ParameterError(
                f"data.sources: genres of {where} must be among {', '.join(sorted(existing)) or '(none)'}; got "
                f"{', '.join(unknown)}."
            )
        tracks = [
            replace(track, genre=options.genre_map[track.genre]) for track in tracks if track.genre in options.genre_map
        ]
    if not options.is_component:
        tracks = select_genres(tracks, options.genres, where=where)
    elif options.genres:
        tracks = [track for track in tracks if track.genre in options.genres]
    if not tracks:
        raise ParameterError(
            f"data.sources: {where} must have at least one track of the selected genres; got none. Remove it."
        )
    return limit_per_genre(tracks, options.per_genre)


def limit_per_genre(tracks: Iterable[Track], per_genre: int | None) -> list[Track]:
    """Return at most `per_genre` tracks of each genre, from as many groups (artists) as possible.

    Groups are drawn from round-robin; hashes of the track ids determine the order within a group, and which groups are
    drawn from in the last round. The selection is the same on every machine and for any order of the tracks. Adding a
    track replaces at most one other track of its genre, apart from tracks of its own group.

    Parameters
    ----------
    tracks : iterable of Track
    per_genre : int > 0 or None
        None means no limit.
    """
    if per_genre is None:
        return list(tracks)
    groups: dict[tuple[str, str], list[tuple[bytes, Track]]] = defaultdict(list)
    for track in tracks:
        groups[track.genre, track.group].append((hashlib.sha256(track.id.encode()).digest(), track))
    ranked: dict[str, list[tuple[int, bytes, Track]]] = defaultdict(list)
    for (genre, _), members in groups.items():
        members.sort(key=lambda member: member[0])
        ranked[genre] += [(number, digest, track) for number, (digest, track) in enumerate(members)]
    return [track for members in ranked.values() for _, _, track in sorted(members, key=lambda m: m[:2])[:per_genre]]
