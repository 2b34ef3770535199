"""Two decoders at the native sample rate: libsndfile, and ffmpeg for the files that libsndfile does not read."""

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

# Suffixes of audio files in a folder: those that libsndfile reads, then those that ffmpeg adds. Headerless .raw files
# cannot be read.
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".voc", ".sph", ".nist",
    ".m4a", ".m4b", ".mp4", ".aac", ".ac3", ".wma", ".asf", ".ape", ".wv", ".tta", ".mka", ".webm", ".mpc", ".amr",
    ".3gp", ".dsf", ".mov",
})  # fmt: skip

MAX_SAMPLE_RATE = 768_000
# Samples of all channels per read: 1 MB of float32, whatever the header declares.
READ_SAMPLES = 1 << 18
# Subtypes whose declared length libsndfile limits to the size of the file, so that it can be trusted.
_UNCOMPRESSED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_LIBSNDFILE_FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64 or rf64"
# Audio containers only: a playlist would make ffmpeg open other files of this machine.
_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,dts,eac3,flac,iff,matroska,webm,mov,mp4,m4a,mp3,mpc,mpc8,ogg,tta,w64,wav,wv"
)
_FFMPEG_CPU_SECONDS = 600
_AU_HEADER = struct.Struct(">4s5I")
_AU_FLOAT32 = 6


class Reader(Protocol):
    """An open source of samples at the native rate.

    Attributes
    ----------
    sample_rate : int [Hz]
    channels : int
    frames : int >= 0
        Declared samples per channel, 0 if the header does not declare them.
    frames_trusted : bool
        Whether the source holds at least the declared samples.
    format : str
        Container, in libsndfile's words ("WAV", "FLAC", "MP3"), or "FFMPEG".
    """

    sample_rate: int
    channels: int
    frames: int
    frames_trusted: bool
    format: str

    def read(self, frames: int) -> np.ndarray:
        """Return at most `frames` samples per channel, float32 [shape=(n, channels)]; none at the end."""

    def close(self) -> None: ...


class _LenientFile:
    """A file object whose invalid seeks, which a damaged header may cause, leave the position as it is.

    libsndfile calls it from C: an exception would be lost, after a traceback on standard error.
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
    """Reads a path or a binary file object with libsndfile.

    Raises
    ------
    soundfile.SoundFileError, OSError, TypeError, ValueError
        libsndfile does not read it.
    """

    def __init__(self, source: Source) -> None:
        if isinstance(source, str | os.PathLike):
            # An absolute path: libsndfile takes "-" for standard input.
            self._file = sf.SoundFile(os.path.abspath(source))
        else:
            source.seek(0)
            self._file = sf.SoundFile(_LenientFile(source))
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        # libsndfile returns the largest integer if the header does not declare a length.
        self.frames: int = self._file.frames if 0 < self._file.frames < 2**62 else 0
        self.frames_trusted = self.frames > 0 and self._file.subtype.startswith(_UNCOMPRESSED)
        self.format: str = self._file.format
        self._failed = False

    def read(self, frames: int) -> np.ndarray:
        block = np.full((frames, self.channels), np.nan, dtype=np.float32)
        if self._failed:
            return block[:0]
        try:
            return self._file.read(out=block)
        except (sf.SoundFileError, OSError):
            # Truncated or damaged: what was decoded before the error has replaced the NaN.
            self._failed = True
            missing = np.isnan(block[:, 0])
            return block[: int(missing.argmax()) if missing.any() else frames]

    def close(self) -> None:
        self._file.close()


class FfmpegReader:
    """Reads a path with an ffmpeg process, which writes 32-bit float AU: its header has sample rate and channels.

    Raises
    ------
    OSError
        ffmpeg does not read it.
    """

    format = "FFMPEG"
    frames = 0
    frames_trusted = False

    def __init__(self, path: str | os.PathLike) -> None:
        command = [
            "ffmpeg", "-nostdin", "-v", "quiet", "-timelimit", str(_FFMPEG_CPU_SECONDS), "-threads", "1",
            "-protocol_whitelist", "file,pipe", "-format_whitelist", _FFMPEG_FORMATS,
            "-i", os.path.abspath(path),  # absolute, so that no name is parsed as an option or a protocol
            "-map", "0:a:0", "-vn", "-sn", "-dn", "-f", "au", "-c:a", "pcm_f32be", "pipe:1",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        try:
            head = self._stdout.read(_AU_HEADER.size)
            if len(head) < _AU_HEADER.size:
                raise OSError("ffmpeg decoded no audio")
            magic, offset, _, encoding, self.sample_rate, self.channels = _AU_HEADER.unpack(head)
            if magic != b".snd" or encoding != _AU_FLOAT32 or not _AU_HEADER.size <= offset < 1 << 16:
                raise OSError("ffmpeg wrote no AU header")
            self._stdout.read(offset - _AU_HEADER.size)
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> np.ndarray:
        frame_bytes = 4 * self.channels
        data = self._stdout.read(frames * frame_bytes)
        n = len(data) // frame_bytes
        return np.frombuffer(data, dtype=">f4", count=n * self.channels).astype(np.float32).reshape(n, self.channels)

    def close(self) -> None:
        self._process.kill()
        self._stdout.close()
        self._process.wait()


def source_name(source: Source) -> str:
    """Return how error messages name a source: its path, the name of its file object, or ``audio``."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "audio"


@contextlib.contextmanager
def open_reader(source: Source) -> Iterator[Reader]:
    """Open a source with the first decoder that reads it.

    Parameters
    ----------
    source : path or binary file object
        A file object must be seekable and is read from its start. ffmpeg reads paths only.

    Yields
    ------
    Reader

    Raises
    ------
    AudioError
        Code ``undecodable``: no decoder reads it, or its sample rate or number of channels is invalid.
    """
    reader = _open_any(source)
    try:
        if not (1 <= reader.sample_rate <= MAX_SAMPLE_RATE and reader.channels >= 1):
            raise AudioError(
                "undecodable",
                f"{source_name(source)}: must have a sample rate between 1 and {MAX_SAMPLE_RATE} Hz and at least one "
                f"channel; got {reader.sample_rate} Hz and {reader.channels} channels.",
            )
        yield reader
    finally:
        reader.close()


def _open_any(source: Source) -> Reader:
    name = source_name(source)
    path = source if isinstance(source, str | os.PathLike) else None
    if path is not None and not os.path.isfile(path):
        raise AudioError("undecodable", f"{name}: must be an audio file; got no file.")
    if path is not None and os.path.getsize(path) == 0:
        raise AudioError("undecodable", f"{name}: must be an audio file; got an empty file.")
    try:
        return SndfileReader(source)
    except (sf.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: a headerless *.raw
        reason: Exception = error
    has_ffmpeg = shutil.which("ffmpeg") is not None
    if path is not None and has_ffmpeg:
        try:
            return FfmpegReader(path)
        except OSError as error:
            reason = error
    hint = "" if has_ffmpeg else " With ffmpeg installed, files on disk may have other formats, such as m4a and wma."
    raise AudioError(
        "undecodable", f"{name}: must be audio such as {_LIBSNDFILE_FORMATS}; got a file that cannot be decoded.{hint}"
    ) from reason
