"""The tables of the FMA: tracks.csv and genres.csv."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genreflow.datasets.fma import archives
from genreflow.errors import ParameterError

_COLUMNS = (
    ("track", "genre_top"), ("track", "genres"), ("artist", "id"), ("artist", "name"), ("set", "split"),
    ("set", "subset"),
)  # fmt: skip
_FIELD_LIMIT = 1 << 24  # characters; some biographies of artists are longer than the csv module expects


class Row(NamedTuple):
    """What is needed of a row of tracks.csv; a cell that is empty there is an empty string, or tuple."""

    id: int
    genre_top: str
    genres: tuple[int, ...]
    artist_id: str
    artist: str
    split: str
    subset: str


def read_tracks(file: Path) -> Iterator[Row]:
    """Yield the rows of a tracks.csv, whose three header lines name group, column and index; in flat memory.

    Raises
    ------
    ParameterError
        It is not there, lacks a column, or a row cannot be understood.
    """
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            header = list(zip(next(reader, ()), next(reader, ()), strict=False))
            if lacking := [column for column in _COLUMNS if column not in header]:
                raise ParameterError(
                    f"{file} has no column {'.'.join(lacking[0])} in its first two lines; give the published file."
                )
            top, genres, artist_id, artist, split, subset = (header.index(column) for column in _COLUMNS)
            for cells in reader:
                if not cells or cells[0] == "track_id":  # the third line names the index
                    continue
                if len(cells) < len(header):
                    raise ValueError("the row is cut off")
                own = tuple(json.loads(cells[genres] or "[]"))
                yield Row(int(cells[0]), cells[top], own, cells[artist_id], cells[artist], cells[split], cells[subset])
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}; {_again()}") from None
    except (csv.Error, UnicodeDecodeError, ValueError) as error:
        raise ParameterError(f"{file}, line {reader.line_num}, cannot be understood ({error}); {_again()}") from None
    finally:
        csv.field_size_limit(before)


def _again() -> str:
    return f"unpack {archives.BASE_URL}/fma_metadata.zip again."


@dataclass(frozen=True)
class Genres:
    """The tree of genres.csv."""

    titles: Mapping[int, str]
    parents: Mapping[int, int]

    def upwards(self, genre: int) -> tuple[int, ...]:
        """Return a genre and all that stand above it, in this order."""
        line = [genre]
        while (parent := self.parents.get(line[-1], 0)) and parent not in line:
            line.append(parent)
        return tuple(line)


def read_genres(file: Path) -> Genres:
    """Read a genres.csv: a line a genre, with its parent (0: a top genre) and its title.

    Raises
    ------
    ParameterError
        It is not there or cannot be understood.
    """
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        ids = [int(row["genre_id"]) for row in rows]
        titles = {genre: row["title"] for genre, row in zip(ids, rows, strict=True)}
        parents = {genre: int(row["parent"]) for genre, row in zip(ids, rows, strict=True)}
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}; {_again()}") from None
    except (csv.Error, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{file} cannot be understood ({error!r}); {_again()}") from None
    return Genres(titles, parents)
