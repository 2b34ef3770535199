"""The genre of a track of the FMA."""

from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from pathlib import Path

from genreflow.datasets.fma.tables import Genres, Row
from genreflow.datasets.options import IngestOptions
from genreflow.errors import ParameterError


class Unlabelled(Enum):
    """Why a track has no genre."""

    NONE = "none of the selected genres"
    SEVERAL = "several genres"


Labeller = Callable[[Row], str | Unlabelled]


def make_labeller(genres: Genres, options: IngestOptions, *, genres_file: Path) -> Labeller:
    """Return the function that gives the genre of a row of tracks.csv.

    Without a selection of genres, it is the top genre. With one (`data.genres`, or the genre map of a component), it is
    the selected genre, of any level, that the track or an ancestor of its genres has. If several match, ancestors of
    other matches do not count: a track of Metal is not labelled Rock.

    Raises
    ------
    ParameterError
        A selected genre does not exist.
    """
    selected = list(options.genre_map or options.genres)
    if not selected:
        return _top_genre
    if options.genre_map or not options.is_component:
        parameter = "data.sources" if options.is_component else "data.genres"
        _check_exist(selected, genres, genres_file, parameter=parameter)
    wanted = {genre: title for genre, title in genres.titles.items() if title in selected}
    ancestors = {genre: genres.ancestors(genre) for genre in genres.titles}

    def selected_genre(row: Row) -> str | Unlabelled:
        matches = {above for own in row.genres for above in ancestors.get(own, ()) if above in wanted}
        lowest = matches - {above for match in matches for above in ancestors[match][1:]}
        titles = sorted({wanted[match] for match in lowest})
        if len({options.genre_map.get(title, title) for title in titles}) > 1:
            return Unlabelled.SEVERAL
        return titles[0] if titles else Unlabelled.NONE

    return selected_genre


def _top_genre(row: Row) -> str | Unlabelled:
    return row.genre_top or (Unlabelled.SEVERAL if row.genres else Unlabelled.NONE)


def _check_exist(selected: list[str], genres: Genres, genres_file: Path, *, parameter: str) -> None:
    titles = set(genres.titles.values())
    unknown = [title for title in selected if title not in titles]
    if unknown:
        close = get_close_matches(unknown[0], sorted(titles), n=3, cutoff=0.4)
        similar = f" Similar genres are {', '.join(close)}." if close else ""
        raise ParameterError(
            f"{parameter}: genres of the FMA must be in {genres_file}; got {unknown[0]}.{similar} Top genres are "
            f"{', '.join(genres.top_titles)}."
        )
