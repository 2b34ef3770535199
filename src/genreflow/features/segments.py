"""Segments: the fixed-length sequences of base log-mel frames that a model takes."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from genreflow.errors import ParameterError


def segment_starts(n_frames: int, length: int, hop: int) -> np.ndarray:
    """Return the first frame of each segment of a track.

    Parameters
    ----------
    n_frames : int >= 0 [frames]
        Length of the track.
    length : int > 0 [frames]
        Length of a segment.
    hop : int > 0 [frames]
        Distance between the starts of consecutive segments.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int64], n > 0
        The multiples of `hop` at which a complete segment starts. If they leave frames at the end of the track, one
        more segment is aligned to the end. ``[0]`` for a track shorter than a segment.

    Raises
    ------
    ParameterError
        `length` or `hop` is less than 1.
    """
    _check(length=length, hop=hop)
    last = max(0, n_frames - length)
    starts = np.arange(0, last + 1, hop, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def count_segments(pieces: Iterable[int], length: int, hop: int) -> int:
    """Return the number of segments of a track; no segment spans two pieces.

    Parameters
    ----------
    pieces : iterable of int >= 0 [frames]
        Lengths of the pieces of the track.
    length, hop : int > 0 [frames]
        As in `segment_starts`.
    """
    return sum(len(segment_starts(n_frames, length, hop)) for n_frames in pieces)


def limit_per_track(counts: Sequence[int] | np.ndarray, cap: float | None) -> np.ndarray:
    """Limit the segments of each track to a multiple of the median, so that no long track dominates the others.

    Parameters
    ----------
    counts : sequence of int > 0 [shape=(n_tracks,)]
        Segments of each track.
    cap : float >= 1 or None
        Largest number, as a multiple of the median of `counts`; None: no limit.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=int64]

    Examples
    --------
    >>> limit_per_track([23, 14, 3563, 14], 2.0).tolist()
    [23, 14, 37, 14]
    """
    counts = np.asarray(counts, np.int64)
    if cap is None or not len(counts):
        return counts
    return np.minimum(counts, math.ceil(cap * float(np.median(counts))))


def iter_segments(
    frame_blocks: Iterable[np.ndarray], *, length: int, hop: int, batch: int = 16
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Cut a stream of frames into the segments of `segment_starts`, in batches and in constant memory.

    Segments span blocks: the segments do not depend on the sizes of the blocks.

    Parameters
    ----------
    frame_blocks : iterable of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Consecutive frames, as `LogMel.frames` yields them. Without frames there are no segments.
    length, hop : int > 0 [frames]
        As in `segment_starts`.
    batch : int > 0
        Segments per batch; the last batch may have fewer.

    Yields
    ------
    starts : np.ndarray [shape=(n,), dtype=int64]
        First frame of each segment.
    segments : np.ndarray [shape=(n, length, n_mels), dtype=float32], in [0, 1]
        Frames divided by 255.
    short : bool
        Whether the audio is shorter than one segment. It is then padded with 0 at its end.

    Raises
    ------
    ParameterError
        `length`, `hop` or `batch` is less than 1.
    """
    _check(length=length, hop=hop, batch=batch)
    held, offset, due, total = np.zeros((0, 0), np.uint8), 0, 0, 0  # held[0] is frame `offset`; `due` the next start
    for block in frame_blocks:
        held = np.concatenate([held, block]) if len(held) else block
        total = offset + len(held)
        while due + (batch - 1) * hop + length <= total:
            starts = due + hop * np.arange(batch)
            yield starts, _gather(held, starts - offset, length), False
            due += batch * hop
        # If no block follows, the last segment is aligned to the end: keep what is due and the last `length` frames.
        drop = max(0, min(due, total - length) - offset)
        held, offset = held[drop:], offset + drop
    if not total:
        return
    starts = segment_starts(total, length, hop)
    starts = starts[starts > due - hop]  # those up to `due - hop` were yielded; the aligned last one never was
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        yield chosen, _gather(held, chosen - offset, length), total < length


def _gather(frames: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return segments of uint8 frames as float32 in [0, 1], padded with 0 after the last frame."""
    segments = np.zeros((len(starts), length, frames.shape[1]), dtype=np.float32)
    for segment, start in zip(segments, starts, strict=True):
        piece = frames[start : start + length]
        np.divide(piece, np.float32(255), out=segment[: len(piece)])
    return segments


def _check(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ParameterError(f"segments: {name} must be >= 1; got {value}.")
