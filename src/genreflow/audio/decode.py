"""From an audio file to a mono waveform at a chosen rate, block by block, and the facts of a file.

Silence is no error here: `inspect` tells peak and rms, and whoever asks for a genre (the audit of a collection, the
predictor of the service) judges whether that is too little to classify.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from genreflow.audio.headers import read_claims
from genreflow.audio.readers import READ_SAMPLES, Reader, Source, describe, open_reader
from genreflow.errors import AudioError

# 120 dB above full scale: beyond it a float file holds no sound, and its power would overflow float32.
MAX_AMPLITUDE = 1e6
# Of all channels, for each second that a caller's limit allows: stereo at 96 kHz, or 8 channels at 24 kHz. With more, a
# small file that holds next to nothing could take minutes to decode.
MAX_SAMPLES_A_SECOND = 200_000
# Three samples in a row at full scale are no peak of a wave, but one cut off.
CLIPPED_LEVEL = 0.999


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file declares.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    frames : int >= 0
        Samples a channel as declared, which may be wrong; 0 where the header does not say.
    duration : float >= 0 [s]
        ``frames / sample_rate``.
    format : str
        Container, as libsndfile names it ("WAV", "FLAC", "MP3"), or "FFMPEG".
    """

    sample_rate: int
    channels: int
    frames: int
    duration: float
    format: str


@dataclass(frozen=True)
class AudioFacts:
    """What decoding a whole file shows.

    Parameters
    ----------
    sample_rate : int in [1, 768000] [Hz]
    channels : int > 0
    declared : float >= 0 [s]
        Duration by the header, 0 where it does not say; much more than `duration` marks a truncated file.
    duration : float > 0 [s]
        Duration decoded.
    peak : float >= 0
        Greatest absolute sample of any channel; 1 is full scale.
    rms : float >= 0
        Root mean square over all samples of all channels.
    clipped : float in [0, 1]
        Share of the samples that stand in runs of three or more, within a channel, at 0.999 or beyond. Runs are not
        followed from one block that is read (a megabyte) to the next.
    undeclared : float >= 0 [s]
        Sound behind the end that the header of a WAV or AU file declares; it is not decoded.
    declared_sample_rate : int > 0 [Hz] or None
        A second rate that the header of a WAV file implies by its bytes a second, where it differs from `sample_rate`.
    hash : str
        SHA-256 (hex) of sample rate, channels and the decoded float32 samples: the same for the same music in any
        lossless container.
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

    Raises
    ------
    AudioError
        ``undecodable``.
    """
    with open_reader(source) as reader:
        return AudioInfo(
            reader.sample_rate, reader.channels, reader.frames, reader.frames / reader.sample_rate, reader.format
        )


def inspect(source: Source, *, max_seconds: float | None = None) -> AudioFacts:
    """Decode a whole file once, at its native rate and in flat memory, and tell what it holds.

    Parameters
    ----------
    source : path or binary file object
    max_seconds : float > 0 or None [s]

    Raises
    ------
    AudioError
        ``undecodable``, ``unusable`` (no samples, or samples that are no finite sound), ``too_long``.
    """
    claims = read_claims(source)
    with open_reader(source) as reader:
        digest = hashlib.sha256(f"{reader.sample_rate} Hz {reader.channels} ch\n".encode())
        frames, peak, energy, clipped = 0, 0.0, 0.0, 0
        for block in _native_blocks(source, reader, max_seconds, READ_SAMPLES // reader.channels):
            digest.update(block)
            flat = block.reshape(-1)
            frames += len(block)
            loudest = _peak(flat)
            peak = max(peak, loudest)
            if loudest >= CLIPPED_LEVEL:  # most blocks of most music are spared the count
                clipped += _clipped(block)
            energy += float(np.dot(flat, flat))
        return AudioFacts(
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            declared=(claims.frames or reader.frames) / reader.sample_rate,
            duration=frames / reader.sample_rate,
            peak=peak,
            rms=math.sqrt(energy / (frames * reader.channels)),
            clipped=clipped / (frames * reader.channels),
            undeclared=claims.undeclared / reader.sample_rate,
            declared_sample_rate=claims.sample_rate,
            hash=digest.hexdigest(),
        )


def iter_mono(
    source: Source, *, sample_rate: int, block_seconds: float = 30.0, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """Decode a file block by block: channels averaged, then resampled (soxr, high quality), in flat memory.

    A truncated file gives what is there. Errors come when the blocks are asked for, not when this is called.

    Parameters
    ----------
    source : path or binary file object
    sample_rate : int > 0 [Hz]
        Rate of the blocks.
    block_seconds : float > 0 [s]
    max_seconds : float > 0 or None [s]
        Limit on the length of the source; on its samples of all channels, `MAX_SAMPLES_A_SECOND` times that.

    Yields
    ------
    y : np.ndarray [shape=(round(block_seconds * sample_rate),), dtype=float32]
        The last one may be shorter, but is not empty.

    Raises
    ------
    AudioError
        ``undecodable``: no decoder reads it; ``unusable``: no samples, or samples that are no finite sound;
        ``too_long``: beyond the limit of `max_seconds`, raised as soon as that is certain.
    """
    size = max(1, round(block_seconds * sample_rate))
    held, count = [], 0
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
    sample_rate : int > 0 or None [Hz]
        Rate to resample to; None keeps the native one.
    max_seconds : float > 0 or None [s]

    Returns
    -------
    y : np.ndarray [shape=(n,), dtype=float32]
    sample_rate : int > 0 [Hz]

    Raises
    ------
    AudioError
        As `iter_mono` does.
    """
    with open_reader(source) as reader:
        rate = sample_rate or reader.sample_rate
        return np.concatenate(list(_mono_chunks(source, reader, rate, max_seconds))), rate


def _peak(flat: np.ndarray) -> float:
    """Return the greatest absolute sample; NaN where one is NaN."""
    return float(np.maximum(flat.max(), -flat.min()))


def _clipped(block: np.ndarray) -> int:
    """Count the samples in runs of three or more at full scale, channel by channel."""
    full = np.abs(block) >= CLIPPED_LEVEL
    middle = full[:-2] & full[1:-1] & full[2:]
    in_run = np.zeros_like(full)
    for shift in range(3):
        in_run[shift : shift + len(middle)] |= middle
    return int(np.count_nonzero(in_run))


def _native_blocks(source: Source, reader: Reader, max_seconds: float | None, size: int) -> Iterator[np.ndarray]:
    """Yield checked blocks of float32 [shape=(n, channels)] at the native rate, n in [1, max(1, size)]."""
    limit = math.inf
    if max_seconds is not None:
        limit = max_seconds * min(reader.sample_rate, MAX_SAMPLES_A_SECOND / reader.channels)
    frames, declared = 0, reader.frames if reader.frames_trusted else 0
    while True:
        if max(frames, declared) > limit:
            raise AudioError(
                "too_long",
                f"{describe(source)} is longer than {limit / reader.sample_rate:g} s, the longest that is accepted "
                f"of {reader.channels} channels at {reader.sample_rate} Hz.",
            )
        block = reader.read(max(1, size))
        if not len(block):
            break
        frames += len(block)
        if not _peak(block.reshape(-1)) <= MAX_AMPLITUDE:  # NaN fails it too
            raise AudioError(
                "unusable",
                f"{describe(source)} holds samples that are NaN, infinite or beyond {MAX_AMPLITUDE:g}; "
                "finite samples with full scale at 1 are right.",
            )
        yield block
    if not frames:
        raise AudioError("unusable", f"{describe(source)} holds no samples; sound is needed.")


def _mono_chunks(source: Source, reader: Reader, sample_rate: int, max_seconds: float | None) -> Iterator[np.ndarray]:
    """Yield float32 [shape=(n,)] at `sample_rate`, in chunks of no fixed length."""
    # Bounded by what comes out too: a header of 1 Hz would blow up each sample to sample_rate of them.
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
    """Average the channels (a sum of columns: NumPy's mean over a short axis is five times slower)."""
    if block.shape[1] == 1:
        return block[:, 0]
    mono = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        mono += block[:, channel]
    mono *= np.float32(1 / block.shape[1])
    return mono
