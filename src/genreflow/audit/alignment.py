"""Decide whether two tracks are the same recording by aligning them window by window."""

from typing import NamedTuple

import numpy as np

from genreflow.audit.fingerprint import parabola_vertex

# Part of the key of cached alignments: increase it when equal frames and candidates give other alignments than before.
VERSION = 1
# Minimum overlap of two tracks [s]; shorter overlaps cannot be compared reliably.
MIN_OVERLAP = 3.0
# Short, so that the shift of a copy at 2 % other speed drifts by little more than a frame within a window.
_WINDOW_SECONDS = 3.0
# Search range around the expected shift [s]. The candidate's shift is that of a histogram bin; from one window to the
# next, the shift of a copy at 3 % other speed drifts by 0.09 s.
_FIRST_RANGE, _NEXT_RANGE = 0.5, 0.1
# Minimum correlation of a window whose shift is used.
_MIN_CORRELATION = 0.3


class Alignment(NamedTuple):
    """Similarity of two tracks over their overlap, and their relative position.

    Time t in the first track corresponds to ``offset + t / speed`` in the second.

    Parameters
    ----------
    similarity : float in [0, 1]
        Correlation of their band differences.
    offset : float [s]
    speed : float > 0
    """

    similarity: float
    offset: float
    speed: float


class _Match(NamedTuple):
    """Best correlation and shift [frames] of a window, and its energy, which is its weight."""

    correlation: float
    shift: float
    energy: float


def align(first: np.ndarray, second: np.ndarray, rate: float, *, time: float, shift: float) -> Alignment | None:
    """Align two tracks over their whole overlap.

    Starting at a `Candidate`, the alignment proceeds in both directions; the shift of each window is searched around
    that of its neighbour. Therefore no speed is assumed, and tracks may be hours long.

    Parameters
    ----------
    first, second : np.ndarray [shape=(frames, bands), dtype=float32]
        Band differences, see `genreflow.audit.fingerprint.band_differences`.
    rate : float > 0 [1/s]
        Frame rate.
    time, shift : float [s]
        Of the `Candidate`.

    Returns
    -------
    Alignment or None
        None if the overlap is shorter than `MIN_OVERLAP` or silent.
    """
    begin, end = max(0, round(-shift * rate)), min(len(first), round(len(second) - shift * rate))
    if end - begin < MIN_OVERLAP * rate:
        return None
    windows = max(1, round((end - begin) / (_WINDOW_SECONDS * rate)))
    edges = np.linspace(begin, end, windows + 1).round().astype(int)
    start = int(np.clip(np.searchsorted(edges, time * rate) - 1, 0, windows - 1))

    matches: dict[int, _Match] = {}
    for direction in (range(start, windows), range(start - 1, -1, -1)):
        expected = matches[start].shift if start in matches else shift * rate
        for window in direction:
            search_range = max(1, round((_NEXT_RANGE if matches else _FIRST_RANGE) * rate))
            match = _match(first[edges[window] : edges[window + 1]], edges[window], second, expected, search_range)
            if match:
                matches[window] = match
                expected = match.shift if match.correlation > _MIN_CORRELATION else expected
    if not matches:
        return None
    centres = np.array([(edges[window] + edges[window + 1]) / 2 for window in matches])
    return _summarize(list(matches.values()), centres, rate)


def _summarize(matches: list[_Match], centres: np.ndarray, rate: float) -> Alignment:
    """Fit offset and speed to the shifts of the windows."""
    correlations, shifts, energies = np.array(matches).T
    similarity = float(np.clip(np.average(correlations, weights=energies), 0, 1))
    reliable = correlations > _MIN_CORRELATION
    slope, offset = 0.0, float(np.average(shifts, weights=energies))
    if reliable.sum() > 1:
        slope, offset = np.polyfit(centres[reliable], shifts[reliable], 1, w=np.sqrt(energies[reliable]))
    return Alignment(similarity, float(offset / rate), float(1 / (1 + slope)))


def _match(window: np.ndarray, begin: int, track: np.ndarray, expected: float, search_range: int) -> _Match | None:
    """Find the shift near `expected` at which a window correlates best with a track; `begin` is its first frame."""
    energy = float(np.vdot(window, window))
    middle = begin + round(expected)
    first, last = max(0, middle - search_range), min(len(track) - len(window), middle + search_range)
    if not energy or first > last or not first <= middle <= last + 1:  # silent, or beyond the ends of the track
        return None
    positions = np.arange(first, last + 1)
    correlation = np.zeros(len(positions))
    for i, position in enumerate(positions):
        other = track[position : position + len(window)]
        scale = energy * float(np.vdot(other, other))
        correlation[i] = np.vdot(window, other) / np.sqrt(scale) if scale else 0.0
    best = int(np.argmax(correlation))
    fraction = 0.0
    if 0 < best < len(positions) - 1:
        fraction = float(parabola_vertex(*correlation[best - 1 : best + 2]))
    return _Match(float(correlation[best]), float(positions[best] - begin + fraction), energy)
