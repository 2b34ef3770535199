"""What the headers of WAV, AIFF, AU and MP3 files declare, for the cases that the decoders silently work around.

libsndfile truncates a declared length to that of the file, ignores samples after a declared length that is too small,
and prefers the first of two sample rates in one header. FFmpeg estimates the length of an mp3 that declares none. These
are signs of a truncated file, or of an edited header.
"""

import os
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from genreflow.audio.input_file import InputFile

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, sample rate, bytes per second, bytes per frame, bits per sample
# PCM, float, A-law, mu-law and extensible. For these, bytes per second are sample rate times bytes per frame.
_PLAIN_FORMATS = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)
_AU = struct.Struct(">4s5I")  # magic, offset, bytes of data, encoding, sample rate, channels
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
# Streams, whose length is unknown when the header is written, have 0 there or one of the largest numbers.
_UNKNOWN_LENGTH = 0x7FFF0000
_LARGEST = b"\xff\xff\xff\xff"
# Samples per channel of an MPEG audio frame, by version (3 is MPEG-1) and layer (1 is III, 3 is I) as coded.
_MPEG_SAMPLES = {(3, 3): 384, (3, 2): 1152, (3, 1): 1152, (2, 1): 576, (0, 1): 576}
_MPEG_HEAD = 192  # bytes of the first frame that have the tag with the number of frames


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
    patches : dict of int to bytes
        Bytes by position that replace a declared length of 0, although samples follow, or a huge one by the largest,
        with which libsndfile reads to the end. Programs that write to a pipe leave such headers.
    """

    frames: int = 0
    undeclared: int = 0
    sample_rate: int | None = None
    patches: dict[int, bytes] = field(default_factory=dict)


def read_header(file: BinaryIO | InputFile) -> HeaderInfo:
    """Read the header of a RIFF/WAVE, AIFF, AU or MP3 file; the result is empty for others and for truncated headers.

    Parameters
    ----------
    file : seekable binary file object

    Returns
    -------
    HeaderInfo
    """
    file.seek(0)
    head = file.read(_MPEG_HEAD)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _read_wave(file, extended=head[:4] == b"RF64")
    if head[:4] == b".snd" and len(head) >= _AU.size:
        _, offset, size, encoding, _, channels = _AU.unpack_from(head)
        frame_bytes = channels * _AU_SAMPLE_BYTES.get(encoding, 0)
        return _header_info(file, offset, size, frame_bytes, None, stream={8: _LARGEST})
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _read_aiff(file)
    return HeaderInfo(frames=_mpeg_frames(head))


def _mpeg_frames(head: bytes) -> int:
    """Return the samples that the Xing, Info or VBRI tag in the first frame of an mp3 declares; 0 if it has none."""
    if len(head) < _MPEG_HEAD or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, mono = head[1] >> 3 & 3, head[3] >> 6 == 3
    samples = _MPEG_SAMPLES.get((version, head[1] >> 1 & 3), 0)
    side_information = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag, flags, frames = struct.unpack_from(">4sII", head, 4 + side_information)
    if tag in (b"Xing", b"Info"):
        # Number of frames and of bytes, seek table and quality are optional; delay and padding, 12 bits each, follow
        # 21 bytes behind them.
        at = 12 + side_information + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
        added = int.from_bytes(head[at + 21 : at + 24], "big")
        return max(0, frames * samples - (added >> 12) - (added & 0xFFF)) if flags & 1 else 0
    tag, frames = struct.unpack_from(">4s10xI", head, 36)
    return frames * samples if tag == b"VBRI" else 0


def _read_aiff(file: BinaryIO | InputFile) -> HeaderInfo:
    file.seek(12)
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = struct.unpack(">4sI", head)
        start = file.tell()
        if name == b"COMM":
            fields = file.read(6)  # number of channels and of samples per channel
            frames = int.from_bytes(fields[2:], "big") if len(fields) == 6 else 0
            return HeaderInfo(frames=frames if frames < _UNKNOWN_LENGTH else 0)
        file.seek(start + size + size % 2)
    return HeaderInfo()


def _read_wave(file: BinaryIO | InputFile, *, extended: bool) -> HeaderInfo:
    """Read the header of a WAV file, or of its extension RF64, whose length has 64 bits."""
    frame_bytes, other_rate, long_size = 0, None, 0
    file.seek(12)
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        name, size = _CHUNK.unpack(head)
        start = file.tell()
        if name == b"data":
            size = long_size if extended else size
            return _header_info(file, start, size, frame_bytes, other_rate, stream={0: b"RIFF", start - 4: _LARGEST})
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        if name == b"fmt " and size >= _FORMAT.size and len(fields := file.read(_FORMAT.size)) == _FORMAT.size:
            tag, _, rate, bytes_per_second, bytes_per_frame, _ = _FORMAT.unpack(fields)
            if tag in _PLAIN_FORMATS and bytes_per_frame:
                frame_bytes, implied = bytes_per_frame, round(bytes_per_second / bytes_per_frame)
                other_rate = implied if implied not in (0, rate) else None
        file.seek(start + size + size % 2)  # chunks are padded to even length
    return HeaderInfo(sample_rate=other_rate)


def _header_info(
    file: BinaryIO | InputFile,
    start: int,
    size: int,
    frame_bytes: int,
    other_rate: int | None,
    *,
    stream: dict[int, bytes],
) -> HeaderInfo:
    """Return the info for a file whose header declares `size` bytes of samples from `start` on.

    `stream` has the patches for one that declares none although samples follow.
    """
    end = file.seek(0, os.SEEK_END)
    if size >= _UNKNOWN_LENGTH and size > end:
        return HeaderInfo(sample_rate=other_rate, patches=stream)
    stop = start + size + size % 2
    rest = max(0, end - stop)
    if rest:
        file.seek(stop)
        if _is_chunk(file.read(_CHUNK.size), rest):
            rest = 0
    if not frame_bytes or not size:
        return HeaderInfo(sample_rate=other_rate, patches=stream if rest and not size else {})
    return HeaderInfo(size // frame_bytes, rest // frame_bytes, other_rate)


def _is_chunk(head: bytes, rest: int) -> bool:
    """Whether a RIFF chunk begins with `head`: a printable ASCII name, and a size of at most `rest` bytes."""
    if len(head) < _CHUNK.size:
        return True  # a few bytes of padding
    name, size = _CHUNK.unpack(head)
    return name.isascii() and name.decode("ascii").isprintable() and size <= rest
