"""The audio files of a batch: single files, folders, and lists of files."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genreflow.audio.formats import AUDIO_SUFFIXES, describe_formats
from genreflow.errors import ParameterError
from genreflow.file_names import name_from_utf8
from genreflow.files import require_regular

LIST_SUFFIXES = frozenset({".txt", ".m3u", ".m3u8", ".csv"})
# Columns of a .csv with the paths, in order of preference; `genreflow classify` itself writes `file`.
PATH_COLUMNS = ("path", "file")


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """Return the audio files in paths, each once.

    Parameters
    ----------
    paths : iterable of path
        A folder stands for the audio files in it and its subfolders, sorted. ``.txt``, ``.m3u`` and ``.m3u8`` list one
        file per line, with comments after ``#``; ``.csv`` lists them in its column ``path`` or ``file``. Relative paths
        in a list start at its folder, and need not exist. Any other file is taken for audio.

    Returns
    -------
    list of Path, of length > 0

    Raises
    ------
    ParameterError
        A path does not exist, a list cannot be read, or there is no audio file.
    """
    given = [Path(path) for path in paths]
    found: dict[Path, None] = {}
    for path in given:
        if os.path.isdir(path):
            found |= dict.fromkeys(sorted(_iter_folder(path)))
        elif not _exists(path):
            raise ParameterError(
                f"{path}: must be an audio file, a folder or a list of files; got a path without file."
            )
        elif path.suffix.lower() in LIST_SUFFIXES:
            found |= dict.fromkeys(_read_list(path))
        else:
            found[path] = None
    if not found:
        raise ParameterError(
            f"{', '.join(map(str, given)) or 'paths'}: must contain at least one audio file, such as "
            f"{describe_formats()}; got none."
        )
    return list(found)


def _exists(path: Path) -> bool:
    try:
        os.stat(path)
    except (OSError, ValueError):  # among others: too long, a loop of links, a NUL character
        return False
    return True


def _iter_folder(folder: Path) -> Iterator[Path]:
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        # A symbolic link may lead to a parent folder.
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield Path(root, name)


def _read_list(path: Path) -> list[Path]:
    try:
        require_regular(path)
        # File names may be arbitrary bytes, and have characters at which `str.splitlines` divides them.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        if "\0" in text:
            raise ValueError("a NUL byte")
        names = _read_column(path, text) if path.suffix.lower() == ".csv" else list(_read_lines(path, text))
    except (OSError, ValueError, csv.Error) as error:
        found = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(f"{path}: must be a readable list of files; got {found}.") from None
    return [_existing(path.parent, name) for name in names]


def _read_lines(path: Path, text: str) -> Iterator[str]:
    end = "\n" if "\n" in text else "\r"  # as on the first Macs
    for line in text.split(end):
        name = line.removesuffix("\r")
        stripped = name.strip(" \t")
        if stripped != name and not os.path.lexists(path.parent / name):
            name = stripped
        # A file may be named as a comment begins.
        if name and (not name.startswith("#") or os.path.lexists(path.parent / name)):
            yield name


def _read_column(path: Path, text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = rows.fieldnames or ()
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise ParameterError(
            f"{path}: must have a column {' or '.join(PATH_COLUMNS)}; got {', '.join(columns) or 'no columns'}."
        )
    return [row[column] for row in rows if row[column]]


def _existing(folder: Path, name: str) -> Path:
    """Return the path of a name in a list, which may be as `utf8_name` writes those that are not UTF-8."""
    path = folder / name
    if "\\x" in name and not os.path.lexists(path):
        original = folder / name_from_utf8(name)
        return original if os.path.lexists(original) else path
    return path
