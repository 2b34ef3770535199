"""Whether two tracks are one recording: one is followed through the other, window by window."""

from typing import NamedTuple

import numpy as np

from genreflow.audit.fingerprint import vertex

# Of music that both tracks have; less is not told apart reliably.
MIN_OVERLAP = 3.0
# Short, so that a copy of 2 % other speed drifts by little more than a frame within one.
_WINDOW_SECONDS = 3.0
# The candidate's shift is that of a bin; from one window to the next a copy of 3 % other speed drifts by 0.09 s.
_FIRST_REACH, _NEXT_REACH = 0.5, 0.1
# A window that fits less says nothing of the shift.
_CLEAR = 0.3


class Alignment(NamedTuple):
    """How alike two tracks are where they overlap, and how one lies on the other.

    What is heard at t seconds of the first is heard at ``offset + t / speed`` of the second.

    Parameters
    ----------
    similarity : float [0 to 1]
        Correlation of their textures.
    offset : float [s]
    speed : float > 0
    """

    similarity: float
    offset: float
    speed: float


class _Match(NamedTuple):
    """Correlation and shift [frames] of a window where it fits best, and its energy, by which it counts."""

    correlation: float
    shift: float
    energy: float


def align(first: np.ndarray, second: np.ndarray, rate: float, *, time: float, shift: float) -> Alignment | None:
    """Compare two tracks over all that they can have in common.

    Parameters
    ----------
    first, second : np.ndarray [shape=(frames, bands), dtype=float32]
        Textures.
    rate : float [1/s]
        Of their frames.
    time, shift : float [s]
        Where they meet, as a `Candidate` says. From there the music is followed in both directions, each window's
        shift being looked for about its neighbour's: so no speed is assumed, and tracks may be hours long.

    Returns
    -------
    Alignment or None
        None if they overlap by less than `MIN_OVERLAP`, or are silent there.
    """
    begin, end = max(0, round(-shift * rate)), min(len(first), round(len(second) - shift * rate))
    if end - begin < MIN_OVERLAP * rate:
        return None
    windows = max(1, round((end - begin) / (_WINDOW_SECONDS * rate)))
    edges = np.linspace(begin, end, windows + 1).round().astype(int)
    start = int(np.clip(np.searchsorted(edges, time * rate) - 1, 0, windows - 1))

    matches: dict[int, _Match] = {}
    for way in (range(start, windows), range(start - 1, -1, -1)):
        expected = matches[start].shift if start in matches else shift * rate
        for window in way:
            reach = max(1, round((_NEXT_REACH if matches else _FIRST_REACH) * rate))
            match = _fit(first[edges[window] : edges[window + 1]], edges[window], second, expected, reach)
            if match:
                matches[window] = match
                expected = match.shift if match.correlation > _CLEAR else expected
    if not matches:
        return None
    correlations, shifts, energies = np.array(list(matches.values())).T
    similarity = float(np.clip(np.average(correlations, weights=energies), 0, 1))
    clear = correlations > _CLEAR
    drift, offset = 0.0, float(np.average(shifts, weights=energies))
    if clear.sum() > 1:
        middles = np.array([(edges[window] + edges[window + 1]) / 2 for window in matches])
        drift, offset = np.polyfit(middles[clear], shifts[clear], 1, w=np.sqrt(energies[clear]))
    return Alignment(similarity, float(offset / rate), float(1 / (1 + drift)))


def _fit(window: np.ndarray, begin: int, track: np.ndarray, expected: float, reach: int) -> _Match | None:
    """Find the shift within `reach` of the expected one at which a window, whose first frame is `begin`, fits best."""
    energy = float(np.vdot(window, window))
    middle = begin + round(expected)
    first, last = max(0, middle - reach), min(len(track) - len(window), middle + reach)
    if not energy or first > last or not first <= middle <= last + 1:  # silent, or beyond the ends of the track
        return None
    places = np.arange(first, last + 1)
    correlation = np.zeros(len(places))
    for i, place in enumerate(places):
        there = track[place : place + len(window)]
        scale = energy * float(np.vdot(there, there))
        correlation[i] = np.vdot(window, there) / np.sqrt(scale) if scale else 0.0
    best = int(np.argmax(correlation))
    between = 0.0
    if 0 < best < len(places) - 1:
        between = float(vertex(*correlation[best - 1 : best + 2]))
    return _Match(float(correlation[best]), float(places[best] - begin + between), energy)
