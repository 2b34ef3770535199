"""Two ways to read samples at their native rate: libsndfile, and ffmpeg for what libsndfile refuses."""

import contextlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
import soundfile as sf

from genreflow.errors import AudioError

Source = str | os.PathLike | BinaryIO

# What a search of folders takes for audio: what libsndfile reads, and what ffmpeg adds where it is installed. A
# headerless .raw is no audio that one could read.
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".voc", ".sph", ".nist",
    ".m4a", ".m4b", ".mp4", ".aac", ".ac3", ".wma", ".asf", ".ape", ".wv", ".tta", ".mka", ".webm", ".mpc", ".amr",
    ".3gp", ".dsf", ".mov",
})  # fmt: skip

MAX_SAMPLE_RATE = 768_000
# Samples read at a time, all channels together: 1 MB of float32, whatever a header declares.
READ_SAMPLES = 1 << 18
# libsndfile bounds the declared length of these by the size of the file, so that the header can be believed.
_UNCOMPRESSED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_READ_BY_LIBSNDFILE = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64 and rf64"
# Containers of sound only: a playlist handed to ffmpeg could name other files of this machine.
_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,dts,eac3,flac,iff,matroska,webm,mov,mp4,m4a,mp3,mpc,mpc8,ogg,tta,w64,wav,wv"
)
_FFMPEG_CPU_SECONDS = 600
_AU_HEADER = struct.Struct(">4s5I")
_AU_FLOAT32 = 6


class Reader(Protocol):
    """An open source of samples at their native rate."""

    sample_rate: int
    channels: int
    frames: int  # as declared, 0 where the header does not say
    frames_trusted: bool
    format: str

    def read(self, frames: int) -> np.ndarray:
        """Return at most `frames` frames as float32 [shape=(n, channels)]; none at the end."""

    def close(self) -> None: ...


class _Steady:
    """A file object that stays where it is when it is asked to go where nothing is, as a damaged header may ask.

    An exception in libsndfile's callbacks would go to standard error with a traceback, and be lost.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._seek, self.tell, self.read = file.seek, file.tell, file.read
        if hasattr(file, "readinto"):
            self.readinto = file.readinto

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            self._seek(offset, whence)
        return self.tell()


class SndfileReader:
    """Reads through libsndfile, from a path or a binary file object."""

    def __init__(self, source: Source) -> None:
        if hasattr(source, "read"):
            source.seek(0)
            self._file = sf.SoundFile(_Steady(source))
        else:
            # Absolute, since libsndfile takes "-" for the standard input.
            self._file = sf.SoundFile(os.path.abspath(source))
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        # Where a header leaves the length open, libsndfile gives the greatest integer.
        self.frames = self._file.frames if 0 < self._file.frames < 2**62 else 0
        self.frames_trusted = self.frames > 0 and self._file.subtype.startswith(_UNCOMPRESSED)
        self.format = self._file.format
        self._failed = False

    def read(self, frames: int) -> np.ndarray:
        block = np.full((frames, self.channels), np.nan, dtype=np.float32)
        if self._failed:
            return block[:0]
        try:
            return self._file.read(out=block)
        except (sf.SoundFileError, OSError):
            # A truncated or damaged stream: what was decoded before the fault has replaced the NaN.
            self._failed = True
            missing = np.isnan(block[:, 0])
            return block[: int(missing.argmax()) if missing.any() else frames]

    def close(self) -> None:
        self._file.close()


class FfmpegReader:
    """Reads from an ffmpeg process that writes 32-bit float as an AU stream, whose header tells rate and channels."""

    format = "FFMPEG"
    frames = 0
    frames_trusted = False

    def __init__(self, path: str | os.PathLike) -> None:
        command = [
            "ffmpeg", "-nostdin", "-v", "quiet", "-timelimit", str(_FFMPEG_CPU_SECONDS), "-threads", "1",
            "-protocol_whitelist", "file,pipe", "-format_whitelist", _FFMPEG_FORMATS,
            "-i", os.path.abspath(path),  # absolute, so that no name is taken for an option or a protocol
            "-map", "0:a:0", "-vn", "-sn", "-dn", "-f", "au", "-c:a", "pcm_f32be", "pipe:1",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            head = self._process.stdout.read(_AU_HEADER.size)
            if len(head) < _AU_HEADER.size:
                raise OSError("ffmpeg gave no sound")
            magic, offset, _, encoding, self.sample_rate, self.channels = _AU_HEADER.unpack(head)
            if magic != b".snd" or encoding != _AU_FLOAT32 or not _AU_HEADER.size <= offset < 1 << 16:
                raise OSError("ffmpeg gave no AU stream")
            self._process.stdout.read(offset - _AU_HEADER.size)
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> np.ndarray:
        width = 4 * self.channels
        data = self._process.stdout.read(frames * width)
        whole = len(data) // width
        return (
            np.frombuffer(data, dtype=">f4", count=whole * self.channels)
            .astype(np.float32)
            .reshape(whole, self.channels)
        )

    def close(self) -> None:
        self._process.kill()
        self._process.stdout.close()
        self._process.wait()


def describe(source: Source) -> str:
    """Return the name of a source for a message."""
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return os.path.basename(name) if isinstance(name, str) and name else "The audio"
    return os.fspath(source)


def _open_any(source: Source) -> Reader:
    name = describe(source)
    is_path = not hasattr(source, "read")
    if is_path and not os.path.isfile(source):
        raise AudioError("undecodable", f"{name} is not a file; give the path of an audio file.")
    if is_path and os.path.getsize(source) == 0:
        raise AudioError("undecodable", f"{name} is empty (0 bytes); an audio file is needed.")
    try:
        return SndfileReader(source)
    except (sf.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: a headerless *.raw
        reason = error
    ffmpeg = shutil.which("ffmpeg") is not None
    if is_path and ffmpeg:
        try:
            return FfmpegReader(source)
        except OSError as error:
            reason = error
    more = "" if ffmpeg else "; installing ffmpeg adds other formats, such as m4a and wma, for files on disk"
    raise AudioError(
        "undecodable", f"{name} cannot be decoded as audio; {_READ_BY_LIBSNDFILE} are read{more}."
    ) from reason


@contextlib.contextmanager
def open_reader(source: Source) -> Iterator[Reader]:
    """Open a source with the first decoder that takes it.

    Parameters
    ----------
    source : path or binary file object
        A file object must be seekable and is read from its start; ffmpeg is tried for paths only.

    Raises
    ------
    AudioError
        ``undecodable``: no decoder takes it, or its header makes no sense.
    """
    reader = _open_any(source)
    try:
        if not (1 <= reader.sample_rate <= MAX_SAMPLE_RATE and reader.channels >= 1):
            raise AudioError(
                "undecodable",
                f"{describe(source)} declares {reader.sample_rate} Hz and {reader.channels} channels; "
                f"1 to {MAX_SAMPLE_RATE} Hz and at least one channel are right.",
            )
        yield reader
    finally:
        reader.close()
