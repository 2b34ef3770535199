"""What is known of the sound of a track when its audio is gone: its level, and a summary of its log-mel frames."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Adjacent mel bands are summarised together, from low to high.
BAND_GROUPS = 4
_SILENCE_DB = -120.0


@dataclass(frozen=True)
class InputSummary:
    """The level of a track and its log-mel frames, summarised.

    Parameters
    ----------
    level : float [dBFS] or None
        Root mean square of the mono mix at the model's sample rate: 0 for a full-scale square wave. None where only
        the frames are known.
    means : tuple of float in [0, 1], length `BAND_GROUPS`
        Mean over time of each group of bands; from low to high frequencies.
    deviations : tuple of float in [0, 0.5], length `BAND_GROUPS`
        Standard deviation over time of each band, averaged over the bands of a group.
    """

    level: float | None
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def to_features(self) -> dict[str, float]:
        """Return the values by name; NaN for a level that is unknown."""
        named = {"level": math.nan if self.level is None else self.level}
        for name, values in (("mean", self.means), ("deviation", self.deviations)):
            named |= {f"{name}_{number}": value for number, value in enumerate(values, start=1)}
        return named


class SummarySums:
    """Sums over a track, from which `InputSummary` follows, in memory that does not depend on its duration."""

    def __init__(self) -> None:
        self._samples, self._energy, self._frames = 0, 0.0, 0
        self._sums, self._squares = np.zeros(0), np.zeros(0)

    def blocks(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Add the samples of each block [shape=(n,), dtype=float32] that passes."""
        for block in blocks:
            self._samples += len(block)
            self._energy += float(np.dot(block, block))
            yield block

    def frames(self, clips: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Add the frames of each clip [shape=(frames, n_mels), dtype=uint8] that passes."""
        for clip in clips:
            values = clip.astype(np.float32)
            if not self._frames:
                self._sums, self._squares = np.zeros(clip.shape[1]), np.zeros(clip.shape[1])
            self._frames += len(clip)
            self._sums += values.sum(axis=0)
            self._squares += np.einsum("ij,ij->j", values, values)
            yield clip

    def summary(self) -> InputSummary:
        """Return the summary of what was added, at least one frame."""
        means = self._sums / (255 * self._frames)
        variances = np.maximum(self._squares / (255**2 * self._frames) - means**2, 0)
        level = None
        if self._samples:
            power = self._energy / self._samples
            level = max(10 * math.log10(power), _SILENCE_DB) if power > 0 else _SILENCE_DB
        return InputSummary(level, _grouped(means), _grouped(np.sqrt(variances)))


def _grouped(bands: np.ndarray) -> tuple[float, ...]:
    return tuple(float(group.mean()) for group in np.array_split(bands, BAND_GROUPS))
