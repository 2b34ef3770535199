"""Names of genres and artists: which are the same, which were asked for, which say nothing."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from genreflow.errors import ParameterError
from genreflow.manifest.track import Track, singleton_group

# What people and taggers write where they know no artist; taken as an artist, it would tie unrelated tracks together.
_NO_ARTIST = frozenset(
    (
        "",
        "-",
        "?",
        "n/a",
        "na",
        "none",
        "null",
        "unknown",
        "unknown artist",
        "artist",
        "va",
        "various",
        "various artists",
    )
)


def genre_key(name: str) -> str:
    """Return what two spellings of one genre share: letters and digits alone, case folded."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", name).casefold() if letter.isalnum())


def artist_key(name: str | None) -> str | None:
    """Return the name that an artist's group gets: case folded, blanks single; None where it names nobody."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", name or "").casefold()).strip()
    return None if text in _NO_ARTIST else text


def with_artist(track: Track, name: str | None, source: str) -> Track:
    """Return `track` in the group of the artist `name`, found in `source`; alone where the name says nothing."""
    group = artist_key(name)
    if group is None:
        return replace(track, group=singleton_group(track.id), group_source="track")
    return replace(track, group=group, group_source=source)


def select_genres(tracks: Iterable[Track], wanted: Sequence[str] | None, *, where: str) -> list[Track]:
    """Return the tracks of the genres `wanted`, or all, once it is sure that these make a classification.

    Parameters
    ----------
    tracks : iterable of Track
    wanted : sequence of str or None
    where : str
        The source, for messages.

    Raises
    ------
    ParameterError
        A genre is not there, is written in two ways, or fewer than two are left.
    """
    by_genre: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        by_genre[track.genre].append(track)
    there = ", ".join(sorted(by_genre))
    if wanted:
        unknown = sorted(set(wanted) - set(by_genre))
        if unknown:
            raise ParameterError(f"data.genres names {', '.join(unknown)}, but the genres of {where} are: {there}.")
        by_genre = {genre: by_genre[genre] for genre in wanted}
    spellings: dict[str, list[str]] = defaultdict(list)
    for genre in sorted(by_genre):
        spellings[genre_key(genre) or genre].append(genre)
    for names in spellings.values():
        if len(names) > 1:
            raise ParameterError(
                f"{where} spells one genre in {len(names)} ways: {' and '.join(map(repr, names))}; give their tracks "
                "one name, or choose one of them with data.genres."
            )
    if len(by_genre) < 2:
        number = f"one genre, {next(iter(by_genre))}" if by_genre else "no genre"
        choice = f"; of {there}, choose more with data.genres" if wanted else ""
        raise ParameterError(f"{where} gives {number}; a classifier needs at least two{choice}.")
    return [track for genre in by_genre for track in by_genre[genre]]
