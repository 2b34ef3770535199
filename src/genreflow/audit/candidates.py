"""Which pairs of tracks share so many hashes at one offset that they are worth a closer look."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from genreflow.audit.fingerprint import Fingerprint

# Copies up to 2 % faster drift by a bin in 25 s.
_BIN_SECONDS = 0.5
# A hash is compared with the next so many of its kind: the work stays linear, however common a hash is.
_MOST_TWINS = 64
# Hashes whose twins are looked up at a time; each has some ten in 10,000 tracks, and each twin takes 60 bytes or so.
_BLOCK = 1 << 18


class Candidate(NamedTuple):
    """Two tracks, by position, and where they meet.

    Parameters
    ----------
    first, second : int
    time : float [s]
        In the first track.
    shift : float [s]
        How much later the same is heard in the second, about `time`.
    """

    first: int
    second: int
    time: float
    shift: float


def find_candidates(prints: Sequence[Fingerprint]) -> Iterator[Candidate]:
    """Find the pairs of tracks that share more hashes at one offset than chance explains.

    Parameters
    ----------
    prints : sequence of Fingerprint

    Yields
    ------
    Candidate
        In the order of `first`, each pair once, with ``first < second``.
    """
    if not prints:
        return
    owner = np.repeat(np.arange(len(prints), dtype=np.int32), [len(print_.hashes) for print_ in prints])
    hashes = np.concatenate([print_.hashes for print_ in prints])
    order = np.argsort(hashes, kind="stable")  # so that equal hashes stand in the order of their tracks
    hashes, owner = hashes[order], owner[order]
    times = np.concatenate([print_.times for print_ in prints])[order]
    del order
    of_track = np.argsort(owner, kind="stable")
    needed = _votes_needed(np.array([print_.times.max(initial=0) for print_ in prints]))
    bounds = np.searchsorted(owner[of_track], np.arange(len(prints) + 1))
    begin = 0
    while begin < len(prints):
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + _BLOCK, side="right")) - 1)
        left, right = _twins(hashes, owner, np.sort(of_track[bounds[begin] : bounds[end]]))
        first, second, start = owner[left], owner[right], times[left]
        yield from _elect(first, second, start, times[right] - start, needed)
        begin = end


def _votes_needed(seconds: np.ndarray) -> np.ndarray:
    """Votes that chance seldom gives to tracks of these lengths.

    Of the pairs of 639 real tracks of 30 s, one in 4,000 has the 5 votes that are asked there.
    """
    return np.maximum(3, 1 + np.sqrt(seconds / 2.2))


def _twins(hashes: np.ndarray, owner: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of equal hashes in different tracks, the first of each pair from `left`."""
    lefts, rights = [left[:0]], [left[:0]]
    for step in range(1, _MOST_TWINS):
        left = left[left + step < len(hashes)]
        left = left[hashes[left + step] == hashes[left]]
        if not len(left):
            break
        other = owner[left + step] != owner[left]
        lefts.append(left[other])
        rights.append(left[other] + step)
    return np.concatenate(lefts), np.concatenate(rights)


def _elect(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, shift: np.ndarray, needed: np.ndarray
) -> Iterator[Candidate]:
    """Count votes by pair and shift, two neighbouring bins together; yield the best of each pair, if that is enough.

    The hashes of one peak are one vote, since one peak that fits by chance brings several.
    """
    bins = np.floor(shift / _BIN_SECONDS).astype(np.int32)
    order = np.lexsort((start, bins, second, first))
    order = order[_changes(first[order], second[order], bins[order], start[order])]
    first, second, bins, start, shift = (column[order] for column in (first, second, bins, start, shift))
    begin = np.flatnonzero(_changes(first, second, bins))
    end = np.append(begin[1:], len(first))[: len(begin)]
    first, second, bins, votes = first[begin], second[begin], bins[begin], end - begin
    adjoins = ~_changes(first, second, bins - np.arange(len(bins)))[1:]  # the next group is the next bin of the pair
    votes[:-1] += np.where(adjoins, votes[1:], 0)
    end[:-1] = np.where(adjoins, end[1:], end[:-1])
    ranked = np.lexsort((-votes, second, first))
    best = ranked[_changes(first[ranked], second[ranked])]
    for group in best[votes[best] >= np.minimum(needed[first[best]], needed[second[best]])]:
        hits = slice(begin[group], end[group])
        time, away = float(np.median(start[hits])), float(np.median(shift[hits]))
        yield Candidate(int(first[group]), int(second[group]), time, away)


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Mark the rows that differ in any column from the row before; the first does."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return changed
