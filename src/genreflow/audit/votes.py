"""Votes of matching hashes for a pair of tracks and the time by which one is later than the other."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Width of the histogram bins of offsets; the offset of a copy that is 2 % faster drifts by a bin in 25 s.
_BIN_SECONDS = 0.5

# Two equal hashes: the positions of their tracks, first < second, the time in the first [s], and how much later it is
# in the second [s].
MATCH = np.dtype([("first", np.int32), ("second", np.int32), ("start", np.float32), ("shift", np.float32)])


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


def count_votes(matches: np.ndarray, threshold: np.ndarray) -> Iterator[Candidate]:
    """Count votes by pair and shift over two adjacent bins; yield the best shift of each pair that has enough votes.

    All hashes of one peak are one vote, since a single accidental match of a peak produces several equal hashes.

    Parameters
    ----------
    matches : np.ndarray [shape=(n,), dtype=MATCH]
        All matches of each pair in it.
    threshold : np.ndarray [shape=(tracks,)]
        Number of votes that a pair needs: that of the track with the lower one.
    """
    matches = _frequent_pairs(matches, threshold)
    bins = np.floor(matches["shift"] / _BIN_SECONDS).astype(np.int32)
    order = np.lexsort((matches["start"], bins, matches["second"], matches["first"]))
    matches, bins = matches[order], bins[order]
    votes_of = run_starts(matches["first"], matches["second"], bins, matches["start"])
    matches, bins = matches[votes_of], bins[votes_of]
    first, second, start, shift = (matches[name] for name in ("first", "second", "start", "shift"))
    begin = np.flatnonzero(run_starts(first, second, bins))
    end = np.append(begin[1:], len(first))[: len(begin)]
    first, second, bins, votes = first[begin], second[begin], bins[begin], end - begin
    adjacent = ~run_starts(first, second, bins - np.arange(len(bins)))[1:]  # the next run is the next bin of the pair
    votes[:-1] += np.where(adjacent, votes[1:], 0)
    end[:-1] = np.where(adjacent, end[1:], end[:-1])
    ranked = np.lexsort((-votes, second, first))
    best = ranked[run_starts(first[ranked], second[ranked])]
    for run in best[votes[best] >= np.minimum(threshold[first[best]], threshold[second[best]])]:
        hits = slice(begin[run], end[run])
        yield Candidate(int(first[run]), int(second[run]), float(np.median(start[hits])), float(np.median(shift[hits])))


def _frequent_pairs(matches: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Leave out pairs with fewer matches than votes needed: of real tracks, nearly all."""
    pairs = matches["first"].astype(np.uint64) << np.uint64(32) | matches["second"].astype(np.uint64)
    order = np.argsort(pairs)
    begin = np.flatnonzero(run_starts(pairs[order]))
    size = np.diff(np.append(begin, len(pairs)))
    head = matches[order[begin]]
    enough = size >= np.minimum(threshold[head["first"]], threshold[head["second"]])
    return matches[order[np.repeat(enough, size)]]


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """Mark the first row of each run of equal rows.

    Parameters
    ----------
    *columns : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=bool]
    """
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return changed
