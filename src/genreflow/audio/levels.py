"""Levels of the channels of a file, and the rule by which they are mixed to mono.

The mean of the channels is used, as usual. It is nothing but the rounding noise of the file, or what a codec left of
it, if the channels cancel each other: two of opposite phase, as of a cable with swapped wires. So the loudest channel
is used where the mean has less than a tenth of the power that it would have for unrelated channels of the same levels
(`CANCELLED_DB`). Two equally loud channels are that far below with a correlation below -0.9, which music that was mixed
on purpose does not have over a whole file. The rule is one of the file, not of a block, so that blocks fit together.
"""

import math
from dataclasses import dataclass

import numpy as np

# How far the mean must be below that of unrelated channels for the loudest one to be used [dB].
CANCELLED_DB = 10.0
# How far the sound must be below a constant offset for there to be no sound [dB].
OFFSET_DB = 40.0


@dataclass
class _Sums:
    """Sums over the blocks that have one number of channels.

    Parameters
    ----------
    frames : int
    sums, squares : np.ndarray [shape=(channels,), dtype=float64]
        Of the samples.
    mean_squares : float
        Of the mean of the channels.
    low, high : np.ndarray [shape=(channels,), dtype=float32]
        Smallest and largest sample.
    """

    frames: int
    sums: np.ndarray
    squares: np.ndarray
    mean_squares: float
    low: np.ndarray
    high: np.ndarray

    @property
    def power(self) -> np.ndarray:
        """Energy of each channel without its constant offset."""
        return np.maximum(self.squares - self.sums**2 / self.frames, 0)

    @property
    def offsets(self) -> np.ndarray:
        """Constant offset of each channel."""
        return self.sums / self.frames

    @property
    def mean_power(self) -> float:
        """Energy of the mean of the channels without its constant offset."""
        return max(self.mean_squares - float(self.sums.mean()) ** 2 / self.frames, 0.0)


class Levels:
    """Measures the levels of a file, block by block.

    Attributes
    ----------
    frames : int
        Samples per channel so far.
    peak : float >= 0
        Largest absolute sample of all channels.
    block_peak : float >= 0 or NaN
        That of the last block; NaN if it has one.
    """

    def __init__(self) -> None:
        self.frames, self.peak, self.block_peak = 0, 0.0, 0.0
        self._sums: dict[int, _Sums] = {}  # by number of channels, which differ between the parts of a joined file

    def add(self, samples: np.ndarray) -> np.ndarray:
        """Add a block and return the mean of its channels.

        Parameters
        ----------
        samples : np.ndarray [shape=(channels, n), dtype=float32], n > 0

        Returns
        -------
        np.ndarray [shape=(n,), dtype=float32]
        """
        channels, frames = samples.shape
        low, high = samples.min(axis=1), samples.max(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses such samples
            mean = mix(samples)
            squares = np.array([np.dot(channel, channel) for channel in samples], dtype=np.float64)
            mean_squares = float(np.dot(mean, mean)) if channels > 1 else squares[0]
        sums = self._sums.get(channels)
        if sums is None:
            sums = self._sums[channels] = _Sums(0, np.zeros(channels), np.zeros(channels), 0.0, low, high)
        sums.frames += frames
        sums.sums += samples.sum(axis=1)
        sums.squares += squares
        sums.mean_squares += mean_squares
        sums.low, sums.high = np.minimum(sums.low, low), np.maximum(sums.high, high)
        self.frames += frames
        self.block_peak = float(np.maximum(high.max(), -low.min()))
        self.peak = max(self.peak, self.block_peak)
        return mean

    @property
    def rms(self) -> float:
        """Root mean square of the samples of all channels."""
        samples = sum(channels * sums.frames for channels, sums in self._sums.items())
        return math.sqrt(sum(sums.squares.sum() for sums in self._sums.values()) / samples)

    @property
    def loudest(self) -> int:
        """Index of the channel with the highest energy, without its constant offset; of about equal ones, the first."""
        power = np.zeros(max(self._sums))
        for channels, sums in self._sums.items():
            power[:channels] += sums.power
        return int(np.argmax(power >= 0.98 * power.max()))

    @property
    def sound_peak(self) -> float:
        """Half of the largest range of a channel's samples: the peak, if there is no constant offset."""
        if self.frames < 2:
            return self.peak
        return max(float((sums.high - sums.low).max()) / 2 for sums in self._sums.values())

    @property
    def cancelled_db(self) -> float | None:
        """How far the mean of the channels is below that of unrelated channels of the same levels [dB].

        None if they do not cancel each other, so that the mean is used.
        """
        unrelated = sum(sums.power.sum() / channels**2 for channels, sums in self._sums.items())
        mean = sum(sums.mean_power for sums in self._sums.values())
        if self.constant_offset is not None or mean >= unrelated * 10 ** (-CANCELLED_DB / 10):
            return None
        return -10 * math.log10(max(mean / unrelated, 1e-20))

    @property
    def constant_offset(self) -> float | None:
        """The offset of a file that has nothing else; None for others, and for one of a single sample."""
        offset = float(max(np.concatenate([sums.offsets for sums in self._sums.values()]), key=abs))
        if self.frames < 2 or not offset:
            return None
        # The range is exact. The energy of sound beside an offset is a small difference, but codecs let the edges ring.
        sound = float(sum(sums.power.sum() for sums in self._sums.values()))
        offsets = float(sum(sums.frames * (sums.offsets**2).sum() for sums in self._sums.values()))
        constant = self.sound_peak < abs(offset) * 10 ** (-OFFSET_DB / 20)
        return offset if constant or sound < offsets * 10 ** (-OFFSET_DB / 10) else None


def mix(samples: np.ndarray) -> np.ndarray:
    """Average the channels by adding them: NumPy's mean over a short axis takes longer.

    Parameters
    ----------
    samples : np.ndarray [shape=(channels, n), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
    """
    if len(samples) == 1:
        return samples[0]
    mono = samples[0] + samples[1]
    for channel in samples[2:]:
        mono += channel
    mono *= np.float32(1 / len(samples))
    return mono
