"""A stream of samples at another sample rate, and in blocks of another size."""

from collections.abc import Iterator

import numpy as np
import soxr

from genreflow.audio.blocks import READ_SAMPLES


def resampled(chunks: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    """Resample a stream (soxr, high quality). Each part of a joined file is resampled from its own sample rate.

    Parameters
    ----------
    chunks : iterator of tuple
        ``y`` [shape=(n,), dtype=float32] and its sample rate [Hz].
    sample_rate : int > 0 [Hz]
        Of the result.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]
        Chunks of varying length.
    """
    stream: soxr.ResampleStream | None = None
    native = 0
    for y, rate in chunks:
        if rate != native:
            if stream is not None:
                yield _finish(stream)
            stream = None
            if rate != sample_rate:
                stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
            native = rate
        if stream is None:
            yield y
            continue
        # With a declared rate of 1 Hz, each sample would become `sample_rate` of them.
        size = max(1, int(READ_SAMPLES * min(1.0, rate / sample_rate)))
        for begin in range(0, len(y), size):
            yield stream.resample_chunk(y[begin : begin + size])
    if stream is not None:
        yield _finish(stream)


def _finish(stream: soxr.ResampleStream) -> np.ndarray:
    return stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def regrouped(chunks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the samples of chunks in blocks of `size`, the last of which may be shorter."""
    held: list[np.ndarray] = []
    count = 0
    for y in chunks:
        while count + len(y) >= size:
            cut = size - count
            yield np.concatenate([*held, y[:cut]])
            held, count, y = [], 0, y[cut:]
        if len(y):
            held.append(y)
            count += len(y)
    if count:
        yield np.concatenate(held)
