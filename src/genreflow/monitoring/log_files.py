"""The files of the log of predictions: appended to by several processes, rotated, expired, and deleted from.

``predictions.DAY.WRITER.jsonl``: each process writes files of its own, one a day (UTC) or more. Whoever deletes a line
replaces a whole file, so that a file is locked while it is written, and a writer makes sure that it has the one that is
there.
"""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from genreflow.errors import ParameterError
from genreflow.files import atomic_file

# A file that is larger is followed by another one of the same day [B].
MAX_FILE_BYTES = 16_000_000
PREDICTION_ID = re.compile("[0-9a-f]{32}")
_NAME = re.compile(r"predictions\.(\d{4}-\d\d-\d\d)\.[0-9a-f]{8}\.jsonl")


class LogWriter:
    """Appends lines to files of its own.

    Parameters
    ----------
    directory : Path
        Made where it does not exist.
    days : int > 0
        Files of earlier days are removed.
    max_bytes : int > 0
        Above it, the oldest files of all writers are removed.
    """

    def __init__(self, directory: Path, *, days: int, max_bytes: int) -> None:
        self.directory, self.days, self.max_bytes = directory, days, max_bytes
        self._path: Path | None = None
        self._day: date | None = None

    def append(self, lines: bytes) -> None:
        """Append whole lines; after an error none of them is there.

        Raises
        ------
        OSError
            They cannot be written.
        """
        today = datetime.now(UTC).date()
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._path is None or self._day != today or _size(self._path) + len(lines) > MAX_FILE_BYTES:
            self._day, self._path = today, self.directory / f"predictions.{today}.{secrets.token_hex(4)}.jsonl"
            self.expire()
        with _locked(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                if file.write(lines) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:  # a full disk may have taken a part
                os.ftruncate(file.fileno(), end)
                raise

    def expire(self) -> None:
        """Remove the files that are too old or too many; those that cannot be removed are tried again later."""
        today, kept = datetime.now(UTC).date(), []
        for path in log_files(self.directory):
            if day_of(path) <= today - timedelta(days=self.days):
                with suppress(OSError):
                    path.unlink()
            else:
                kept.append((path, _size(path)))
        total = sum(size for _, size in kept) + MAX_FILE_BYTES  # what may be written before this is called again
        for path, size in kept:  # the oldest first
            if total <= self.max_bytes or path == self._path:
                break
            with suppress(OSError):
                path.unlink()
                total -= size


def log_files(directory: Path) -> list[Path]:
    """Return the files of a log, the oldest first; none if there is no such directory."""
    found = [path for path in directory.glob("predictions.*.jsonl") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.name.split(".")[1], _modified(path)))


def day_of(path: Path) -> date:
    """Return the day (UTC) of a file of a log."""
    return date.fromisoformat(path.name.split(".")[1])


def delete(directory: Path, prediction_id: str) -> int:
    """Delete all that a log has of a prediction, also while a service writes to it.

    A file with it is written anew beside itself and renamed. What a service has in its memory, for less than a second,
    is not found.

    Parameters
    ----------
    directory : Path
    prediction_id : str
        32 hexadecimal digits.

    Returns
    -------
    int
        Number of lines that were deleted.

    Raises
    ------
    ParameterError
        `prediction_id` is none.
    OSError
        A file cannot be read or written; it is as it was.
    """
    if not PREDICTION_ID.fullmatch(prediction_id):
        raise ParameterError(f"prediction_id must be 32 hexadecimal digits; got {prediction_id[:64]!r}.")
    wanted, deleted = prediction_id.encode(), 0
    for path in log_files(directory):
        with suppress(FileNotFoundError):  # it has expired meanwhile
            if wanted in path.read_bytes():
                with _locked(path, os.O_RDONLY) as file:
                    lines = file.readlines()
                    kept = [line for line in lines if wanted not in line]
                    with atomic_file(path) as temporary:
                        temporary.write_bytes(b"".join(kept))
                    deleted += len(lines) - len(kept)
    return deleted


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[BinaryIO]:
    """Open the file that is at a path, and nothing else, and lock it against other processes."""
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        with open(
            descriptor, "ab" if flags & os.O_APPEND else "rb", buffering=0 if flags & os.O_APPEND else -1
        ) as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                yield file
                return


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one at a path: it may have been replaced while it was waited for."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
