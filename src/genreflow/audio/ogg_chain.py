"""Chained Ogg files: several files, or the songs of a radio stream, one behind the other."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from genreflow.audio.blocks import Block
from genreflow.audio.ffmpeg_reader import FFMPEG_ERRORS, FfmpegReader
from genreflow.audio.input_file import InputFile
from genreflow.errors import AudioError

# How the first page of a stream begins: capture pattern, version 0, flag of the beginning.
_FIRST_PAGE = b"OggS\x00\x02"
_PAGE_HEADER = 27  # bytes, without the table of its segments
_CHUNK = 1 << 20
# Links of a file, and streams in all of them; what follows is read as part of the last one.
_MAX_LINKS, _MAX_STREAMS = 1000, 10_000


def find_links(file: InputFile) -> list[InputFile]:
    """Return the links of an Ogg file: parts that are complete files.

    Parameters
    ----------
    file : InputFile

    Returns
    -------
    list of InputFile, of length > 0
    """
    starts, behind = [0], _page_end(file, 0)
    for position in islice(_first_pages(file), _MAX_STREAMS):
        # A link with several streams, such as audio and video, begins with the first pages of all of them.
        if position != behind:
            starts.append(position)
        behind = _page_end(file, position)
        if len(starts) == _MAX_LINKS:
            break
    return [file.part(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]


class ChainReader:
    """Reads the links of a chained Ogg file, each of which has its own codec, sample rate and channels.

    FFmpeg would go on with the decoder of the first link.

    Parameters
    ----------
    links : list of InputFile
    name : str
        Of the file, in error messages.

    Raises
    ------
    av.FFmpegError, ValueError, AudioError
        FFmpeg reads none of them.
    """

    declared, trusted = 0.0, False

    def __init__(self, links: list[InputFile], name: str) -> None:
        self._links, self._name = iter(links), name
        self._error: Exception | None = None
        self._bytes = {True: 0, False: 0}  # of the links that could be decoded, and of those that could not
        self._reader, self._size = self._open_next()
        if self._reader is None:
            raise self._error or ValueError("no links")
        self.sample_rate, self.channels = self._reader.sample_rate, self._reader.channels

    @property
    def damaged(self) -> float:
        """Share of the file in links that could not be decoded, so far."""
        return self._bytes[False] / max(1, sum(self._bytes.values()))

    def read(self, frames: int) -> Block:
        while self._reader is not None:
            decoded = True
            try:
                block = self._reader.read(frames)
            except AudioError:
                decoded = False
            else:
                if block.samples.shape[1]:
                    return block
            self._bytes[decoded] += self._size
            self._reader.close()
            self._reader, self._size = self._open_next()
        if self._bytes[False] > self._bytes[True]:
            raise AudioError(
                "undecodable",
                f"{self._name}: most of it must be decodable; got {self._bytes[False]} of {sum(self._bytes.values())} "
                "bytes in parts that are not.",
            )
        return Block(np.zeros((self.channels, 0), dtype=np.float32), self.sample_rate)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _open_next(self) -> tuple[FfmpegReader | None, int]:
        """Return the reader of the next link that can be opened, and the size of the link [bytes]."""
        for link in self._links:
            size = link.size()
            try:
                return FfmpegReader(link, self._name), size
            except (*FFMPEG_ERRORS, AudioError) as error:
                self._error = error
                self._bytes[False] += size
        return None, 0


def _first_pages(file: InputFile) -> Iterator[int]:
    """Yield the positions of the first pages of all streams, except for the one with which the file begins."""
    position = 1
    while True:
        file.seek(position)
        chunk = file.read(_CHUNK)
        at = chunk.find(_FIRST_PAGE)
        while at >= 0:
            yield position + at
            at = chunk.find(_FIRST_PAGE, at + 1)
        if len(chunk) < _CHUNK:
            return
        position += _CHUNK - len(_FIRST_PAGE) + 1  # one may span two chunks


def _page_end(file: InputFile, position: int) -> int:
    file.seek(position)
    header = file.read(_PAGE_HEADER)
    segments = file.read(header[-1]) if len(header) == _PAGE_HEADER else b""
    return position + len(header) + len(segments) + sum(segments)
