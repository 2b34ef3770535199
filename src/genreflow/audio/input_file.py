"""A file as the decoders read it: from behind its ID3 tags, with errors kept instead of raised in C code."""

import os
from pathlib import Path
from typing import BinaryIO

Source = str | os.PathLike | BinaryIO

_ID3_HEADER = 10  # bytes, which a footer has, too


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
        self._start = _end_of_tags(file)
        self.rewind()

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
            return self._file.read(size)
        except OSError as error:
            self._error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Return the new position, or -1 if there is no such position."""
        before = self._file.tell()
        try:
            position = self._file.seek(offset + self._start if whence == os.SEEK_SET else offset, whence)
            if position >= self._start:
                return position - self._start
        except (ValueError, OverflowError, OSError):
            pass
        self._file.seek(before)
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
    while True:
        file.seek(position)
        head = file.read(_ID3_HEADER)
        if len(head) < _ID3_HEADER:
            return 0
        if head[:3] != b"ID3" or max(head[6:10]) >= 0x80:
            return position
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        footer = _ID3_HEADER if head[5] & 0x10 else 0
        position += _ID3_HEADER + size + footer
