"""FFmpeg, through PyAV, for compressed audio."""

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any, NoReturn, cast

import av
import av.stream
import numpy as np

from genreflow.audio.blocks import Block
from genreflow.audio.formats import DECODERS, DEMUXERS
from genreflow.audio.input_file import InputFile
from genreflow.audio.refusals import NoAudioStreamError, UnsupportedCodecError
from genreflow.errors import AudioError

# Largest single allocation of FFmpeg [B]: some containers declare the size of an index that they do not hold. This is
# enough for the index of 18 hours of AAC. PyAV has no call for it; the handle finds the functions of the libraries that
# this extension module is linked with.
_MAX_ALLOCATION = 64 << 20
ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(_MAX_ALLOCATION))

# Also for the files that a container refers to, which are never opened.
_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    "codec_whitelist": ",".join(DECODERS),
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
# Errors in a row after which a damaged container is at its end.
_MAX_DEMUX_ERRORS = 16
# Packets that may fail before the others are counted, so that a file of noise costs little.
_MAX_FAILED = 500
# Containers that declare the exact number of samples. Ogg's last page has a position, which need not start at 0.
_EXACT = ("wv", "tta", "ape")
# PyAV finds the planes of a frame by a null pointer, which is not there behind the eighth.
_MAX_PLANES = 7

# dtype, value of silence and of full scale, by sample format without the `p` of planar formats
_SAMPLE_FORMATS: dict[str, tuple[Any, float, float]] = {
    "u8": (np.uint8, 128.0, 2.0**7),
    "s16": (np.int16, 0.0, 2.0**15),
    "s32": (np.int32, 0.0, 2.0**31),
    "flt": (np.float32, 0.0, 1.0),
    "dbl": (np.float64, 0.0, 1.0),
}

# ValueError: among others, bytes in tags that are not text.
FFMPEG_ERRORS = (av.FFmpegError, ValueError)


class FfmpegReader:
    """Reads the first audio stream of a file with FFmpeg.

    Frame counts in headers end nothing: all packets are decoded. A packet that cannot be decoded is left out, as the
    ffmpeg command does. Encoder delay and padding are left out where the file declares them.

    Parameters
    ----------
    file : InputFile
    name : str
        Of the file, in error messages.

    Raises
    ------
    av.FFmpegError, ValueError
        FFmpeg does not read it.
    AudioError
        Code ``undecodable``: it is audio, but none of it can be decoded.
    """

    trusted = False

    def __init__(self, file: InputFile, name: str) -> None:
        file.rewind()
        self._name = name
        self._decoded = self._failed = self._left_out = 0
        self._container = av.open(
            file, "r", container_options=_OPTIONS, metadata_errors="ignore", io_open=_refuse, buffer_size=1 << 16
        )
        try:
            self._stream = self._select()
            self._frames = self._decode()
            self._held = next(self._frames, None)
            context = self._stream.codec_context
            self.sample_rate: int = self._held.sample_rate if self._held else context.sample_rate
            self.channels: int = self._held.layout.nb_channels if self._held else context.channels
            self.declared = self._declared_seconds()
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> float:
        """Share of the packets so far that could not be decoded; the last ones of a cut file do not count."""
        return self._left_out / max(1, self._left_out + self._decoded)

    def read(self, frames: int) -> Block:
        try:
            return self._read(frames)
        except FFMPEG_ERRORS as error:  # a frame that is too large, among others
            raise AudioError("undecodable", f"{self._name}: must be decodable; got a damaged file.") from error

    def _read(self, frames: int) -> Block:
        queue, size, kind = av.AudioFifo(), 0, None
        while size < frames and (frame := self._next()) is not None:
            if kind not in (None, kind := _kind(frame)):
                self._held = frame
                break
            frame.pts = None  # the queue would require that they have no gaps
            queue.write(frame)
            size += frame.samples
        merged = queue.read()
        if merged is None:
            return Block(np.zeros((self.channels, 0), dtype=np.float32), self.sample_rate)
        return Block(_to_float(merged), merged.sample_rate)

    def close(self) -> None:
        self._container.close()

    def _select(self) -> av.AudioStream:
        """Return the first audio stream, ready to be decoded; packets of others are not even read."""
        if not self._container.streams.audio:
            raise NoAudioStreamError("no audio stream")
        stream = self._container.streams.audio[0]
        context = stream.codec_context
        if context is None or context.name not in DECODERS:
            raise UnsupportedCodecError("an unsupported codec")
        context.thread_count = 1  # requests and files are concurrent already
        context.thread_type = "NONE"
        if (self._container.format.name, context.name) == ("caf", "alac"):
            context.flags2 |= av.codec.context.Flags2.skip_manual  # FFmpeg 8.1 leaves out as much as the padding twice
        for other in self._container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
        return stream

    def _next(self) -> av.AudioFrame | None:
        if self._held is not None:
            frame, self._held = self._held, None
            return frame
        return next(self._frames, None)

    def _decode(self) -> Iterator[av.AudioFrame]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except FFMPEG_ERRORS:
                self._failed += 1
                if self._failed > self._decoded + _MAX_FAILED:
                    break
                continue
            self._decoded += 1
            self._left_out = self._failed
            yield from cast("list[av.AudioFrame]", frames)
        if self._failed > self._decoded:
            raise AudioError(
                "undecodable",
                f"{self._name}: most of it must be decodable; got {self._failed} damaged of "
                f"{self._failed + self._decoded} packets.",
            )
        with contextlib.suppress(*FFMPEG_ERRORS):
            yield from self._stream.codec_context.decode(None)

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the packets of the stream; a damaged one may be followed by others."""
        errors = 0
        while errors < _MAX_DEMUX_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    if packet.size:  # at the end there is an empty one, which would end the decoder
                        yield packet
                return
            except FFMPEG_ERRORS:
                errors += 1

    def _declared_seconds(self) -> float:
        """Return the duration where the container's own number is exact; FFmpeg estimates it for others."""
        stream, container = self._stream, self._container.format.name
        if container == "flac":  # STREAMINFO, whose number of samples may be missing
            total = int.from_bytes((stream.codec_context.extradata or b"")[13:18], "big") & (1 << 36) - 1
            return total / self.sample_rate if self.sample_rate else 0.0
        # The index of mp4 counts packets, unlike the header of a fragmented one.
        exact = container in _EXACT or ("mp4" in container and stream.frames)
        return float(stream.duration * stream.time_base) if exact and stream.duration and stream.time_base else 0.0


def _kind(frame: av.AudioFrame) -> tuple[int, str, str]:
    """Return what does not change within a block."""
    return frame.sample_rate, frame.layout.name, frame.format.name


def _to_float(frame: av.AudioFrame) -> np.ndarray:
    """Return the samples of a frame, float32 [shape=(channels, n)]."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > _MAX_PLANES:
        [frame] = av.AudioResampler(format=frame.format.packed).resample(frame)
    dtype, zero, full_scale = _SAMPLE_FORMATS[frame.format.name.removesuffix("p")]
    if frame.format.is_planar:
        samples = np.empty((channels, frame.samples), dtype=np.float32)
        for channel, plane in enumerate(frame.planes):
            samples[channel] = np.frombuffer(memoryview(plane), dtype, frame.samples)
    else:
        packed = np.frombuffer(memoryview(frame.planes[0]), dtype, frame.samples * channels)
        samples = packed.reshape(-1, channels).T.astype(np.float32, order="C")
    if zero:
        samples -= np.float32(zero)
    if full_scale != 1:
        samples *= np.float32(1 / full_scale)
    return samples


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("a file that refers to others")
