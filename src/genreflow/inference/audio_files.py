"""The audio files of a batch: single files, folders, and lists of files."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.errors import ParameterError

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
        if path.is_dir():
            found |= dict.fromkeys(sorted(_iter_folder(path)))
        elif not path.exists():
            raise ParameterError(
                f"{path}: must be an audio file, a folder or a list of files; got a path without file."
            )
        elif path.suffix.lower() in LIST_SUFFIXES:
            found |= dict.fromkeys(path.parent / name for name in _read_list(path))
        else:
            found[path] = None
    if not found:
        raise ParameterError(
            f"{', '.join(map(str, given)) or 'paths'}: must contain at least one audio file, such as .wav, .flac, .mp3 "
            "or .ogg; got none."
        )
    return list(found)


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


def _read_list(path: Path) -> list[str]:
    try:
        # File names may be arbitrary bytes.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\0" in text:
            raise ValueError("a NUL byte")
        if path.suffix.lower() == ".csv":
            return _read_column(path, text)
    except (OSError, ValueError, csv.Error) as error:
        raise ParameterError(f"{path}: must be a readable list of files; got {error}.") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read_column(path: Path, text: str) -> list[str]:
    rows = csv.DictReader(text.splitlines())
    columns = rows.fieldnames or ()
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise ParameterError(
            f"{path}: must have a column {' or '.join(PATH_COLUMNS)}; got {', '.join(columns) or 'no columns'}."
        )
    return [row[column] for row in rows if row[column]]
