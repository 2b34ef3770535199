"""From an audio file to a mono waveform at a given sample rate, block by block, and properties of a file.

Silence raises no exception here: `inspect` returns peak and RMS, and its callers decide what is too soft to classify.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from genreflow.audio.headers import read_header
from genreflow.audio.readers import READ_SAMPLES, Reader, Source, open_reader, source_name
from genreflow.errors import AudioError

# 120 dB above full scale. A float file beyond it holds no audio, and its power would overflow float32.
MAX_AMPLITUDE = 1e6
# Samples of all channels per second of `max_seconds`: stereo at 96 kHz, or 8 channels at 24 kHz. With more of them, a
# small file of little content could take minutes to decode.
MAX_SAMPLES_PER_SECOND = 200_000
# Three consecutive samples at this level are not the peak of a wave, but a clipped one.
CLIPPED_LEVEL = 0.999


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file declares.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    frames : int >= 0
        Declared samples per channel, which may be wrong; 0 if the header does not declare them.
    duration : float >= 0 [s]
        ``frames / sample_rate``.
    format : str
        Container, in libsndfile's words ("WAV", "FLAC", "MP3"), or "FFMPEG".
    """

    sample_rate: int
    channels: int
    frames: int
    duration: float
    format: str


@dataclass(frozen=True)
class AudioFacts:
    """Properties of a file that was decoded completely.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    declared : float >= 0 [s]
        Duration in the header, 0 if it does not declare one. Much more than `duration` indicates a truncated file.
    duration : float > 0 [s]
        Decoded duration.
    peak : float >= 0
        Largest absolute sample of all channels; 1 is full scale.
    rms : float >= 0
        Root mean square of the samples of all channels.
    clipped : float in [0, 1]
        Share of the samples in runs of at least three, within a channel, of 0.999 or more. Runs are not continued from
        one block of 1 MB to the next.
    undeclared : float >= 0 [s]
        Duration of the samples after the declared end of a WAV or AU file; they are not decoded.
    declared_sample_rate : int > 0 [Hz] or None
        Sample rate that the bytes per second of a WAV header imply, if it differs from `sample_rate`.
    hash : str
        SHA-256, in hex, of sample rate, channels and float32 samples: equal for the same audio in any lossless format.
    """

    sample_rate: int
    channels: int
    declared: float
    duration: float
    peak: float
    rms: float
    clipped: float
    undeclared: float
    declared_sample_rate: int | None
    hash: str


def probe(source: Source) -> AudioInfo:
    """Read the header of a file.

    Parameters
    ----------
    source : path or binary file object

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioError
        Code ``undecodable``.
    """
    with open_reader(source) as reader:
        return AudioInfo(
            reader.sample_rate, reader.channels, reader.frames, reader.frames / reader.sample_rate, reader.format
        )


def inspect(source: Source, *, max_seconds: float | None = None) -> AudioFacts:
    """Decode a whole file at its native sample rate, in constant memory, and return its properties.

    Parameters
    ----------
    source : path or binary file object
    max_seconds : float > 0 [s], optional
        As in `iter_mono`.

    Returns
    -------
    AudioFacts

    Raises
    ------
    AudioError
        As `iter_mono`.
    """
    header = read_header(source)
    with open_reader(source) as reader:
        digest = hashlib.sha256(f"{reader.sample_rate} Hz {reader.channels} ch\n".encode())
        frames, peak, energy, clipped = 0, 0.0, 0.0, 0
        for block in _native_blocks(source, reader, max_seconds, READ_SAMPLES // reader.channels):
            digest.update(block.data)
            flat = block.reshape(-1)
            frames += len(block)
            block_peak = _peak(flat)
            peak = max(peak, block_peak)
            if block_peak >= CLIPPED_LEVEL:  # most blocks of most music need no count
                clipped += _count_clipped(block)
            energy += float(np.dot(flat, flat))
        return AudioFacts(
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            declared=(header.frames or reader.frames) / reader.sample_rate,
            duration=frames / reader.sample_rate,
            peak=peak,
            rms=math.sqrt(energy / (frames * reader.channels)),
            clipped=clipped / (frames * reader.channels),
            undeclared=header.undeclared / reader.sample_rate,
            declared_sample_rate=header.sample_rate,
            hash=digest.hexdigest(),
        )


def iter_mono(
    source: Source, *, sample_rate: int, block_seconds: float = 30.0, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """Decode a file block by block in constant memory: average the channels, then resample (soxr, high quality).

    A truncated file yields what it holds. Exceptions are raised by the iterator, not by the call.

    Parameters
    ----------
    source : path or binary file object
    sample_rate : int > 0 [Hz]
        Sample rate of the blocks.
    block_seconds : float > 0 [s]
        Duration of a block.
    max_seconds : float > 0 [s], optional
        Maximum duration of the source. The samples of all its channels are limited too, to `MAX_SAMPLES_PER_SECOND`
        times that.

    Yields
    ------
    y : np.ndarray [shape=(round(block_seconds * sample_rate),), dtype=float32]
        The last block may be shorter, but is not empty.

    Raises
    ------
    AudioError
        Code ``undecodable``: no decoder reads it. ``unusable``: no samples, or samples that are not finite or out of
        range. ``too_long``: more than `max_seconds`, raised as soon as that is certain.
    """
    size = max(1, round(block_seconds * sample_rate))
    held: list[np.ndarray] = []
    count = 0
    with open_reader(source) as reader:
        for y in _mono_chunks(source, reader, sample_rate, max_seconds):
            while count + len(y) >= size:
                cut = size - count
                yield np.concatenate([*held, y[:cut]])
                held, count, y = [], 0, y[cut:]
            if len(y):
                held.append(y)
                count += len(y)
    if count:
        yield np.concatenate(held)


def load(source: Source, *, sample_rate: int | None = None, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Decode a whole file to mono.

    Parameters
    ----------
    source : path or binary file object
    sample_rate : int > 0 [Hz], optional
        Sample rate to resample to; by default the native one.
    max_seconds : float > 0 [s], optional
        As in `iter_mono`.

    Returns
    -------
    y : np.ndarray [shape=(n,), dtype=float32]
    sample_rate : int > 0 [Hz]

    Raises
    ------
    AudioError
        As `iter_mono`.

    Examples
    --------
    >>> y, sample_rate = load("song.mp3", sample_rate=22050)  # doctest: +SKIP
    """
    with open_reader(source) as reader:
        rate = sample_rate or reader.sample_rate
        return np.concatenate(list(_mono_chunks(source, reader, rate, max_seconds))), rate


def _peak(flat: np.ndarray) -> float:
    """Return the largest absolute sample, or NaN if there is one."""
    return float(np.maximum(flat.max(), -flat.min()))


def _count_clipped(block: np.ndarray) -> int:
    """Count the samples in runs of at least three at full scale, channel by channel."""
    full = np.abs(block) >= CLIPPED_LEVEL
    middle = full[:-2] & full[1:-1] & full[2:]
    in_run = np.zeros_like(full)
    for shift in range(3):
        in_run[shift : shift + len(middle)] |= middle
    return int(np.count_nonzero(in_run))


def _native_blocks(source: Source, reader: Reader, max_seconds: float | None, size: int) -> Iterator[np.ndarray]:
    """Yield checked blocks of float32 [shape=(n, channels)] at the native sample rate, n in [1, max(1, size)]."""
    name, limit = source_name(source), math.inf
    if max_seconds is not None:
        limit = max_seconds * min(reader.sample_rate, MAX_SAMPLES_PER_SECOND / reader.channels)
    frames, declared = 0, reader.frames if reader.frames_trusted else 0
    while True:
        if max(frames, declared) > limit:
            seconds = limit / reader.sample_rate
            many = "" if seconds == max_seconds else f", with {reader.channels} channels at {reader.sample_rate} Hz"
            raise AudioError("too_long", f"{name}: must be at most {seconds:g} s long{many}; got more.")
        block = reader.read(max(1, size))
        if not len(block):
            break
        frames += len(block)
        if not _peak(block.reshape(-1)) <= MAX_AMPLITUDE:  # also false for NaN
            raise AudioError(
                "unusable",
                f"{name}: samples must be finite and at most {MAX_AMPLITUDE:g} (full scale is 1); got NaN, infinity or "
                "more.",
            )
        yield block
    if not frames:
        raise AudioError("unusable", f"{name}: must contain audio; got no samples.")


def _mono_chunks(source: Source, reader: Reader, sample_rate: int, max_seconds: float | None) -> Iterator[np.ndarray]:
    """Yield float32 [shape=(n,)] at `sample_rate`, in chunks of varying length."""
    # The output is limited too: with a declared rate of 1 Hz, each sample would become `sample_rate` of them.
    size = int(READ_SAMPLES // reader.channels * min(1.0, reader.sample_rate / sample_rate))
    blocks = _native_blocks(source, reader, max_seconds, size)
    if reader.sample_rate == sample_rate:
        yield from map(_mix_down, blocks)
        return
    stream = soxr.ResampleStream(reader.sample_rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(_mix_down(block))
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _mix_down(block: np.ndarray) -> np.ndarray:
    """Average the channels by adding columns: NumPy's mean over a short axis takes five times as long."""
    if block.shape[1] == 1:
        return block[:, 0]
    mono = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        mono += block[:, channel]
    mono *= np.float32(1 / block.shape[1])
    return mono
