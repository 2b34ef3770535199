"""Candidate pairs: tracks that share more hashes at one time offset than expected by chance."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from genreflow.audit.fingerprint import Fingerprint

# Width of the histogram bins of offsets; the offset of a copy that is 2 % faster drifts by a bin in 25 s.
_BIN_SECONDS = 0.5
# A hash is compared with at most this many following equal ones, so that the work stays linear for common hashes.
_MAX_MATCHES = 64
# Number of hashes processed at a time; each has about ten matches in 10,000 tracks and at most 63, of about 60 bytes.
_BLOCK = 1 << 16


class Candidate(NamedTuple):
    """A pair of tracks, by position, and the time at which they match.

    Parameters
    ----------
    first, second : int
        Positions of the tracks.
    time : float [s]
        In the first track.
    shift : float [s]
        The same audio is this much later in the second track, near `time`.
    """

    first: int
    second: int
    time: float
    shift: float


def find_candidates(fingerprints: Sequence[Fingerprint]) -> Iterator[Candidate]:
    """Find the pairs of tracks that share more hashes at one offset than expected by chance.

    Parameters
    ----------
    fingerprints : sequence of Fingerprint

    Yields
    ------
    Candidate
        Ordered by `first`, each pair once, with ``first < second``.
    """
    if not fingerprints:
        return
    lengths = [len(fingerprint.hashes) for fingerprint in fingerprints]
    owner = np.repeat(np.arange(len(fingerprints), dtype=np.int32), lengths)
    hashes = np.concatenate([fingerprint.hashes for fingerprint in fingerprints])
    order = np.argsort(hashes, kind="stable")  # equal hashes stay in the order of their tracks
    hashes, owner = hashes[order], owner[order]
    times = np.concatenate([fingerprint.times for fingerprint in fingerprints])[order]
    # Where the sort put the hashes of each track; four bytes each, since this array is as long as all hashes.
    place = np.empty(len(order), np.min_scalar_type(len(order)))
    place[order] = np.arange(len(order), dtype=place.dtype)
    del order
    threshold = _vote_threshold(np.array([fingerprint.times.max(initial=0) for fingerprint in fingerprints]))
    bounds = np.cumsum([0, *lengths])
    begin = 0
    while begin < len(fingerprints):
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + _BLOCK, side="right")) - 1)
        left, right = _equal_hashes(hashes, owner, np.sort(place[bounds[begin] : bounds[end]]).astype(np.intp))
        first, second, start = owner[left], owner[right], times[left]
        yield from _vote(first, second, start, times[right] - start, threshold)
        begin = end


def _vote_threshold(seconds: np.ndarray) -> np.ndarray:
    """Return the number of votes that tracks of these lengths seldom reach by chance.

    Among the pairs of 639 real tracks of 30 s, one in 4,000 reaches the threshold of 5 votes.
    """
    return np.maximum(3, 1 + np.sqrt(seconds / 2.2))


def _equal_hashes(hashes: np.ndarray, owner: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of equal hashes in different tracks, the first of each pair from `left`."""
    lefts, rights = [left[:0]], [left[:0]]
    for step in range(1, _MAX_MATCHES):
        left = left[left + step < len(hashes)]
        left = left[hashes[left + step] == hashes[left]]
        if not len(left):
            break
        other = owner[left + step] != owner[left]
        lefts.append(left[other])
        rights.append(left[other] + step)
    return np.concatenate(lefts), np.concatenate(rights)


def _vote(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, shift: np.ndarray, threshold: np.ndarray
) -> Iterator[Candidate]:
    """Count votes by pair and shift over two adjacent bins; yield the best shift of each pair that has enough votes.

    All hashes of one peak are one vote, since a single accidental match of a peak produces several equal hashes.
    """
    bins = np.floor(shift / _BIN_SECONDS).astype(np.int32)
    order = np.lexsort((start, bins, second, first))
    order = order[_run_starts(first[order], second[order], bins[order], start[order])]
    first, second, bins, start, shift = (column[order] for column in (first, second, bins, start, shift))
    begin = np.flatnonzero(_run_starts(first, second, bins))
    end = np.append(begin[1:], len(first))[: len(begin)]
    first, second, bins, votes = first[begin], second[begin], bins[begin], end - begin
    adjacent = ~_run_starts(first, second, bins - np.arange(len(bins)))[1:]  # the next run is the next bin of the pair
    votes[:-1] += np.where(adjacent, votes[1:], 0)
    end[:-1] = np.where(adjacent, end[1:], end[:-1])
    ranked = np.lexsort((-votes, second, first))
    best = ranked[_run_starts(first[ranked], second[ranked])]
    for run in best[votes[best] >= np.minimum(threshold[first[best]], threshold[second[best]])]:
        hits = slice(begin[run], end[run])
        yield Candidate(int(first[run]), int(second[run]), float(np.median(start[hits])), float(np.median(shift[hits])))


def _run_starts(*columns: np.ndarray) -> np.ndarray:
    """Mark the first row of each run of equal rows."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return changed
