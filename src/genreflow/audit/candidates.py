"""Candidate pairs: tracks that share more hashes at one time offset than expected by chance.

The search needs the memory of about a million hashes, whatever the number of tracks: hashes and matches are in files,
the hashes by value, then the matches by their first track.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from genreflow.audit.fingerprint import Fingerprint, with_fourth_peak
from genreflow.audit.row_files import append_rows, take_rows
from genreflow.audit.votes import MATCH, Candidate, count_votes, run_starts

# A hash that occurs more often is common, and a match of it counts only if a fourth peak matches too. Two real tracks
# of 30 s share five hashes by chance, so that matches grow with the square of the tracks; with a fourth peak, 0.07.
_MAX_RARE = 16
# A hash is compared with at most this many following equal ones: a thousand copies have half a million pairs.
_MAX_MATCHES = 64
# Number of hashes in a file, on average: they are sorted in memory, where each takes about 100 bytes.
_FILE_ROWS = 1 << 20
# Files of matches per file of hashes: real tracks have few matches per hash.
_MATCH_FILES = 4
_MAX_FILES = 256

_HASH = np.dtype([("hash", np.uint32), ("fourth", np.uint32), ("track", np.int32), ("time", np.float32)])


def find_candidates(
    fingerprints: Iterable[tuple[int, Fingerprint]], directory: Path, *, n_hashes: int
) -> Iterator[Candidate]:
    """Find the pairs of tracks that share more hashes at one offset than expected by chance.

    Parameters
    ----------
    fingerprints : iterable of (int, Fingerprint)
        With the positions of the tracks: 0, 1, ... in any order.
    directory : Path
        For temporary files, 16 bytes per hash and per match. Exists and is empty, now and at the end.
    n_hashes : int >= 0
        Of all tracks, approximately: more files are made for more hashes.

    Yields
    ------
    Candidate
        Ordered by `first`, each pair once, with ``first < second``.
    """
    n_files = min(1 + n_hashes // _FILE_ROWS, _MAX_FILES)
    lengths, seconds = _write_hashes(fingerprints, directory, n_files)
    # Consecutive tracks with about as many hashes in each group.
    n_groups = _MATCH_FILES * n_files
    group_of = (np.cumsum(lengths) - lengths) * n_groups // (lengths.sum() + 1)
    for number in range(n_files):
        for matches in _find_matches(take_rows(directory / f"hashes{number}", _HASH)):
            append_rows(directory / "matches", matches, group_of[matches["first"]])
    threshold = _vote_threshold(seconds)
    for number in range(n_groups):
        yield from count_votes(take_rows(directory / f"matches{number}", MATCH), threshold)


def _vote_threshold(seconds: np.ndarray) -> np.ndarray:
    """Return the number of votes that tracks of these lengths seldom reach by chance.

    Among the pairs of 639 real tracks of 30 s, one in 4,000 reaches the threshold of 5 votes.
    """
    return np.maximum(3, 1 + np.sqrt(seconds / 2.2))


def _write_hashes(
    fingerprints: Iterable[tuple[int, Fingerprint]], directory: Path, n_files: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write all hashes to files by value; return the number of hashes and the last time of each track."""
    lengths, seconds = {}, {}
    chunk, size = [np.empty(0, _HASH)], 0
    for position, one in fingerprints:
        lengths[position], seconds[position] = len(one.hashes), one.times.max(initial=0)
        rows = np.empty(len(one.hashes), _HASH)
        rows["hash"], rows["track"], rows["time"] = one.hashes, position, one.times
        chunk.append(rows)
        size += len(rows)
        if size >= _FILE_ROWS // 2:
            _append_hashes(np.concatenate(chunk), directory, n_files)
            chunk, size = chunk[:1], 0
    _append_hashes(np.concatenate(chunk), directory, n_files)
    in_order = range(len(lengths))
    return np.array([lengths[n] for n in in_order], np.int64), np.array([seconds[n] for n in in_order], np.float32)


def _append_hashes(rows: np.ndarray, directory: Path, n_files: int) -> None:
    rows["fourth"] = with_fourth_peak(rows["hash"], rows["time"], rows["track"])
    # Fibonacci hashing: similar values, which are similarly frequent, go to different files.
    scattered = (rows["hash"] * np.uint32(2654435769)).astype(np.uint64)
    append_rows(directory / "hashes", rows, (scattered * np.uint64(n_files)) >> np.uint64(32))


def _find_matches(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the matches of rare hashes, then those of common ones with a fourth peak; both as `MATCH`."""
    rows = rows[np.argsort(rows["hash"].astype(np.uint64) << np.uint64(32) | rows["track"].astype(np.uint64))]
    begin = np.flatnonzero(run_starts(rows["hash"]))
    size = np.diff(np.append(begin, len(rows)))
    common = np.repeat(size > _MAX_RARE, size)
    rare, rows = rows[~common], rows[common & (rows["fourth"] != 0)]
    yield from _equal_hashes(rare, rare["hash"])
    del rare
    rows = rows[np.lexsort((rows["track"], rows["fourth"], rows["hash"]))]
    yield from _equal_hashes(rows, rows["hash"].astype(np.uint64) << np.uint64(32) | rows["fourth"])


def _equal_hashes(rows: np.ndarray, values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the matches of rows of different tracks with equal values; the rows are sorted by value and track."""
    left = np.arange(len(rows))
    for step in range(1, _MAX_MATCHES):
        left = left[: np.searchsorted(left, len(rows) - step)]
        left = left[values[left + step] == values[left]]
        if not len(left):
            return
        pairs = left[rows["track"][left + step] != rows["track"][left]]
        first, second = rows[pairs], rows[pairs + step]
        matches = np.empty(len(pairs), MATCH)
        matches["first"], matches["second"] = first["track"], second["track"]
        matches["start"], matches["shift"] = first["time"], second["time"] - first["time"]
        yield matches
