"""From an audio file to a mono waveform at a given sample rate, block by block. Silence is no error here."""

import math
from collections.abc import Iterator

import numpy as np
import soxr

from genreflow.audio.readers import READ_SAMPLES, Reader, Source, open_reader, source_name
from genreflow.errors import AudioError

# 120 dB above full scale. A float file beyond it holds no audio, and its power would overflow float32.
MAX_AMPLITUDE = 1e6
# Samples of all channels per second of `max_seconds`: stereo at 96 kHz, or 8 channels at 24 kHz. With more of them, a
# small file of little content could take minutes to decode.
MAX_SAMPLES_PER_SECOND = 200_000


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
        for y in _mono_chunks(reader, source_name(source), sample_rate, max_seconds):
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
        return np.concatenate(list(_mono_chunks(reader, source_name(source), rate, max_seconds))), rate


def peak_level(flat: np.ndarray) -> float:
    """Return the largest absolute sample, or NaN if there is one."""
    return float(np.maximum(flat.max(), -flat.min()))


def iter_native(reader: Reader, *, name: str, max_seconds: float | None, size: int) -> Iterator[np.ndarray]:
    """Read blocks at the native sample rate, and check their samples.

    Parameters
    ----------
    reader : Reader
    name : str
        Name of the source in error messages.
    max_seconds : float > 0 [s] or None
        As in `iter_mono`.
    size : int
        Maximum samples per channel of a block; at least 1 is read.

    Yields
    ------
    block : np.ndarray [shape=(n, channels), dtype=float32], n > 0

    Raises
    ------
    AudioError
        Code ``unusable`` or ``too_long``, as in `iter_mono`.
    """
    limit = math.inf
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
        if not peak_level(block.reshape(-1)) <= MAX_AMPLITUDE:  # also false for NaN
            raise AudioError(
                "unusable",
                f"{name}: samples must be finite and at most {MAX_AMPLITUDE:g} (full scale is 1); got NaN, infinity or "
                "more.",
            )
        yield block
    if not frames:
        raise AudioError("unusable", f"{name}: must contain audio; got no samples.")


def _mono_chunks(reader: Reader, name: str, sample_rate: int, max_seconds: float | None) -> Iterator[np.ndarray]:
    """Yield float32 [shape=(n,)] at `sample_rate`, in chunks of varying length."""
    # The output is limited too: with a declared rate of 1 Hz, each sample would become `sample_rate` of them.
    size = int(READ_SAMPLES // reader.channels * min(1.0, reader.sample_rate / sample_rate))
    blocks = iter_native(reader, name=name, max_seconds=max_seconds, size=size)
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
