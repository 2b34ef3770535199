"""From an audio file to a mono waveform at a given sample rate, block by block. Silence is no error here."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from genreflow.audio.blocks import MAX_SAMPLE_RATE, READ_SAMPLES, Block, Reader
from genreflow.audio.input_file import Source, source_name
from genreflow.audio.levels import Levels
from genreflow.audio.readers import open_reader
from genreflow.audio.resampling import regrouped, resampled
from genreflow.errors import AudioError, counted

# 120 dB above full scale. A float file beyond it holds no audio, and its power would overflow float32.
MAX_AMPLITUDE = 1e6
# Samples of all channels per second of `max_seconds`: stereo at 48 kHz, or 8 channels at 12 kHz. With more of them, a
# small file of little content could take minutes to decode.
MAX_SAMPLES_PER_SECOND = 100_000

T = TypeVar("T")


class OppositeChannels(Exception):
    """The channels of a file cancel each other, so that what was made of their mean is void."""


def decode_mono(
    source: Source,
    consume: Callable[[Iterator[np.ndarray]], T],
    *,
    sample_rate: int | None,
    block_seconds: float = 30.0,
    max_seconds: float | None = None,
    name: str | None = None,
) -> tuple[T, Levels]:
    """Decode a file to mono and process its blocks.

    Training and service share this, so that both mix the channels in the same way: see `genreflow.audio.levels`. A file
    whose channels cancel each other is decoded twice, and `consume` is called twice.

    Parameters
    ----------
    source : path or binary file object
    consume : callable
        From the blocks that `iter_mono` yields, all of which it must take, to a result.
    sample_rate, block_seconds, max_seconds, name
        As in `iter_mono`.

    Returns
    -------
    result : object
        What `consume` returned.
    levels : Levels
        Of the channels at the native sample rate.

    Raises
    ------
    AudioError, OSError
        As `iter_mono`.
    """
    levels = Levels()

    def blocks(channel: int | None = None) -> Iterator[np.ndarray]:
        return iter_mono(
            source,
            sample_rate=sample_rate,
            block_seconds=block_seconds,
            max_seconds=max_seconds,
            name=name,
            levels=levels if channel is None else None,
            channel=channel,
        )

    try:
        return consume(blocks()), levels
    except OppositeChannels:
        return consume(blocks(levels.loudest)), levels


def iter_mono(
    source: Source,
    *,
    sample_rate: int | None,
    block_seconds: float = 30.0,
    max_seconds: float | None = None,
    name: str | None = None,
    levels: Levels | None = None,
    channel: int | None = None,
) -> Iterator[np.ndarray]:
    """Decode a file block by block in constant memory: mix the channels, then resample (soxr, high quality).

    A truncated file yields what it holds. Exceptions are raised by the iterator, not by the call.

    Parameters
    ----------
    source : path or binary file object
    sample_rate : int > 0 [Hz] or None
        Sample rate of the blocks; None: that of the beginning of the file.
    block_seconds : float > 0 [s]
        Duration of a block.
    max_seconds : float > 0 [s], optional
        Maximum duration of the source. The samples of all its channels are limited too, to `MAX_SAMPLES_PER_SECOND`
        times that.
    name : str, optional
        Name of the source in error messages; by default its path or the name of the file object.
    levels : Levels, optional
        Measures the channels.
    channel : int >= 0, optional
        The channel to use instead of the mean of all.

    Yields
    ------
    y : np.ndarray [shape=(round(block_seconds * sample_rate),), dtype=float32]
        The last block may be shorter, but is not empty.

    Raises
    ------
    AudioError
        Code ``undecodable``: no decoder reads it. ``unusable``: no samples, or samples that are not finite or out of
        range. ``too_long``: more than `max_seconds`, raised as soon as that is certain.
    OppositeChannels
        At the end, without `channel`: the mean of the channels must not be used.
    OSError
        The source cannot be read.
    """
    name = name or source_name(source)
    levels = levels or Levels()
    with open_reader(source, name=name) as reader:
        rate = sample_rate or reader.sample_rate
        blocks = iter_native(reader, levels, name=name, max_seconds=max_seconds)
        yield from regrouped(resampled(_mono(blocks, channel), rate), max(1, round(block_seconds * rate)))
    if channel is None and levels.cancelled_db is not None:
        raise OppositeChannels


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
    y, _ = decode_mono(source, lambda blocks: np.concatenate(list(blocks)), sample_rate=rate, max_seconds=max_seconds)
    return y, rate


def iter_native(
    reader: Reader, levels: Levels, *, name: str, max_seconds: float | None
) -> Iterator[tuple[Block, np.ndarray]]:
    """Read blocks at the native sample rate, and check and measure their samples.

    Parameters
    ----------
    reader : Reader
    levels : Levels
        Measures the channels.
    name : str
        Name of the source in error messages.
    max_seconds : float > 0 [s] or None
        As in `iter_mono`.

    Yields
    ------
    block : Block
        At least one sample of each channel.
    mean : np.ndarray [shape=(n,), dtype=float32]
        Of the channels.

    Raises
    ------
    AudioError
        Code ``undecodable``, ``unusable`` or ``too_long``, as in `iter_mono`.
    """
    seconds, samples = reader.declared if reader.trusted else 0.0, 0
    _check_length(name, seconds, reader.channels * reader.sample_rate * seconds, reader, max_seconds)
    seconds = 0.0
    while True:
        block = reader.read(max(1, READ_SAMPLES // reader.channels))
        channels, size = block.samples.shape
        if not size:
            break
        if not 1 <= block.sample_rate <= MAX_SAMPLE_RATE:
            raise AudioError(
                "undecodable",
                f"{name}: must have a sample rate between 1 and {MAX_SAMPLE_RATE} Hz; got {block.sample_rate} Hz.",
            )
        seconds += size / block.sample_rate
        samples += size * channels
        _check_length(name, seconds, samples, reader, max_seconds)
        mean = levels.add(block.samples)
        if not levels.block_peak <= MAX_AMPLITUDE:  # also false for NaN
            raise AudioError(
                "unusable",
                f"{name}: samples must be finite and at most {MAX_AMPLITUDE:g} (full scale is 1); got NaN, infinity or "
                "more.",
            )
        yield block, mean
    if not samples:
        raise AudioError("unusable", f"{name}: must contain audio; got no samples.")


def _check_length(name: str, seconds: float, samples: float, reader: Reader, max_seconds: float | None) -> None:
    if max_seconds is None:
        return
    if seconds > max_seconds:
        raise AudioError("too_long", f"{name}: must be at most {max_seconds:g} s long; got more.")
    if samples > max_seconds * MAX_SAMPLES_PER_SECOND:
        limit = max_seconds * MAX_SAMPLES_PER_SECOND / (reader.sample_rate * reader.channels)
        many = f"with {counted(reader.channels, 'channel')} at {reader.sample_rate} Hz"
        raise AudioError("too_long", f"{name}: must be at most {limit:g} s long, {many}; got more.")


def _mono(blocks: Iterator[tuple[Block, np.ndarray]], channel: int | None) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the mean of the channels, or one of them, with its sample rate."""
    for (samples, sample_rate), mean in blocks:
        yield mean if channel is None else samples[min(channel, len(samples) - 1)], sample_rate
