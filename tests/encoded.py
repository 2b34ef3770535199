"""Compressed audio for tests, encoded by FFmpeg through PyAV, so that the ffmpeg command is not needed."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np


class Kind(NamedTuple):
    """A container and codec of FFmpeg, and the sample format that its encoder takes."""

    container: str
    codec: str
    sample_format: str
    sample_rate: int = 44100
    bit_rate: int = 128_000
    options: tuple[tuple[str, str], ...] = ()


_FRAGMENTS = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "1000000"))
KINDS = {
    "mp3": Kind("mp3", "libmp3lame", "fltp"),
    "mp3-vbr": Kind("mp3", "libmp3lame", "fltp", bit_rate=0, options=(("q", "4"),)),
    "mp3-no-xing": Kind("mp3", "libmp3lame", "fltp", options=(("write_xing", "0"), ("id3v2_version", "0"))),
    "mp3-vbr-no-xing": Kind("mp3", "libmp3lame", "fltp", bit_rate=0, options=(("q", "4"), ("write_xing", "0"))),
    "mp2": Kind("mp2", "mp2", "s16"),
    "m4a": Kind("ipod", "aac", "fltp"),
    "m4a-fragments": Kind("mp4", "aac", "fltp", options=_FRAGMENTS),
    "m4a-index-first": Kind("ipod", "aac", "fltp", options=(("movflags", "faststart"),)),
    "alac": Kind("ipod", "alac", "s16p"),
    "mov-pcm": Kind("mov", "pcm_s16be", "s16"),
    "aac": Kind("adts", "aac", "fltp"),
    "ogg-flac": Kind("ogg", "flac", "s16"),
    "flac": Kind("flac", "flac", "s16"),
    "flac-24": Kind("flac", "flac", "s32"),
    "ogg-opus": Kind("ogg", "libopus", "flt", 48000),
    "webm": Kind("webm", "libopus", "flt", 48000),
    "mka-aac": Kind("matroska", "aac", "fltp"),
    "wma": Kind("asf", "wmav2", "fltp"),
    "ac3": Kind("ac3", "ac3", "fltp", 48000),
    "eac3": Kind("eac3", "eac3", "fltp", 48000),
    "wavpack": Kind("wv", "wavpack", "s16p"),
    "tta": Kind("tta", "tta", "s16"),
    "caf-alac": Kind("caf", "alac", "s16p"),
    "wav-adpcm": Kind("wav", "adpcm_ms", "s16"),
    "aiff": Kind("aiff", "pcm_s16be", "s16"),
}
LOSSLESS = ("alac", "mov-pcm", "ogg-flac", "flac", "wavpack", "tta", "caf-alac", "aiff")


def encode(y: np.ndarray, rate: int, kind: str | Kind, *, video: bool = False) -> bytes:
    """Encode samples.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (channels, n)]
        Full scale is 1.
    rate : int
        Sample rate of `y`; it is resampled to that of the kind only by name: the samples are taken as they are.
    kind : str or Kind
        A key of `KINDS`.
    video : bool
        Write a video stream before the audio.
    """
    kind = KINDS[kind] if isinstance(kind, str) else kind
    y = np.atleast_2d(np.asarray(y, dtype=np.float32))
    # The same bytes each time: without the flag, Ogg and Matroska have random numbers.
    options = {"fflags": "+bitexact", **dict(kind.options)}
    # To a path, since some options make FFmpeg open the file again.
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=kind.container, options=options) as container,
    ):
        pictures = _add_video(container) if video else None
        stream = container.add_stream(kind.codec, rate=rate, layout=_layout(len(y)), options=dict(kind.options))
        stream.codec_context.format = kind.sample_format
        if kind.bit_rate:
            stream.codec_context.bit_rate = kind.bit_rate
        if pictures:
            for number in range(round(25 * y.shape[1] / rate)):
                _mux(container, pictures.encode(_picture(number)))
            _mux(container, pictures.encode(None))
        for begin in range(0, y.shape[1], 4096):
            packed = np.ascontiguousarray(y[:, begin : begin + 4096].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=_layout(len(y)))
            frame.sample_rate = rate
            frame.pts = begin
            _mux(container, stream.encode(frame))
        _mux(container, stream.encode(None))
        container.close()
        return Path(file.name).read_bytes()


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(channels, f"{channels}c")


def _mux(container, packets) -> None:
    for packet in packets:
        container.mux(packet)


def _add_video(container):
    stream = container.add_stream("libvpx" if container.format.name in ("ogg", "webm") else "mpeg4", rate=25)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _picture(number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 256, np.uint8), format="rgb24")
    frame.pts = number
    return frame


def joined(*parts: bytes) -> bytes:
    """Join files, as ``cat`` does; Ogg pages of the parts get serial numbers of their own."""
    return b"".join(_renumbered(part, number) if part[:4] == b"OggS" else part for number, part in enumerate(parts, 1))


def _renumbered(ogg: bytes, number: int) -> bytes:
    data, at = bytearray(ogg), 0
    serials: dict[bytes, int] = {}
    while at < len(data):
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        serial = serials.setdefault(bytes(data[at + 14 : at + 18]), len(serials))
        data[at + 14 : at + 18] = (number << 16 | serial).to_bytes(4, "little")
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = _ogg_checksum(bytes(data[at : at + size])).to_bytes(4, "little")
        at += size
    return bytes(data)


def _ogg_checksum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _CHECKSUMS[checksum >> 24 ^ byte]
    return checksum


def _checksum_table() -> list[int]:
    table = []
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_CHECKSUMS = _checksum_table()
