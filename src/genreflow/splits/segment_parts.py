"""Dealing the segments of every track to all parts: the protocol of most published figures, which leaks."""

import hashlib
from dataclasses import dataclass

import numpy as np

from genreflow.manifest.track import PARTS, Part


@dataclass(frozen=True, kw_only=True)
class SegmentParts:
    """Which segments of a track belong to which part.

    It is chance, but the same on every machine and in any order of the tracks: all of it comes from SHA-256 of the
    seed, the track's hash and the segment's number, and nothing from a random generator, whose stream may change.

    Parameters
    ----------
    fractions : tuple of three floats in [0, 1]
        Shares of train, valid and test.
    seed : int >= 0
    """

    fractions: tuple[float, float, float]
    seed: int

    def mask(self, part: Part, key: str, n: int) -> np.ndarray:
        """Say which segments of a track a part has.

        The segments are shuffled and cut at the fractions, from an offset of chance: a part has ``n * fraction`` of
        them, rounded up or down so that on average over the tracks its share is exact.

        Parameters
        ----------
        part : {"train", "valid", "test"}
        key : str
            The track's hash.
        n : int >= 0
            Segments of the track, counted over all its pieces.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=bool]
            The masks of the three parts are disjoint and cover all segments. Segments that overlap (neighbours where
            ``segments.hop_seconds < segments.seconds``, and the last one, which is aligned to the end) share frames
            whichever parts they are in, as they do in published work.
        """
        drawn = [self._draw(key, number) for number in range(n)]
        place = (np.argsort(np.argsort(drawn, kind="stable")) + self._draw(key, "offset")) / max(n, 1)
        return np.searchsorted(np.cumsum(self.fractions)[:-1], place, side="right") == PARTS.index(part)

    def _draw(self, key: str, number: object) -> float:
        """A number in [0, 1) that looks random."""
        digest = hashlib.sha256(f"{self.seed}/{key}/{number}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits are exact in a float
