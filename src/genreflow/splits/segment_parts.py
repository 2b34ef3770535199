"""Random assignment of the segments of every track to train, valid and test.

Most published results use this protocol. It leaks: segments of one track are in all parts.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from genreflow.manifest.track import PARTS, Part


@dataclass(frozen=True, kw_only=True)
class SegmentParts:
    """Which segments of a track belong to which part.

    The assignment is pseudo-random, but the same on every machine and for any order of the tracks: it depends only on
    SHA-256 of the seed, the track's hash and the index of the segment, not on a random generator whose stream may
    change between releases.

    Parameters
    ----------
    fractions : tuple of three floats in [0, 1]
        Shares of train, valid and test.
    seed : int >= 0
    """

    fractions: tuple[float, float, float]
    seed: int

    def mask(self, part: Part, key: str, n: int) -> np.ndarray:
        """Select the segments of a track that belong to a part.

        The segments are shuffled and divided by the fractions, starting at a random offset. A part gets ``n *
        fraction`` segments, rounded up or down such that its expected share is exact.

        Parameters
        ----------
        part : {"train", "valid", "test"}
        key : str
            Hash of the track.
        n : int >= 0
            Number of segments of the track, over all of its pieces.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=bool]
            The masks of the three parts are disjoint and cover all segments. Overlapping segments (neighbours where
            ``segments.hop_seconds < segments.seconds``, and the last one, which is aligned to the end) share frames
            even across parts, as they do in published work.
        """
        uniform = [self._uniform(key, number) for number in range(n)]
        rank = (np.argsort(np.argsort(uniform, kind="stable")) + self._uniform(key, "offset")) / max(n, 1)
        return np.searchsorted(np.cumsum(self.fractions)[:-1], rank, side="right") == PARTS.index(part)

    def _uniform(self, key: str, number: object) -> float:
        """Return a pseudo-random number in [0, 1)."""
        digest = hashlib.sha256(f"{self.seed}/{key}/{number}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits are exact in a float
