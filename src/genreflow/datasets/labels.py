"""Normalisation of genre and artist names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import resources

from genreflow.errors import ParameterError
from genreflow.manifest.track import GroupSource, Track, singleton_group


def _letters(text: str) -> str:
    """Return letters and digits without accents, so that "V.A.", "[va]" and "Vários", "varios" are equal."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if letter.isalnum())


def _read_placeholders() -> frozenset[str]:
    """Return the names in no_artist.txt; as artists they would group unrelated tracks."""
    text = resources.files(__package__).joinpath("no_artist.txt").read_text("utf-8")
    return frozenset(_letters(line) for line in text.splitlines() if not line.startswith("#"))


_NO_ARTIST = _read_placeholders()


def genre_key(name: str) -> str:
    """Normalise a genre name to its letters and digits, case-folded; spellings of one genre have equal keys."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", name).casefold() if letter.isalnum())


def artist_key(name: str | None) -> str | None:
    """Normalise an artist name, case-folded and with single spaces; None for placeholders such as "unknown"."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", name or "").casefold()).strip()
    return None if _is_placeholder(text) else text


def _is_placeholder(text: str) -> bool:
    letters = _letters(text)
    # Without letters: "-", "???", "[ ]", "n/a" have no name in them; "!!!" and "+/-" are bands.
    return letters in _NO_ARTIST if letters else not text.strip("-?_.–—<>[](){}*#/\\ ") and text != "+/-"


def with_artist(track: Track, name: str | None, source: GroupSource) -> Track:
    """Return `track` in the group of the artist `name`, or in a group of its own if `name` is a placeholder."""
    group = artist_key(name)
    if group is None:
        return replace(track, group=singleton_group(track.id), group_source="track")
    return replace(track, group=group, group_source=source)


def select_genres(tracks: Iterable[Track], genres: Sequence[str], *, where: str) -> list[Track]:
    """Return the tracks of a subset of the genres, after checking that a classifier can be trained on them.

    Parameters
    ----------
    tracks : iterable of Track
    genres : sequence of str
        Empty means all.
    where : str
        Name of the source for messages.

    Raises
    ------
    ParameterError
        A genre does not exist or has several spellings, or fewer than two are left.
    """
    by_genre: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        by_genre[track.genre].append(track)
    existing = ", ".join(sorted(by_genre))
    if genres:
        if unknown := sorted(set(genres) - set(by_genre)):
            raise ParameterError(
                f"data.genres: must be among the genres of {where}, {existing}; got {', '.join(unknown)}."
            )
        by_genre = {genre: by_genre[genre] for genre in genres}
    spellings: dict[str, list[str]] = defaultdict(list)
    for genre in sorted(by_genre):
        spellings[genre_key(genre) or genre].append(genre)
    for names in spellings.values():
        if len(names) > 1:
            raise ParameterError(
                f"{where}: each genre must have one spelling; got {' and '.join(map(repr, names))}. Rename one, or "
                "select one with data.genres."
            )
    if len(by_genre) < 2:
        selected = ", ".join(by_genre) or "none"
        hint = f" Select more of {existing} with data.genres." if genres else ""
        raise ParameterError(f"{where}: must have at least two genres to classify; got {selected}.{hint}")
    return [track for genre in by_genre for track in by_genre[genre]]
