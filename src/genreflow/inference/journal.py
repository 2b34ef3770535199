"""The results of a batch, appended to a file as they are computed, so that an interrupted batch can be resumed."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Self

from genreflow.errors import ParameterError

# Codes of errors that may be temporary: a disk that was not mounted, a file that was locked.
RETRIED_ERRORS = frozenset({"unreadable"})


class Journal:
    """The results of one output file, one per line, after a line that identifies the bundle.

    A process that is killed leaves at most one incomplete line, at the end, and the next one removes it. The result of
    a file whose size or modification time has changed since is ignored.

    Parameters
    ----------
    path : Path
        Created if it does not exist.
    bundle : str
        Hash, name and version of the bundle. Results of another one are deleted.

    Raises
    ------
    ParameterError
        Another process has the journal open.
    """

    def __init__(self, path: Path, bundle: str) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115
        try:
            _lock(self._file)
            self._offsets = self._read(bundle)
        except BlockingIOError:
            self._file.close()
            raise ParameterError(f"{path}: must not be in use; got a file that another process writes.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, file: object) -> bool:
        return str(file) in self._offsets

    def add(self, result: dict[str, Any]) -> None:
        """Append a result; it outlives the process once this returns."""
        line = json.dumps([_size_and_mtime(result["file"]), result]).encode() + b"\n"
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._offsets[result["file"]] = offset

    def results(self, files: Iterable[Path]) -> Iterator[dict[str, Any]]:
        """Yield the results of `files`, in their order.

        Raises
        ------
        KeyError
            A file has no result.
        """
        for file in files:
            self._file.seek(self._offsets[str(file)])
            yield json.loads(self._file.readline())[1]

    def remove(self) -> None:
        """Delete the journal, once its results are in the output."""
        self.path.unlink()

    def _read(self, bundle: str) -> dict[str, int]:
        """Return the offsets of the valid results, and truncate the file after the last complete line."""
        self._file.seek(0)
        head = json.dumps({"bundle": bundle}).encode() + b"\n"
        if self._file.readline() != head:
            self._file.truncate(0)
            self._file.write(head)
            self._file.flush()
            return {}
        offsets: dict[str, int] = {}
        end = len(head)
        for line in self._file:
            try:
                size_and_mtime, result = json.loads(line)
                name, code = result["file"], result.get("error", {}).get("code")
            except (ValueError, TypeError, KeyError, AttributeError):
                break
            if not line.endswith(b"\n"):
                break
            offsets.pop(name, None)
            if size_and_mtime == _size_and_mtime(name) and code not in RETRIED_ERRORS:
                offsets[name] = end
            end += len(line)
        self._file.truncate(end)
        return offsets


def _lock(file: IO[bytes]) -> None:
    """Lock a file until it is closed.

    Raises
    ------
    BlockingIOError
        Another process has locked it.
    """
    if sys.platform == "win32":  # it has no flock: two batches with the same output are not detected there
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _size_and_mtime(file: str) -> list[int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]
