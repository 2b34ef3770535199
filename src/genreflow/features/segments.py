"""Segments: the stretches of base log-mel frames that models take."""

from collections.abc import Iterable, Iterator

import numpy as np

from genreflow.errors import ParameterError


def segment_starts(n_frames: int, length: int, hop: int) -> np.ndarray:
    """Say where the segments of a track start.

    Parameters
    ----------
    n_frames : int >= 0 [frames]
    length, hop : int > 0 [frames]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int64], n > 0
        The multiples of `hop` at which a whole segment fits, and one more that ends with the track where those leave
        a rest; ``[0]`` for a track shorter than a segment.
    """
    _check(length, hop)
    last = max(0, n_frames - length)
    starts = np.arange(0, last + 1, hop, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def count_segments(pieces: Iterable[int], length: int, hop: int) -> int:
    """Segments of a track whose pieces have these many frames; none runs across two pieces."""
    return sum(len(segment_starts(n_frames, length, hop)) for n_frames in pieces)


def iter_segments(
    frame_blocks: Iterable[np.ndarray], *, length: int, hop: int, batch: int = 16
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Cut consecutive frames into the segments of `segment_starts`, in batches and in flat memory.

    Segments run across the borders of blocks: the blocks' sizes make no difference.

    Parameters
    ----------
    frame_blocks : iterable of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        What `LogMel.frames` yields.
    length, hop : int > 0 [frames]
    batch : int > 0
        Segments yielded together; the last batch may have fewer.

    Yields
    ------
    starts : np.ndarray [shape=(n,), dtype=int64]
        First frame of each segment.
    segments : np.ndarray [shape=(n, length, n_mels), dtype=float32]
        Frames divided by 255, so in [0, 1].
    short : bool
        True where the audio is shorter than one segment, which then is padded with 0 at its end. No frames give no
        segments.
    """
    _check(length, hop)
    if batch < 1:
        raise ParameterError(f"batch is {batch}; it must be at least 1.")
    held, offset, due, total = None, 0, 0, 0  # held[0] is frame `offset`; `due` is the next start
    for block in frame_blocks:
        held = block if held is None else np.concatenate([held, block])
        total = offset + len(held)
        while due + (batch - 1) * hop + length <= total:
            starts = due + hop * np.arange(batch)
            yield starts, _gather(held, starts - offset, length), False
            due += batch * hop
        # The end may come with the next block: what is due and the last `length` frames stay.
        drop = max(0, min(due, total - length) - offset)
        held, offset = held[drop:], offset + drop
    if not total:
        return
    starts = segment_starts(total, length, hop)
    starts = starts[starts > due - hop]  # all multiples of hop below `due` are out, the aligned last one is not
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        yield chosen, _gather(held, chosen - offset, length), total < length


def _gather(frames: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Copy segments out of uint8 frames, as float32 in [0, 1], padded with 0 where the frames end."""
    segments = np.zeros((len(starts), length, frames.shape[1]), dtype=np.float32)
    for segment, start in zip(segments, starts, strict=True):
        piece = frames[start : start + length]
        np.divide(piece, np.float32(255), out=segment[: len(piece)])
    return segments


def _check(length: int, hop: int) -> None:
    if length < 1 or hop < 1:
        raise ParameterError(f"A segment of {length} frames every {hop} frames was asked for; both must be at least 1.")
