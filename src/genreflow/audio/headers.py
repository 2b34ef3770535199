"""What the headers of WAV and AU files declare, for the cases that libsndfile silently works around.

libsndfile truncates a declared length to that of the file, ignores samples after a declared length that is too small,
and prefers the first of two sample rates in one header. These are signs of a truncated file, or of an edited header.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from genreflow.audio.readers import Source

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, sample rate, bytes per second, bytes per frame, bits per sample
# PCM, float, A-law, mu-law and extensible. For these, bytes per second are sample rate times bytes per frame.
_PLAIN_FORMATS = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)
_AU = struct.Struct(">4s5I")  # magic, offset, bytes of data, encoding, sample rate, channels
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
# Streams, whose length is unknown when the header is written, have 0 there or one of the largest numbers.
_UNKNOWN_LENGTH = 0x7FFF0000


@dataclass(frozen=True)
class HeaderInfo:
    """What a header declares.

    Parameters
    ----------
    frames : int >= 0
        Samples per channel, whether or not the file holds them; 0 if the header does not declare them.
    undeclared : int >= 0
        Samples per channel after the declared ones.
    sample_rate : int > 0 [Hz] or None
        Sample rate that the bytes per second imply, if it differs from the declared sample rate.
    """

    frames: int = 0
    undeclared: int = 0
    sample_rate: int | None = None


def read_header(source: Source) -> HeaderInfo:
    """Read the header of a RIFF/WAVE or AU file; the result is empty for other and for truncated headers.

    Parameters
    ----------
    source : path or seekable binary file object

    Returns
    -------
    HeaderInfo
    """
    if not isinstance(source, str | os.PathLike):
        source.seek(0)
        return _read(source)
    try:
        with open(source, "rb") as file:
            return _read(file)
    except OSError:
        return HeaderInfo()


def _read(file: BinaryIO) -> HeaderInfo:
    head = file.read(_AU.size)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _read_wave(file)
    if head[:4] == b".snd" and len(head) == _AU.size:
        _, offset, size, encoding, _, channels = _AU.unpack(head)
        return _header_info(file, offset, size, channels * _AU_SAMPLE_BYTES.get(encoding, 0), None)
    return HeaderInfo()


def _read_wave(file: BinaryIO) -> HeaderInfo:
    frame_bytes, other_rate = 0, None
    file.seek(12)
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(head)
        start = file.tell()
        if name == b"data":
            return _header_info(file, start, size, frame_bytes, other_rate)
        if name == b"fmt " and size >= _FORMAT.size and len(fields := file.read(_FORMAT.size)) == _FORMAT.size:
            tag, _, rate, bytes_per_second, bytes_per_frame, _ = _FORMAT.unpack(fields)
            if tag in _PLAIN_FORMATS and bytes_per_frame:
                frame_bytes, implied = bytes_per_frame, round(bytes_per_second / bytes_per_frame)
                other_rate = implied if implied not in (0, rate) else None
        file.seek(start + size + size % 2)  # chunks are padded to even length
    return HeaderInfo(sample_rate=other_rate)


def _header_info(file: BinaryIO, start: int, size: int, frame_bytes: int, other_rate: int | None) -> HeaderInfo:
    """Return the info for a file whose header declares `size` bytes of samples from `start` on."""
    if not frame_bytes or not size or size >= _UNKNOWN_LENGTH:
        return HeaderInfo(sample_rate=other_rate)
    stop = start + size + size % 2
    rest = max(0, file.seek(0, os.SEEK_END) - stop)
    if rest:
        file.seek(stop)
        if _is_chunk(file.read(_CHUNK.size), rest):
            rest = 0
    return HeaderInfo(size // frame_bytes, rest // frame_bytes, other_rate)


def _is_chunk(head: bytes, rest: int) -> bool:
    """Whether a RIFF chunk begins with `head`: a printable ASCII name, and a size of at most `rest` bytes."""
    if len(head) < _CHUNK.size:
        return True  # a few bytes of padding
    name, size = _CHUNK.unpack(head)
    return name.isascii() and name.decode("ascii").isprintable() and size <= rest
