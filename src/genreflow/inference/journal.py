"""Results of a batch as they come, in a file from which an interrupted batch goes on."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from genreflow.errors import ParameterError

try:
    import fcntl
except ImportError:  # not a Unix: two batches that write the same output are then not told of each other
    fcntl = None

# What may be otherwise the next time: a disk that was away, a file that was locked.
TRY_AGAIN = frozenset({"unreadable"})


class Journal:
    """The results of one output, a line each; the first line says whose they are.

    A process that is killed leaves whole lines and at most a broken last one, which the next run removes. A file that
    has changed since counts as not done.

    Parameters
    ----------
    path : Path
    owner : str
        The bundle that gives them, with its version, which they name; results of another one are dropped.

    Raises
    ------
    ParameterError
        Another process writes it.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115
        try:
            if fcntl:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._places = self._read(owner)
        except BlockingIOError:
            self._file.close()
            raise ParameterError(f"{path} is being written by another process; wait for it to end.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, file: object) -> bool:
        return str(file) in self._places

    def add(self, result: dict) -> None:
        """Write a result; it is there when this returns, whatever becomes of the process."""
        line = json.dumps([_stamp(result["file"]), result]).encode() + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._places[result["file"]] = place

    def results(self, files: Iterable[Path]) -> Iterator[dict]:
        """Yield the results of `files`, which must all be there, in that order."""
        for file in files:
            self._file.seek(self._places[str(file)])
            yield json.loads(self._file.readline())[1]

    def remove(self) -> None:
        """Delete it: all that it held is elsewhere."""
        self.path.unlink()

    def _read(self, owner: str) -> dict[str, int]:
        """Find the results that count, and cut off what does not."""
        self._file.seek(0)
        head = json.dumps({"bundle": owner}).encode() + b"\n"
        if self._file.readline() != head:
            self._file.truncate(0)
            self._file.write(head)
            self._file.flush()
            return {}
        places: dict[str, int] = {}
        end = len(head)
        for line in self._file:
            try:
                stamp, result = json.loads(line)
                name, code = result["file"], result.get("error", {}).get("code")
            except (ValueError, TypeError, KeyError, AttributeError):
                break
            if not line.endswith(b"\n"):
                break
            places.pop(name, None)
            if stamp == _stamp(name) and code not in TRY_AGAIN:
                places[name] = end
            end += len(line)
        self._file.truncate(end)
        return places


def _stamp(file: str) -> list[int] | None:
    try:
        facts = os.stat(file)
    except OSError:
        return None
    return [facts.st_size, facts.st_mtime_ns]
