"""Atomic writes: whoever reads a file or a directory sees its previous content or the new one, never a part of it.

All of them write to a temporary path in the same directory and rename it. Modes follow the umask. What a killed process
leaves is hidden and ends in ``.tmp`` and the suffix of its target; `remove_leftovers` deletes it.
"""

import csv
import ctypes
import errno
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tempfile
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

# Not the fault of one file: no other can be written, or opened, either.
_RESOURCE_ERRORS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
})  # fmt: skip
# What zipfile and NumPy raise for a damaged ``.npz``.
DAMAGED_NPZ = (
    OSError, EOFError, ValueError, LookupError, TypeError, NotImplementedError, RuntimeError, SyntaxError, MemoryError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
# Ends of lines for str.splitlines and some readers of text that JSON need not escape.
_UNICODE_LINE_ENDS = re.compile("[\x85\u2028\u2029]")

# Of renameat2 and renamex_np: relative paths start in the working directory; exchange instead of replace.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


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
    Linux and macOS exchange the two directories in one step. On a file system that cannot (some network ones), the
    previous one is renamed first, so that for an instant there is none.
    """
    with temporary_path(directory) as new:
        new.mkdir()
        yield new
        if not os.path.lexists(directory):
            os.replace(new, directory)
        elif not _exchange(new, directory):
            _replace_in_two_steps(new, directory)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; return False where the system or the file system cannot."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(first), os.fsencode(second)
    if hasattr(libc, "renameat2"):  # Linux
        return libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    if hasattr(libc, "renamex_np"):  # macOS
        return libc.renamex_np(*names, _RENAME_EXCHANGE) == 0
    return False


def _replace_in_two_steps(new: Path, directory: Path) -> None:
    with temporary_path(directory) as previous:
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
    target = ".+" if name is None else re.escape(name)
    # Repeated: a temporary path may be written atomically itself.
    leftover = re.compile(rf"\.+{target}(\.[0-9a-f]{{8}}\.tmp[^/]*)+", re.DOTALL)
    for path in directory.iterdir() if directory.is_dir() else ():
        if leftover.fullmatch(path.name):
            _remove(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity raise ValueError, since JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_line(value: object) -> str:
    """Return `value` as JSON that is one line also for readers that split lines at U+0085 and U+2028."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNICODE_LINE_ENDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def read_json(path: Path) -> Any:
    """Return the value that a JSON file holds.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not JSON in UTF-8, or is nested too deeply to be read.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ValueError if it is none, or is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


class TextWriter(Protocol):
    """Has the `write` of a text file."""

    def write(self, text: str, /) -> object: ...


def csv_writer(file: TextWriter, columns: Sequence[str]) -> "csv.DictWriter[str]":
    """Return a writer of CSV rows that end in a newline; missing values are empty, keys without a column ignored."""
    return csv.DictWriter(_UnixLines(file), fieldnames=columns, restval="", extrasaction="ignore")


class _UnixLines:
    """Ends rows in a newline, while the csv module believes that they end in CR LF.

    It quotes the characters of the line end alone, so that an unquoted CR in a cell would end the row for pandas.
    """

    def __init__(self, file: TextWriter) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write `rows` under a header of `columns`, atomically; missing values are empty, keys without a column ignored."""
    text = io.StringIO()
    writer = csv_writer(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def require_regular(path: Path) -> os.stat_result:
    """Return the status of a regular file; symbolic links are followed.

    Raises
    ------
    OSError
        `path` does not exist, or is something else: a directory, or a named pipe or a device, whose reading may never
        end.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "Is a directory" if stat.S_ISDIR(status.st_mode) else "Is not a regular file"
        raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL, kind, os.fspath(path))
    return status


def require_writable(folder: Path) -> None:
    """Check that files can be created in a folder or, if it does not exist, in its nearest parent that does.

    Raises
    ------
    OSError
        They cannot, and its `filename` is the folder. Nothing is left there.
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:  # of a temporary name that nobody knows
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from None


def distrust(path: Path) -> None:
    """Have DVC compare a file, or the files in a folder, with their hashes at the next ``dvc repro``.

    DVC assumes that a file of its cache is intact as long as it is read-only, and a file of the project as long as it
    has its modification time. The two are one file where they are linked, and damage to one is damage to both.
    """
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):
            os.chmod(file, file.stat().st_mode | stat.S_IWUSR)
            os.utime(file)


def is_resource_error(error: OSError) -> bool:
    """Return whether an error concerns no file alone: the disk is full, or this process has no more descriptors."""
    return error.errno in _RESOURCE_ERRORS


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
