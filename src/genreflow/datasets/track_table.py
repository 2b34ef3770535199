"""tracks.csv: what people know of their tracks and no file tells - genre, artist, published split."""

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from genreflow.errors import ParameterError
from genreflow.manifest.track import PARTS, Part

# Our column: the names under which it is accepted, best first. All but the first are optional.
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
    """What tracks.csv says of one track; None where it says nothing."""

    genre: str | None = None
    group: str | None = None
    split: Part | None = None


@dataclass(frozen=True)
class TrackTable:
    """The rows of a tracks.csv by the name they give their track."""

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "TrackTable":
        """Read a CSV file with a header; UTF-8, columns parted by comma, semicolon or tab.

        Raises
        ------
        ParameterError
            It cannot be read, has no column that names the tracks, an unknown part, or says two things of one track.
        """
        path = Path(path)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                header = file.readline()
                file.seek(0)
                reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count), skipinitialspace=True)
                columns = _columns(reader.fieldnames or [], path)
                rows: dict[str, Row] = {}
                for line in reader:
                    cells = {ours: (line[theirs] or "").strip() for ours, theirs in columns.items()}
                    name = _normal(cells.pop("path"))
                    if not name:
                        continue
                    row = Row(
                        genre=cells.get("genre") or None,
                        group=cells.get("group") or None,
                        split=_part(cells.get("split"), where=f"{path}, line {reader.line_num}"),
                    )
                    if rows.setdefault(name, row) != row:
                        raise ParameterError(
                            f"{path}, line {reader.line_num}, says otherwise of {name} than a line above; "
                            "one line a track is right."
                        )
        except FileNotFoundError:
            raise ParameterError(f"data.tracks names {path}, which does not exist.") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ParameterError(f"{path} cannot be read as a UTF-8 CSV file: {error}.") from None
        return cls(path, rows)

    def match(self, names: Iterable[str], *, root: Path) -> tuple[dict[str, Row], list[str]]:
        """Find the row of each track.

        A row may name its track by the path below the source folder, with or without suffix, or by the file's name
        alone where no other file has that name.

        Parameters
        ----------
        names : iterable of str
            Paths below `root`, or names of spectrograms.
        root : Path
            Source folder, for absolute paths in the table.

        Returns
        -------
        rows : dict of str to Row
            By name; tracks without a row are missing.
        notes : list of str

        Raises
        ------
        ParameterError
            No row fits, or a row fits several files.
        """
        if not self.rows:
            return {}, []
        names = list(names)
        inside = f"{os.path.abspath(root)}/"
        rows = {name.removeprefix(inside).removeprefix("./"): row for name, row in self.rows.items()}
        candidates = {name: _candidates(name) for name in names}
        times = Counter(candidate for of_one in candidates.values() for candidate in of_one)
        found, used = {}, set()
        for name in names:
            key = next((candidate for candidate in candidates[name] if candidate in rows), None)
            if key is None:
                continue
            if times[key] > 1:
                twins = [other for other in names if key in candidates[other]]
                raise ParameterError(f"{self.path} names {key}, which may be {twins[0]} or {twins[1]}; give the path.")
            found[name] = rows[key]
            used.add(key)
        if not found and names:
            raise ParameterError(
                f"No row of {self.path} names a track of {root}: it names {next(iter(rows))}, say, where there is "
                f"{names[0]}; give paths below {root}."
            )
        notes = []
        if unused := [key for key in rows if key not in used]:
            notes.append(f"{len(unused)} rows of {self.path.name} name no track that is there, {unused[0]} among them.")
        if missing := [name for name in names if name not in found]:
            notes.append(f"{self.path.name} says nothing of {len(missing)} tracks, {missing[0]} among them.")
        return found, notes


def _normal(name: str) -> str:
    # macOS stores names decomposed, spreadsheets write them composed.
    return unicodedata.normalize("NFC", name)


def _candidates(name: str) -> list[str]:
    """Return the ways to name the file `name`, surest first, each once."""
    whole = _normal(name)
    file = whole.rpartition("/")[2]
    return list(dict.fromkeys((whole, os.path.splitext(whole)[0], file, os.path.splitext(file)[0])))


def _columns(header: list[str], path: Path) -> dict[str, str]:
    there = {(name or "").strip().casefold(): name for name in header}
    columns = {}
    for ours, accepted in COLUMNS.items():
        if theirs := next((there[name] for name in accepted if name in there), None):
            columns[ours] = theirs
    if "path" not in columns:
        raise ParameterError(
            f"{path} has the columns {', '.join(there) or '(none)'}; its first line must be a header with path, and "
            "may have genre, group and split."
        )
    return columns


def _part(word: str | None, *, where: str) -> Part | None:
    if not word:
        return None
    part = _PARTS.get(word.casefold())
    if part is None:
        raise ParameterError(f"{where}, has {word!r} in column split; train, valid or test is right.")
    return part
