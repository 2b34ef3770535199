"""tracks.csv: metadata that files do not have - genre, artist, published split."""

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genreflow.errors import ParameterError, counted
from genreflow.files import require_regular
from genreflow.manifest.track import PARTS, Part

# Accepted names of each column, preferred first. Only path is required.
COLUMNS = {
    "path": ("path", "track", "file", "filename"),
    "genre": ("genre", "label"),
    "group": ("group", "artist"),
    "split": ("split", "part"),
}
_PARTS: dict[str, Part] = {part: part for part in PARTS} | {
    "training": "train",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True)
class Row:
    """Metadata of a track; None for empty cells."""

    genre: str | None = None
    group: str | None = None
    split: Part | None = None


@dataclass(frozen=True)
class TrackTable:
    """The rows of a tracks.csv, by the name of the track in the table."""

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "TrackTable":
        """Read a CSV file with a header, in UTF-8, delimited by comma, semicolon or tab.

        Raises
        ------
        ParameterError
            The file cannot be read, has no column for the path, an unknown part, or contradictory rows.
        """
        path = Path(path)
        try:
            require_regular(path)
            with open(path, encoding="utf-8-sig", newline="") as file:
                header = file.readline()
                file.seek(0)
                reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count), skipinitialspace=True)
                return cls(path, _read_rows(reader, path))
        except FileNotFoundError:
            raise ParameterError(f"data.tracks: must be a CSV file; got {path}, which does not exist.") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            found = error.strerror if isinstance(error, OSError) else error
            raise ParameterError(f"{path}: must be a CSV file in UTF-8; got {found}.") from None

    def match(self, names: Iterable[str], *, root: Path) -> tuple[dict[str, Row], list[str]]:
        """Find the row of each track.

        A row may name its track by the path relative to the source folder, with or without suffix, or by the file name
        alone if it is unique.

        Parameters
        ----------
        names : iterable of str
            Paths relative to `root`, or names of spectrograms.
        root : Path
            Source folder, to resolve absolute paths in the table.

        Returns
        -------
        rows : dict of str to Row
            By name; without tracks that the table does not list.
        notes : list of str

        Raises
        ------
        ParameterError
            No row matches any track, or a row matches several.
        """
        if not self.rows:
            return {}, []
        names = list(names)
        prefix = f"{os.path.abspath(root)}/"
        rows = {name.removeprefix(prefix).removeprefix("./"): row for name, row in self.rows.items()}
        # The whole path of one file may be that of another one without suffix, as of song.mp3 and song.mp3.wav.
        paths = {_normalize(name) for name in names}
        keys = {name: [key for key in _keys(name) if key == _normalize(name) or key not in paths] for name in names}
        uses = Counter(key for own in keys.values() for key in own)
        matched: dict[str, Row] = {}
        used: set[str] = set()
        for name in names:
            key = next((key for key in keys[name] if key in rows), None)
            if key is None:
                continue
            if uses[key] > 1:
                first, second, *_ = [other for other in names if key in keys[other]]
                raise ParameterError(
                    f"{self.path}: each row must match one track; got {key}, which matches {first} and {second}. Give "
                    "the path."
                )
            matched[name] = rows[key]
            used.add(key)
        if not matched and names:
            raise ParameterError(
                f"{self.path}: paths must be relative to {root}, as in {names[0]}; got none that match, such as "
                f"{next(iter(rows))}."
            )
        notes = []
        if unused := [key for key in rows if key not in used]:
            number = counted(len(unused), f"row of {self.path.name} matches", f"rows of {self.path.name} match")
            notes.append(f"{number} no track, for example {unused[0]}.")
        if missing := [name for name in names if name not in matched]:
            number = counted(len(missing), "track")
            notes.append(f"{self.path.name} does not list {number}, for example {missing[0]}.")
        return matched, notes


def _read_rows(reader: csv.DictReader, path: Path) -> dict[str, Row]:
    columns = _columns(reader.fieldnames or (), path)
    rows: dict[str, Row] = {}
    for line in reader:
        cells = {ours: (line[theirs] or "").strip() for ours, theirs in columns.items()}
        name = _normalize(cells.pop("path"))
        if not name:
            continue
        where = f"{path}, line {reader.line_num}"
        row = Row(
            genre=cells.get("genre") or None,
            group=cells.get("group") or None,
            split=_part(cells.get("split"), where=where),
        )
        if rows.setdefault(name, row) != row:
            raise ParameterError(f"{where}: each track must have one row; got another one for {name}.")
    return rows


def _normalize(name: str) -> str:
    # macOS stores file names decomposed, spreadsheets write them composed.
    return unicodedata.normalize("NFC", name)


def _keys(name: str) -> list[str]:
    """Return the keys under which a table may list a file, most specific first, without repetition."""
    path = _normalize(name)
    file = path.rpartition("/")[2]
    return list(dict.fromkeys((path, os.path.splitext(path)[0], file, os.path.splitext(file)[0])))


def _columns(header: Sequence[str], path: Path) -> dict[str, str]:
    """Map our column names to those of the table."""
    existing = {(name or "").strip().casefold(): name for name in header}
    columns = {}
    for ours, accepted in COLUMNS.items():
        if theirs := next((existing[name] for name in accepted if name in existing), None):
            columns[ours] = theirs
    if "path" not in columns:
        raise ParameterError(
            f"{path}: must have a header with the column path, and optionally genre, group and split; got "
            f"{', '.join(existing) or 'none'}."
        )
    return columns


def _part(cell: str | None, *, where: str) -> Part | None:
    if not cell:
        return None
    part = _PARTS.get(cell.casefold())
    if part is None:
        raise ParameterError(f"{where}: split must be train, valid or test; got {cell!r}.")
    return part
