"""The tables of the FMA: tracks.csv and genres.csv."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genreflow.datasets.fma import archives
from genreflow.errors import ParameterError
from genreflow.files import parse_json, require_regular

_COLUMNS = (
    ("track", "genre_top"), ("track", "genres"), ("artist", "id"), ("artist", "name"), ("set", "split"),
    ("set", "subset"),
)  # fmt: skip
_FIELD_LIMIT = 1 << 24  # characters; some biographies exceed the default of the csv module


class Row(NamedTuple):
    """The columns of tracks.csv that are used; empty cells are empty strings or tuples."""

    id: int
    genre_top: str
    genres: tuple[int, ...]
    artist_id: str
    artist: str
    split: str
    subset: str


def read_tracks(file: Path) -> Iterator[Row]:
    """Read tracks.csv row by row; its three header lines are group, column and index.

    Raises
    ------
    ParameterError
        The file cannot be read, lacks a column, or has an invalid row.
    """
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        require_regular(file)
        with open(file, encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            try:
                yield from _parse_rows(reader, file)
            except (csv.Error, ValueError, TypeError) as error:
                raise ParameterError(
                    f"{file}, line {reader.line_num}: must be a valid row; got {error}; {_hint()}"
                ) from None
    except OSError as error:
        raise ParameterError(f"{file}: must be readable; got {error.strerror}; {_hint()}") from None
    finally:
        csv.field_size_limit(before)


def _parse_rows(reader: Iterator[list[str]], file: Path) -> Iterator[Row]:
    header = list(zip(next(reader, ()), next(reader, ()), strict=False))
    if missing := [column for column in _COLUMNS if column not in header]:
        raise ParameterError(f"{file}: must have the column {'.'.join(missing[0])} in its first two lines; {_hint()}")
    top, genres, artist_id, artist, split, subset = (header.index(column) for column in _COLUMNS)
    for cells in reader:
        if not cells or cells[0] == "track_id":  # the third header line
            continue
        if len(cells) < len(header):
            raise ValueError("a truncated row")
        own = tuple(parse_json(cells[genres] or "[]"))
        yield Row(int(cells[0]), cells[top], own, cells[artist_id], cells[artist], cells[split], cells[subset])


def _hint() -> str:
    return f"unpack {archives.BASE_URL}/fma_metadata.zip again."


@dataclass(frozen=True)
class Genres:
    """The genre tree of genres.csv: titles and parents by genre id; the parent of a top genre is 0."""

    titles: Mapping[int, str]
    parents: Mapping[int, int]

    def ancestors(self, genre: int) -> tuple[int, ...]:
        """Return a genre followed by its ancestors, nearest first."""
        path = [genre]
        while (parent := self.parents.get(path[-1], 0)) and parent not in path:
            path.append(parent)
        return tuple(path)

    @property
    def top_titles(self) -> list[str]:
        """Titles of the top genres, ordered by id."""
        return [title for genre, title in sorted(self.titles.items()) if not self.parents[genre]]


def read_genres(file: Path) -> Genres:
    """Read genres.csv.

    Raises
    ------
    ParameterError
        The file cannot be read, or is invalid.
    """
    try:
        require_regular(file)
        with open(file, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        ids = [int(row["genre_id"]) for row in rows]
        titles = {genre: row["title"] for genre, row in zip(ids, rows, strict=True)}
        parents = {genre: int(row["parent"]) for genre, row in zip(ids, rows, strict=True)}
    except OSError as error:
        raise ParameterError(f"{file}: must be readable; got {error.strerror}; {_hint()}") from None
    except (csv.Error, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{file}: must be the published table; got {error!r}; {_hint()}") from None
    return Genres(titles, parents)
