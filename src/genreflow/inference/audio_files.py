"""Which files a batch is of: audio files, folders of them, and lists that name them."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.errors import ParameterError

LIST_SUFFIXES = frozenset({".txt", ".m3u", ".m3u8", ".csv"})
# Columns of a .csv that name a file, the first that is there; `file` is what `genreflow classify` itself writes.
PATH_COLUMNS = ("path", "file")


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """List the audio files that `paths` stand for.

    Parameters
    ----------
    paths : iterable of path
        Folders are searched with their sub-folders, and sorted. ``.txt``, ``.m3u`` and ``.m3u8`` name a file on each
        line (``#`` begins a comment), ``.csv`` in its column ``path`` or ``file``; relative names are from the list's
        folder, and are not looked at yet. Other files are taken as they are. Nothing is listed twice.

    Raises
    ------
    ParameterError
        A path does not exist, a list cannot be read, or no audio file is found at all.
    """
    paths = [Path(path) for path in paths]
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(_audio_under(path)))
        elif not path.exists():
            raise ParameterError(f"{path} does not exist; give audio files, folders of them, or lists of them.")
        elif path.suffix.lower() in LIST_SUFFIXES:
            found |= dict.fromkeys(path.parent / name for name in _named_in(path))
        else:
            found[path] = None
    if not found:
        names = ", ".join(map(str, paths)) or "nothing"
        raise ParameterError(f"No audio was found in {names}; files such as .wav, .flac, .mp3 or .ogg are looked for.")
    return list(found)


def _audio_under(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        # A link may lead to a folder above itself.
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield Path(root, name)


def _named_in(path: Path) -> list[str]:
    try:
        # A name of a file may be any bytes.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\0" in text:
            raise ValueError("it holds NUL")
        if path.suffix.lower() == ".csv":
            return _column(path, text)
    except (OSError, ValueError, csv.Error) as error:
        raise ParameterError(f"{path} cannot be read as a list of files ({error}).") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _column(path: Path, text: str) -> list[str]:
    rows = csv.DictReader(text.splitlines())
    column = next((name for name in PATH_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise ParameterError(f"{path} has no column {' or '.join(PATH_COLUMNS)}; one of them must name the files.")
    return [row[column] for row in rows if row[column]]
