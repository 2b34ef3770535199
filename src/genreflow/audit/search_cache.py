"""Cache of the search for near-duplicates: fingerprints of tracks and alignments of candidates, by audio hash."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
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
# The hashes of all tracks, one after the other.
_ROW = np.dtype([("hash", np.uint32), ("time", np.float32)])
_ROWS = "rows"


class Aligned(NamedTuple):
    """An alignment and the candidate that it started from, whose `time` and `shift` may change with other tracks."""

    time: float
    shift: float
    result: Alignment | None


class SearchCache:
    """Fingerprints and alignments of earlier searches; empty if the file is missing, damaged or made by other code.

    Fingerprints are read and written one by one: those of all tracks may need more memory than there is.

    Parameters
    ----------
    file : Path
        An ``.npz`` with the hashes as an array without header, so that they can be written before they are counted.
    spec : FeatureSpec
        Of the features; those of another spec are not used.

    Attributes
    ----------
    lengths : dict of str to int
        The number of hashes of each track that has a fingerprint, by its key, in the order of the file.
    alignments : dict of (str, str) to Aligned
        By the keys of both tracks.
    """

    def __init__(self, file: Path, spec: FeatureSpec) -> None:
        self._file = file
        self._made_by = f"{fingerprint.VERSION} {alignment.VERSION} {spec.key}"
        self.lengths: dict[str, int] = {}
        self.alignments: dict[tuple[str, str], Aligned] = {}
        try:
            self._read()
        except DAMAGED_NPZ:
            self.lengths, self.alignments = {}, {}

    def _read(self) -> None:
        with zipfile.ZipFile(self._file) as archive:
            if archive.testzip() is not None:
                return
            size = archive.getinfo(_ROWS).file_size
        with np.load(self._file, allow_pickle=False) as arrays:
            keys, lengths = arrays["keys"].tolist(), arrays["lengths"].tolist()
            if arrays["made_by"] != self._made_by or size != sum(lengths) * _ROW.itemsize:
                return
            pairs, values = arrays["pairs"].tolist(), arrays["alignments"].tolist()
        for (first, second), (time, shift, *result) in zip(pairs, values, strict=True):
            found = None if np.isnan(result[0]) else Alignment(*result)
            self.alignments[keys[first], keys[second]] = Aligned(time, shift, found)
        self.lengths = dict(zip(keys, lengths, strict=True))

    def each(self) -> Iterator[tuple[str, Fingerprint]]:
        """Yield the key and the fingerprint of each track, in the order of `lengths`."""
        if not self.lengths:
            return
        with zipfile.ZipFile(self._file) as archive, archive.open(_ROWS) as file:
            for key, length in self.lengths.items():
                rows = np.frombuffer(file.read(length * _ROW.itemsize), _ROW)
                yield key, Fingerprint(rows["hash"], rows["time"])

    def write(
        self, fingerprints: Iterable[tuple[str, Fingerprint]], alignments: Mapping[tuple[str, str], Aligned]
    ) -> None:
        """Replace the content of the cache and of its file.

        Parameters
        ----------
        fingerprints : iterable of (str, Fingerprint)
            By key; may be read from this cache meanwhile.
        alignments : mapping of (str, str) to Aligned
            Those of tracks without fingerprints are left out.
        """
        with atomic_file(self._file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            lengths = _write_rows(archive, fingerprints)
            own = ((pair, one) for pair, one in alignments.items() if lengths.keys() >= set(pair))
            kept = dict(islice(own, _MAX_ALIGNMENTS))
            position = {key: number for number, key in enumerate(lengths)}
            failed = (np.nan,) * len(Alignment._fields)
            arrays = {
                "made_by": np.array(self._made_by),
                "keys": np.array(list(lengths), dtype=str),
                "lengths": np.array(list(lengths.values()), np.int64),
                "pairs": np.array([[position[key] for key in pair] for pair in kept], np.int64).reshape(-1, 2),
                "alignments": np.array(
                    [[one.time, one.shift, *(one.result or failed)] for one in kept.values()], np.float64
                ).reshape(-1, 2 + len(Alignment._fields)),
            }
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        self.lengths, self.alignments = lengths, kept

    def update(self, alignments: Mapping[tuple[str, str], Aligned]) -> None:
        """Replace the alignments, and the file if they differ."""
        if dict(islice(alignments.items(), _MAX_ALIGNMENTS)) != self.alignments:
            self.write(self.each(), alignments)


def _write_rows(archive: zipfile.ZipFile, fingerprints: Iterable[tuple[str, Fingerprint]]) -> dict[str, int]:
    """Write the hashes of all tracks, and return their number by key."""
    lengths = {}
    with archive.open(_ROWS, "w", force_zip64=True) as file:
        for key, one in fingerprints:
            rows = np.empty(len(one.hashes), _ROW)
            rows["hash"], rows["time"] = one.hashes, one.times
            file.write(rows.tobytes())
            lengths[key] = len(rows)
    return lengths
