"""What the headers of WAV and AU files claim, where libsndfile makes the best of it without a word.

It cuts a length that the file does not hold to what is there, reads no further than a length that is too small, and of
two sample rates in one header takes the first. All are signs of a file cut short, or of a header rewritten by hand.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from genreflow.audio.readers import Source

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, sample rate, bytes a second, bytes a frame, bits a sample
# PCM, float, A-law, mu-law and extensible: of these, bytes a second are sample rate times bytes a frame.
_PLAIN_FORMATS = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)
_AU = struct.Struct(">4s5I")  # magic, offset, bytes of data, encoding, sample rate, channels
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
# Streams, whose length is not known when the header is written, leave 0 there or one of the greatest numbers.
_OPEN_LENGTH = 0x7FFF0000


@dataclass(frozen=True)
class Claims:
    """What a header claims.

    Parameters
    ----------
    frames : int >= 0
        Samples a channel, whether the file holds them or not; 0 where the header does not say.
    undeclared : int >= 0
        Samples a channel that stand behind those.
    sample_rate : int > 0 [Hz] or None
        The rate that its bytes a second amount to, where that is not the sample rate it names.
    """

    frames: int = 0
    undeclared: int = 0
    sample_rate: int | None = None


def read_claims(source: Source) -> Claims:
    """Read the claims of a RIFF/WAVE or AU header; of any other file, and of one that breaks off, there are none.

    Parameters
    ----------
    source : path or seekable binary file object
    """
    if hasattr(source, "read"):
        source.seek(0)
        return _read(source)
    try:
        with open(source, "rb") as file:
            return _read(file)
    except OSError:
        return Claims()


def _read(file: BinaryIO) -> Claims:
    head = file.read(_AU.size)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _wave(file)
    if head[:4] == b".snd" and len(head) == _AU.size:
        _, offset, size, encoding, _, channels = _AU.unpack(head)
        return _claims(file, offset, size, channels * _AU_SAMPLE_BYTES.get(encoding, 0), None)
    return Claims()


def _wave(file: BinaryIO) -> Claims:
    frame_bytes, other_rate = 0, None
    file.seek(12)
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(head)
        start = file.tell()
        if name == b"data":
            return _claims(file, start, size, frame_bytes, other_rate)
        if name == b"fmt " and size >= _FORMAT.size and len(fields := file.read(_FORMAT.size)) == _FORMAT.size:
            tag, _, rate, bytes_a_second, bytes_a_frame, _ = _FORMAT.unpack(fields)
            if tag in _PLAIN_FORMATS and bytes_a_frame:
                frame_bytes, implied = bytes_a_frame, round(bytes_a_second / bytes_a_frame)
                other_rate = implied if implied not in (0, rate) else None
        file.seek(start + size + size % 2)  # chunks are padded to even length
    return Claims(sample_rate=other_rate)


def _claims(file: BinaryIO, start: int, size: int, frame_bytes: int, other_rate: int | None) -> Claims:
    """Return the claims of a file whose `size` bytes of samples are said to begin at `start`."""
    if not frame_bytes or not size or size >= _OPEN_LENGTH:
        return Claims(sample_rate=other_rate)
    stop = start + size + size % 2
    rest = max(0, file.seek(0, os.SEEK_END) - stop)
    if rest:
        file.seek(stop)
        if _is_chunk(file.read(_CHUNK.size), rest):
            rest = 0
    return Claims(size // frame_bytes, rest // frame_bytes, other_rate)


def _is_chunk(head: bytes, rest: int) -> bool:
    """Whether the next chunk of a RIFF file begins here: a name in ASCII, and a size that fits."""
    if len(head) < _CHUNK.size:
        return True  # a few bytes of padding
    name, size = _CHUNK.unpack(head)
    return name.isascii() and name.decode("ascii").isprintable() and size <= rest
