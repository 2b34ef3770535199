"""From a waveform to base log-mel frames: training and service share this code, so that there is no skew.

The values are those of ``librosa.feature.melspectrogram`` followed by ``librosa.power_to_db``. Most of the time goes
into the FFTs. Frames are processed in blocks that fit in the processor's cache, and the mel filters are applied in
groups of adjacent bands, as small matrix products over only the bins that they span: a twentieth of the multiplications
of the full filter bank.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from genreflow.audio.decode import decode_mono
from genreflow.audio.input_file import Source
from genreflow.errors import AudioError
from genreflow.features.spec import FeatureSpec, FilterBank

# Minimum power, librosa.power_to_db's `amin`; a clip that never exceeds it is silent.
_AMIN = 1e-10
_AMIN_DB = -100.0
# Samples of windowed frames per block: 1 MB of float32, and as much again for their spectra. Measured at 128 frames of
# 2048 samples: smaller blocks hold the GIL for more of the time, which slows two threads by 10 %, and larger ones do
# not fit in the cache.
BLOCK_SAMPLES = 1 << 18
BANDS_PER_GROUP = 8
# Largest matrix product [multiplications]. For larger ones OpenBLAS starts threads, which cost more than they save
# here, and the rounding of a sum would depend on their number.
_MAX_PRODUCT = 1 << 18
# A last clip shorter than this fraction of a clip shares the level reference of the previous one.
_MIN_OWN_REFERENCE = 0.5


class LogMel:
    """Computes base log-mel frames. Calls keep no state: threads may share an instance.

    Parameters
    ----------
    spec : FeatureSpec
    bank : FilterBank
        The arrays of `spec`, from `genreflow.datasets.filterbank.make_filter_bank` or from a bundle.

    Attributes
    ----------
    full_scale_db : float [dB]
        Level of a full-scale sine in the band that passes most of it.

    Raises
    ------
    ParameterError
        The shapes of `bank` do not match `spec`.

    Examples
    --------
    >>> spec = FeatureSpec()
    >>> logmel = LogMel(spec, make_filter_bank(spec))  # doctest: +SKIP
    >>> logmel.clip(np.zeros(22050, np.float32)).shape  # doctest: +SKIP
    (44, 128)
    """

    def __init__(self, spec: FeatureSpec, bank: FilterBank) -> None:
        bank.check(spec)
        self.spec = spec
        self._window = np.ascontiguousarray(bank.window, dtype=np.float32)
        self._filters = list(filter_groups(bank.mel.astype(np.float32)))
        # A sine of amplitude 1 has a magnitude of half the window's sum in its bin, and with a Hann window half of that
        # in each adjacent bin.
        gain = bank.mel[:, 1:-1] + (bank.mel[:, :-2] + bank.mel[:, 2:]) / 4
        self.full_scale_db = float(10 * np.log10((bank.window.sum() / 2) ** 2 * gain.max()))

    def clip(self, y: np.ndarray, *, exact: bool = False) -> np.ndarray:
        """Compute the frames of one clip, relative to its own level.

        Parameters
        ----------
        y : np.ndarray [shape=(n,), dtype=float32], n > 0
            Mono audio at ``spec.sample_rate``, of any length; see `frames` for audio longer than a clip.
        exact : bool
            Keep exactly ``spec.frames_kept`` frames of audio of any length, as published spectrograms do: column j is
            frame ``floor((j + 0.05) * T / (frames_kept + 0.5) + 1.5)`` of T. Otherwise the stride is that of a clip of
            nominal length, and the number of frames depends on the length of the audio. Without ``spec.frames_kept``
            both are the same.

        Returns
        -------
        np.ndarray [shape=(frames, n_mels), dtype=uint8]

        Raises
        ------
        AudioError
            Code ``unusable``: no samples.
        """
        power = self._mel_power(y)
        return self._quantise(power, self._columns(len(power), exact=exact), *_extremes(power))

    def frames(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Compute the frames of audio of any length, clip by clip and in constant memory.

        Each clip of ``spec.clip_seconds`` has its own frames and its own reference level. So does a last clip of at
        least half that length. A shorter last clip shares the level of the previous one (the higher maximum, the lower
        minimum); otherwise a second of fade-out would be amplified to full level. A remainder shorter than one window
        would be mostly padding and is part of the previous clip. Audio shorter than a clip has its own reference level.
        A silent clip gives zeros.

        If ``spec.frames_kept`` is set, a clip whose length is nominal within one window has exactly that many frames,
        as with ``exact`` in `clip`: "30 s" clips that are a few milliseconds off give the published spectrograms.

        Parameters
        ----------
        blocks : iterable of np.ndarray [shape=(n,), dtype=float32]
            Consecutive blocks of mono audio at ``spec.sample_rate``, of any lengths.

        Yields
        ------
        np.ndarray [shape=(frames, n_mels), dtype=uint8]
            One array per clip; ``spec.frames_per_clip`` frames in all but the last.
        """
        previous = None
        for y in _clips(blocks, self.spec.clip_samples, rest=self.spec.n_fft):
            power = self._mel_power(y)
            low, high = _extremes(power)
            if previous is not None and len(y) < _MIN_OWN_REFERENCE * self.spec.clip_samples:
                low, high = min(low, previous[0]), max(high, previous[1])
            previous = low, high
            nominal = abs(len(y) - self.spec.clip_samples) < self.spec.n_fft
            yield self._quantise(power, self._columns(len(power), exact=nominal), low, high)

    def _mel_power(self, y: np.ndarray) -> np.ndarray:
        """Return the mel power [shape=(1 + n // hop_length, n_mels)] of centred frames, zero-padded at both ends."""
        if y.ndim != 1 or not len(y):
            raise AudioError("unusable", f"audio: must be mono with at least one sample; got shape {y.shape}.")
        n_fft, hop = self.spec.n_fft, self.spec.hop_length
        power = np.empty((1 + len(y) // hop, self.spec.n_mels), dtype=np.float32)
        step = max(1, BLOCK_SAMPLES // n_fft)
        windowed = np.empty((min(step, len(power)), n_fft), dtype=np.float32)
        for begin in range(0, len(power), step):
            out = power[begin : begin + step]
            # Only the first and the last blocks are padded, so that a clip is not copied as a whole.
            first = begin * hop - n_fft // 2
            last = first + (len(out) - 1) * hop + n_fft
            part = y[max(0, first) : last]
            if first < 0 or last > len(y):
                part = np.pad(part, (max(0, -first), max(0, last - len(y))))
            frames = sliding_window_view(part, n_fft)[::hop]
            self._filter(scipy.fft.rfft(np.multiply(frames, self._window, out=windowed[: len(out)])), out)
        return power

    def _filter(self, spectrum: np.ndarray, power: np.ndarray) -> None:
        """Write the mel power of a block of frames; `spectrum` is overwritten."""
        squares = spectrum.view(np.float32)  # real and imaginary parts alternate; the filters add their squares
        np.multiply(squares, squares, out=squares)
        for bands, bins, weights in self._filters:
            out = power[:, bands]
            rows = max(1, _MAX_PRODUCT // weights.size)
            for first in range(0, len(power), rows):
                np.matmul(squares[first : first + rows, bins], weights, out=out[first : first + rows])

    def _columns(self, n_frames: int, *, exact: bool = False) -> np.ndarray | slice:
        """Return the indices of the frames of a clip that are kept, at least one."""
        kept, nominal = self.spec.frames_kept, self.spec.frames_computed
        if kept is None:
            return slice(None)
        total, count = (n_frames, kept) if exact else (nominal, max(1, round(kept * n_frames / nominal)))
        columns = np.floor((np.arange(count) + 0.05) * total / (kept + 0.5) + 1.5).astype(np.intp)
        return np.minimum(columns, n_frames - 1)

    def _quantise(self, power: np.ndarray, columns: np.ndarray | slice, low: float, high: float) -> np.ndarray:
        """Return the kept frames as uint8, given the levels of the softest and the loudest bin [dB]."""
        if self.spec.level_reference == "full_scale":
            high = self.full_scale_db
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
    """Compute the base log-mel frames of one file, for the feature store.

    Parameters
    ----------
    source : path or binary file object
    logmel : LogMel

    Returns
    -------
    list of np.ndarray [shape=(frames, n_mels), dtype=uint8]
        One piece: the frames of all clips.

    Raises
    ------
    AudioError, OSError
        As `genreflow.audio.decode.iter_mono` does.
    """
    frames, _ = decode_mono(
        source,
        lambda blocks: np.concatenate(list(logmel.frames(blocks))),
        sample_rate=logmel.spec.sample_rate,
        block_seconds=logmel.spec.clip_seconds,
    )
    return [frames]


def _clips(blocks: Iterable[np.ndarray], size: int, *, rest: int) -> Iterator[np.ndarray]:
    """Cut consecutive blocks into clips of `size` samples, and copy only those that span blocks.

    The last clip has fewer than `size` + `rest` samples, and at least `rest` unless it is the only one.
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
    """Return the levels of the softest and the loudest bin [dB], at least `_AMIN_DB`.

    Frames that are not kept count as well, as in the published spectrograms.
    """
    low, high = 10 * np.log10(np.maximum([power.min(), power.max()], _AMIN))
    return float(low), float(high)


def filter_groups(mel: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Split a mel filter bank into groups of adjacent bands, each with only the bins that it spans.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, n_bins), dtype=float32]

    Yields
    ------
    bands : slice
    bins : slice
        Into a spectrum that has real and imaginary parts as two columns per bin.
    weights : np.ndarray [shape=(n_columns, n_bands), dtype=float32]
        Each bin twice, for its real and its imaginary part.
    """
    for first in range(0, len(mel), BANDS_PER_GROUP):
        filters = mel[first : first + BANDS_PER_GROUP]
        used = np.flatnonzero(filters.any(axis=0))
        begin, end = (used[0], used[-1] + 1) if len(used) else (0, 1)
        weights = np.ascontiguousarray(np.repeat(filters[:, begin:end], 2, axis=1).T)
        yield slice(first, first + len(filters)), slice(2 * begin, 2 * end), weights
