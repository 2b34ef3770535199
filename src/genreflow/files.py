"""Atomic writes: whoever reads a file or a directory sees its previous content or the new one, never a part of it.

All of them write to a temporary path in the same directory and rename it. Modes follow the umask. What a killed process
leaves is hidden and ends in ``.tmp`` and the suffix of its target; `remove_leftovers` deletes it.
"""

import csv
import glob
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    Parameters
    ----------
    path : Path
        The target. Its directory is made where it does not exist.

    Yields
    ------
    Path
        Where to write: a path in the same directory, with the same suffix, at which nothing exists. It is renamed to
        `path` when the block ends. If the block raises, it is removed, and `path` stays as it was.

    Examples
    --------
    >>> with atomic_file(Path("figure.png")) as temporary:  # doctest: +SKIP
    ...     figure.savefig(temporary)
    """
    with temporary_path(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def atomic_directory(directory: Path) -> Iterator[Path]:
    """Write a directory atomically, instead of the previous one.

    Parameters
    ----------
    directory : Path
        The target. Its parent is made where it does not exist.

    Yields
    ------
    Path
        An empty directory beside the target. It is renamed to `directory` when the block ends. If the block raises, it
        is removed, and `directory` stays as it was.

    Notes
    -----
    No portable call exchanges two directories. The previous one is renamed first, so that for an instant there is none.
    """
    with temporary_path(directory) as new, temporary_path(directory) as previous:
        new.mkdir()
        yield new
        if not os.path.lexists(directory):
            os.replace(new, directory)
            return
        os.replace(directory, previous)
        try:
            os.replace(new, directory)
        except BaseException:
            os.replace(previous, directory)
            raise


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Name an unused path beside `path`; a file or directory that is there at the end of the block is removed.

    Parameters
    ----------
    path : Path
        Its directory is made where it does not exist.

    Yields
    ------
    Path
        ``.<name>.<8 hex digits>.tmp<suffix>`` in the same directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
    finally:
        _remove(temporary)


def remove_leftovers(directory: Path, name: str | None = None) -> None:
    """Remove temporary paths that killed processes left; nothing else may be writing there.

    Parameters
    ----------
    directory : Path
    name : str, optional
        Only those of the target of this name; by default those of every target in `directory`.
    """
    target = "*" if name is None else glob.escape(name)
    for path in directory.glob(f".{target}.{'[0-9a-f]' * 8}.tmp*"):
        _remove(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity raise ValueError, since JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value that a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write `rows` under a header of `columns`, atomically; missing values are empty, keys without a column ignored."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
