"""Which tracks of a source are taken: those of the genres asked for, by our names, and not more of each than wanted."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from genreflow.datasets.labels import select_genres
from genreflow.datasets.request import Request
from genreflow.errors import ParameterError
from genreflow.manifest.track import Track


def choose(tracks: Iterable[Track], request: Request, *, where: str) -> list[Track]:
    """Return the tracks that `request` wants of a source; before they are brought, so that the others cost nothing.

    Parameters
    ----------
    tracks : iterable of Track
        All that the source has, not yet decoded.
    request : Request
        Its genres, genre map and cap.
    where : str
        The source, for messages.

    Raises
    ------
    ParameterError
        A genre is not there or is written in two ways, or too few are left.
    """
    tracks = list(tracks)
    if request.genre_map:
        there = {track.genre for track in tracks}
        if unknown := sorted(set(request.genre_map) - there):
            raise ParameterError(
                f"data.sources names the genres {', '.join(unknown)} of {where}, which has "
                f"{', '.join(sorted(there)) or 'none'}."
            )
        tracks = [
            replace(track, genre=request.genre_map[track.genre]) for track in tracks if track.genre in request.genre_map
        ]
    if not request.partial:
        tracks = select_genres(tracks, request.genres, where=where)
    elif request.genres:  # one part need not have all of them
        tracks = [track for track in tracks if track.genre in request.genres]
    if not tracks:
        raise ParameterError(f"{where} has no track of the genres asked for; leave it out of data.sources.")
    return capped(tracks, request.per_genre)


def capped(tracks: Iterable[Track], per_genre: int | None) -> list[Track]:
    """Return at most `per_genre` tracks of each genre, spread over as many groups (artists) as there are.

    Round by round, each group gives one track; hashes of the ids decide which track a group gives next and which
    groups come first in the last round. So the choice is the same on every machine and in any order of the tracks, and
    a track that is added takes the place of one at most in its genre, but for those of its own group.

    Parameters
    ----------
    tracks : iterable of Track
    per_genre : int > 0 or None
        None takes all.
    """
    if per_genre is None:
        return list(tracks)
    groups: dict[tuple[str, str], list[tuple[bytes, Track]]] = defaultdict(list)
    for track in tracks:
        groups[track.genre, track.group].append((hashlib.sha256(track.id.encode()).digest(), track))
    turns = defaultdict(list)
    for (genre, _), of_one in groups.items():
        of_one.sort(key=lambda hashed: hashed[0])
        turns[genre] += [(turn, *hashed) for turn, hashed in enumerate(of_one)]
    return [track for of_one in turns.values() for _, _, track in sorted(of_one, key=lambda t: t[:2])[:per_genre]]
