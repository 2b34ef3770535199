"""A file as the decoders read it: from behind its ID3 tags, with errors kept instead of raised in C code."""

import copy
import os
from pathlib import Path
from typing import BinaryIO

Source = str | os.PathLike | BinaryIO

_ID3_HEADER = 10  # bytes, which a footer has, too
_MAX_TAGS = 16


class InputFile:
    """A seekable binary file object without the ID3v2 tags at its beginning.

    The tags may have cover art of megabytes, beyond which FFmpeg does not look for the format. Decoders call this from
    C code, where an exception would be lost: an invalid seek, which a damaged header may cause, leaves the position as
    it is, and an error of the file system ends the file; `check` raises it.

    Parameters
    ----------
    file : binary file object
        Not closed by this class.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None
        self._patches: dict[int, bytes] = {}
        self._part = False
        self._start = _end_of_tags(file)
        self._stop = file.seek(0, os.SEEK_END)
        self.rewind()

    def part(self, start: int, stop: int | None) -> "InputFile":
        """Return a part of the file as a file; both share the position."""
        part = copy.copy(self)
        part._part = True
        part._start = self._start + start
        part._stop = self._stop if stop is None else self._start + stop
        return part

    def patch(self, patches: dict[int, bytes]) -> None:
        """Replace bytes in what `read` returns.

        Parameters
        ----------
        patches : dict of int to bytes
            By position.
        """
        self._patches = patches

    def size(self) -> int:
        """Return the number of bytes."""
        return max(0, self._stop - self._start)

    def rewind(self) -> None:
        """Go to the beginning."""
        self._file.seek(self._start)

    def head(self, size: int) -> bytes:
        """Return the first bytes and go back to the beginning."""
        self.rewind()
        head = self.read(size)
        self.rewind()
        return head

    def read(self, size: int = -1) -> bytes:
        try:
            position = self._file.tell()
            rest = max(0, self._stop - position)
            data = self._file.read(rest if size < 0 else min(size, rest))
        except OSError as error:
            self._error = error
            return b""
        for at, patch in self._patches.items():
            at += self._start - position
            if -len(patch) < at < len(data):
                whole = bytearray(data)
                for offset, byte in enumerate(patch, at):
                    if 0 <= offset < len(whole):
                        whole[offset] = byte
                data = bytes(whole)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Read into a buffer and return the number of bytes, which libsndfile does more than a hundred times a file."""
        try:
            if not self._patches and not self._part:
                return self._file.readinto(buffer)  # type: ignore[attr-defined]
        except AttributeError:  # not all file objects have it
            pass
        except OSError as error:
            self._error = error
            return 0
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Return the new position, or -1 if there is no such position."""
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._stop}.get(whence, -1)
        position = origin + offset
        if origin < 0 or position < self._start:
            return -1
        try:
            return self._file.seek(position) - self._start
        except (ValueError, OverflowError, OSError):
            return -1

    def tell(self) -> int:
        return self._file.tell() - self._start

    def check(self) -> None:
        """Raise the error of the file system that ended the file, if there was one.

        Raises
        ------
        OSError
        """
        if self._error is not None:
            raise self._error


def source_name(source: Source) -> str:
    """Return how error messages name a source: its path, the name of its file object, or ``audio``."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) and name else "audio"


def _end_of_tags(file: BinaryIO) -> int:
    """Return the position behind all ID3v2 tags; 0 if nothing follows them."""
    position = 0
    for _ in range(_MAX_TAGS):
        file.seek(position)
        head = file.read(_ID3_HEADER)
        if len(head) < _ID3_HEADER:
            return 0
        if head[:3] != b"ID3" or max(head[6:10]) >= 0x80:
            return position
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        footer = _ID3_HEADER if head[5] & 0x10 else 0
        position += _ID3_HEADER + size + footer
    return 0
