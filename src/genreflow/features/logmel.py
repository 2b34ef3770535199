"""From a waveform to base log-mel frames: the one piece of feature code of training and service alike.

The numbers are those of ``librosa.feature.melspectrogram`` followed by ``librosa.power_to_db``. The time goes into the
Fourier transforms; the rest is arranged around them. Frames are taken in blocks that stay in the processor's cache,
and the mel filters are applied in groups of neighbours, as small matrix products over just the bins that they span: a
twentieth of the multiplications of the full filter bank.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from genreflow.audio.decode import iter_mono
from genreflow.audio.readers import Source
from genreflow.errors import AudioError
from genreflow.features.spec import FeatureSpec, FilterBank

# The floor of power, as librosa.power_to_db has it; a clip that never rises above it is silent.
_AMIN = 1e-10
_AMIN_DB = -100.0
# Samples of windowed frames at work: 1 MB of float32, and as much again of their transforms. Measured: 128 frames of
# 2048; fewer hold Python's lock longer, which two threads notice by a tenth, and more leave the cache.
_BLOCK_SAMPLES = 1 << 18
_BANDS_TOGETHER = 8
# Multiplications of a product at most. Beyond it OpenBLAS takes several threads: for products of this size they cost
# more than they save, and the last bit of a sum would depend on their number.
_PRODUCT = 1 << 18
# A last clip shorter than this part of a clip is not trusted with a level reference of its own.
_TRUSTED_PART = 0.5


class LogMel:
    """Computes base log-mel frames.

    It holds no state between calls, so that threads may share one.

    Parameters
    ----------
    spec : FeatureSpec
    bank : FilterBank
        The arrays of that spec (`genreflow.datasets.filterbank.make_filter_bank`, or those of a bundle).
    """

    def __init__(self, spec: FeatureSpec, bank: FilterBank) -> None:
        if bank.mel.shape != (spec.n_mels, 1 + spec.n_fft // 2) or bank.window.shape != (spec.n_fft,):
            raise ValueError(
                f"the filter bank has mel {bank.mel.shape} and window {bank.window.shape}; "
                f"the spec needs {(spec.n_mels, 1 + spec.n_fft // 2)} and {(spec.n_fft,)}"
            )
        self.spec = spec
        self._window = np.ascontiguousarray(bank.window, dtype=np.float32)
        self._filters = list(_filter_groups(bank.mel.astype(np.float32)))
        # A sine of amplitude 1 gives half the sum of the window in its bin, and by Hann half of that on either side.
        gain = bank.mel[:, 1:-1] + (bank.mel[:, :-2] + bank.mel[:, 2:]) / 4
        self._full_scale_db = float(10 * np.log10((bank.window.sum() / 2) ** 2 * gain.max()))

    def clip(self, y: np.ndarray, *, exact: bool = False) -> np.ndarray:
        """Compute the frames of one clip, with a level reference of its own.

        Parameters
        ----------
        y : np.ndarray [shape=(n,), dtype=float32], n > 0
            Mono at ``spec.sample_rate``; of any length, though `frames` is the way for more than a clip.
        exact : bool
            Keep exactly ``spec.frames_kept`` frames whatever the length, by the rule of imported spectrograms: of T
            frames, number ``floor((j + 0.05) * T / (frames_kept + 0.5) + 1.5)`` for column j. Otherwise the stride is
            that of a clip of nominal length, and the number of frames follows the length. No difference where
            ``spec.frames_kept`` is None.

        Returns
        -------
        np.ndarray [shape=(frames, n_mels), dtype=uint8]

        Raises
        ------
        AudioError
            ``unusable``: no samples.
        """
        power = self._mel_power(y)
        return self._quantise(power, self._columns(len(power), exact=exact), *_extremes(power))

    def frames(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Compute the frames of audio of any length, clip by clip and in flat memory.

        Each clip of ``spec.clip_seconds`` is framed on its own and has a level reference of its own. So has a last
        clip of half that length or more. A shorter one is levelled together with the clip before it (the louder
        maximum, the softer minimum), or else a second of fading tail would be blown up to full level. A rest shorter
        than one window would be mostly padding; it belongs to the clip before it. Audio shorter than a clip is
        levelled on its own. A silent clip gives zeros.

        Where ``spec.frames_kept`` is set, a clip of nominal length, give or take a window, keeps exactly that many, by
        the rule of imported spectrograms: clips of "30 s" that are a few milliseconds off give what was imported.

        Parameters
        ----------
        blocks : iterable of np.ndarray [shape=(n,), dtype=float32]
            Consecutive mono audio at ``spec.sample_rate``, blocks of any lengths.

        Yields
        ------
        np.ndarray [shape=(frames, n_mels), dtype=uint8]
            One array a clip; ``spec.frames_per_clip`` frames in all but the last.
        """
        before = None
        for y in _clips(blocks, self.spec.clip_samples, rest=self.spec.n_fft):
            power = self._mel_power(y)
            low, high = _extremes(power)
            if before is not None and len(y) < _TRUSTED_PART * self.spec.clip_samples:
                low, high = min(low, before[0]), max(high, before[1])
            before = low, high
            whole = abs(len(y) - self.spec.clip_samples) < self.spec.n_fft
            yield self._quantise(power, self._columns(len(power), exact=whole), low, high)

    def _mel_power(self, y: np.ndarray) -> np.ndarray:
        """Return mel power [shape=(1 + n // hop_length, n_mels)] of centred frames, zero outside the signal."""
        if y.ndim != 1 or not len(y):
            raise AudioError("unusable", f"The audio has shape {y.shape}; at least one sample of mono is needed.")
        n_fft, hop = self.spec.n_fft, self.spec.hop_length
        padded = np.zeros(len(y) + n_fft, dtype=np.float32)
        padded[n_fft // 2 : n_fft // 2 + len(y)] = y
        frames = sliding_window_view(padded, n_fft)[::hop][: 1 + len(y) // hop]
        power = np.empty((len(frames), self.spec.n_mels), dtype=np.float32)
        step = max(1, _BLOCK_SAMPLES // n_fft)
        windowed = np.empty((min(step, len(frames)), n_fft), dtype=np.float32)
        for begin in range(0, len(frames), step):
            block = frames[begin : begin + step]
            spectrum = scipy.fft.rfft(np.multiply(block, self._window, out=windowed[: len(block)]))
            squares = spectrum.view(np.float32)  # real and imaginary parts take turns; the filters add them up
            np.multiply(squares, squares, out=squares)
            for bands, bins, weights in self._filters:
                out = power[begin : begin + step, bands]
                rows = max(1, _PRODUCT // weights.size)
                for first in range(0, len(block), rows):
                    np.matmul(squares[first : first + rows, bins], weights, out=out[first : first + rows])
        return power

    def _columns(self, n_frames: int, *, exact: bool = False) -> np.ndarray | slice:
        """Return which of a clip's frames are kept: at least one."""
        kept, nominal = self.spec.frames_kept, self.spec.frames_computed
        if kept is None:
            return slice(None)
        total, count = (n_frames, kept) if exact else (nominal, max(1, round(kept * n_frames / nominal)))
        columns = np.floor((np.arange(count) + 0.05) * total / (kept + 0.5) + 1.5).astype(np.intp)
        return np.minimum(columns, n_frames - 1)

    def _quantise(self, power: np.ndarray, columns: np.ndarray | slice, low: float, high: float) -> np.ndarray:
        """Return the kept frames as uint8, given the softest and the loudest cell in dB."""
        if self.spec.level_reference == "full_scale":
            high = self._full_scale_db
        floor = high - self.spec.top_db
        if self.spec.level_reference == "minmax":
            floor = max(floor, low)
        kept = power[columns]
        if high <= _AMIN_DB or floor >= high:
            return np.zeros(kept.shape, dtype=np.uint8)
        levels = np.maximum(kept, np.float32(_AMIN))
        np.log10(levels, out=levels)
        levels *= np.float32(10 * 255 / (high - floor))
        levels -= np.float32(floor * 255 / (high - floor))
        np.clip(levels, 0, 255, out=levels)
        return np.rint(levels, out=levels).astype(np.uint8)


def logmel_pieces(source: Source, logmel: LogMel) -> list[np.ndarray]:
    """Compute the base log-mel frames of one file, as the feature store takes them.

    Parameters
    ----------
    source : path or binary file object
    logmel : LogMel

    Returns
    -------
    list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        One piece: its clips one after the other.

    Raises
    ------
    AudioError
        As `genreflow.audio.decode.iter_mono` does.
    """
    blocks = iter_mono(source, sample_rate=logmel.spec.sample_rate, block_seconds=logmel.spec.clip_seconds)
    return [np.concatenate(list(logmel.frames(blocks)))]


def _clips(blocks: Iterable[np.ndarray], size: int, *, rest: int) -> Iterator[np.ndarray]:
    """Cut consecutive blocks into arrays of `size` samples; copy only what lies across.

    The last one has what is left: at least `rest` samples where it is not the only one, and fewer than `size` + `rest`.
    """
    held = np.zeros(0, dtype=np.float32)
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) >= size + rest:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


def _extremes(power: np.ndarray) -> tuple[float, float]:
    """Return the softest and the loudest cell [dB], neither below the floor.

    All frames count, also those that are not kept, as they did when the published spectrograms were made.
    """
    low, high = 10 * np.log10(np.maximum([power.min(), power.max()], _AMIN))
    return float(low), float(high)


def _filter_groups(mel: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield (bands, bins, weights) of neighbouring filters, each bin twice: for its real and its imaginary part."""
    for first in range(0, len(mel), _BANDS_TOGETHER):
        filters = mel[first : first + _BANDS_TOGETHER]
        used = np.flatnonzero(filters.any(axis=0))
        begin, end = (used[0], used[-1] + 1) if len(used) else (0, 1)
        weights = np.ascontiguousarray(np.repeat(filters[:, begin:end], 2, axis=1).T)
        yield slice(first, first + len(filters)), slice(2 * begin, 2 * end), weights
