"""Cache of the search for near-duplicates: fingerprints of tracks and alignments of candidates, by audio hash."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from genreflow.audit import alignment, fingerprint
from genreflow.audit.alignment import Alignment
from genreflow.audit.fingerprint import Fingerprint
from genreflow.features.spec import FeatureSpec
from genreflow.files import DAMAGED_NPZ, atomic_file

# Alignments that are kept, about 50 MB in memory; the others are computed again.
_MAX_ALIGNMENTS = 100_000


class Aligned(NamedTuple):
    """An alignment and the candidate that it started from, whose `time` and `shift` may change with other tracks."""

    time: float
    shift: float
    result: Alignment | None


class SearchCache:
    """Fingerprints and alignments of earlier searches; empty if the file is missing, damaged or made by other code.

    Parameters
    ----------
    file : Path or None
        None: nothing is read or written.
    spec : FeatureSpec
        Of the features; those of another spec are not used.

    Attributes
    ----------
    fingerprints : dict of str to Fingerprint
        By key of the track.
    alignments : dict of (str, str) to Aligned
        By the keys of both tracks.
    """

    def __init__(self, file: Path | None, spec: FeatureSpec) -> None:
        self._file = file
        self._made_by = f"{fingerprint.VERSION} {alignment.VERSION} {spec.key}"
        self.fingerprints: dict[str, Fingerprint] = {}
        self.alignments: dict[tuple[str, str], Aligned] = {}
        if file:
            try:
                self._read(file)
            except DAMAGED_NPZ:
                self.fingerprints, self.alignments = {}, {}

    def _read(self, file: Path) -> None:
        with np.load(file, allow_pickle=False) as arrays:
            if arrays["made_by"] != self._made_by:
                return
            hashes, times, ends = arrays["hashes"], arrays["times"], arrays["ends"]
            keys = arrays["keys"].tolist()
            begins = [0, *ends[:-1]]
            self.fingerprints = {
                key: Fingerprint(hashes[begin:end], times[begin:end])
                for key, begin, end in zip(keys, begins, ends, strict=True)
            }
            pairs, values = arrays["pairs"].tolist(), arrays["alignments"].tolist()
        for (first, second), (time, shift, *result) in zip(pairs, values, strict=True):
            found = None if np.isnan(result[0]) else Alignment(*result)
            self.alignments[keys[first], keys[second]] = Aligned(time, shift, found)

    def write(self, fingerprints: dict[str, Fingerprint], alignments: dict[tuple[str, str], Aligned]) -> None:
        """Replace the content of the cache, and of its file if it differs.

        Parameters
        ----------
        fingerprints : dict of str to Fingerprint
        alignments : dict of (str, str) to Aligned
            Of tracks that have fingerprints.
        """
        kept = dict(list(alignments.items())[:_MAX_ALIGNMENTS])
        unchanged = fingerprints.keys() == self.fingerprints.keys() and kept == self.alignments
        self.fingerprints, self.alignments = fingerprints, kept
        if unchanged or not self._file:
            return
        position = {key: number for number, key in enumerate(fingerprints)}
        failed = (np.nan,) * len(Alignment._fields)
        with atomic_file(self._file) as temporary, open(temporary, "wb") as opened:
            np.savez(
                opened,
                made_by=self._made_by,
                keys=np.array(list(fingerprints), dtype=str),
                ends=np.cumsum([len(one.hashes) for one in fingerprints.values()]),
                hashes=np.concatenate([one.hashes for one in fingerprints.values()]),
                times=np.concatenate([one.times for one in fingerprints.values()]),
                pairs=np.array([[position[key] for key in pair] for pair in kept], np.int64).reshape(-1, 2),
                alignments=np.array(
                    [[one.time, one.shift, *(one.result or failed)] for one in kept.values()], np.float64
                ).reshape(-1, 2 + len(Alignment._fields)),
            )
