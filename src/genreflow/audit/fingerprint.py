"""Audio fingerprints from base log-mel frames, which audio and imported spectrograms alike have.

Peaks of the spectrogram survive other levels, codecs and noise; hashes of neighbouring peaks find a recording among
many whatever its offset (Wang, "An industrial-strength audio search algorithm", ISMIR 2003). Three peaks make a hash
here, not two, which say little on a grid this coarse. Chromaprint, the well-kept library for this, needs the waveform,
and a native library that pip does not bring.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter1d

# Part of the key of cached fingerprints: raise it when the same frames give other fingerprints than before.
VERSION = 1

# A grid as coarse as the copies are alike: frames are averaged to about 21 a second (imported spectrograms may have
# fewer), bands to about 64. On 60 real tracks, 14 frames a second lose half of the votes for copies half a frame off.
_GRID_RATE = 21.5
_GRID_BANDS = 64
_LOCAL_SECONDS = 1.5  # stretch whose mean is taken from each band: leaves onsets, removes level and equalisation
_PEAK_SECONDS, _PEAK_BANDS = 0.3, 3  # how far to either side a peak is the highest
_PEAK_HEIGHT = 8.0  # above the local mean [steps of the log-mel; 2.5 dB where top_db is 80]
# A hash: a peak and two of the next few; each time step is below 2 s, in ticks so long that a peak which moves by half
# a grid frame mostly stays in its own.
_NEXT_PEAKS = 4
_MOST_SECONDS, _TICK_SECONDS = 2.0, 0.12
_FEWEST_FRAMES = 8


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of a track.

    Parameters
    ----------
    hashes : np.ndarray [shape=(n,), dtype=uint32]
        About 70 a second of music.
    times : np.ndarray [shape=(n,), dtype=float32] [s]
        Of the first peak of each.
    """

    hashes: np.ndarray
    times: np.ndarray


def fingerprint(frames: np.ndarray, frame_rate: float) -> Fingerprint:
    """Compute the fingerprint of a track.

    Parameters
    ----------
    frames : np.ndarray [shape=(frames, n_mels), dtype=uint8]
        Base log-mel.
    frame_rate : float > 0 [1/s]

    Returns
    -------
    Fingerprint
        Empty if the track is silent, or too short to have any.
    """
    grid, rate = to_grid(frames, frame_rate)
    if len(grid) < _FEWEST_FRAMES:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    frame, band = _peaks(_without_local_mean(grid, rate), rate)
    times = frame / rate
    order = np.argsort(times, kind="stable")
    times, bands = times[order], band[order].astype(np.uint32)
    hashes, starts = [np.zeros(0, np.uint32)], [np.zeros(0)]
    for second, third in combinations(range(1, _NEXT_PEAKS + 1), 2):
        n = max(0, len(times) - third)
        near = (times[second : second + n] - times[:n], times[third : third + n] - times[second : second + n])
        close = (near[0] < _MOST_SECONDS) & (near[1] < _MOST_SECONDS)
        value = bands[:n]
        for peak, gap in zip((second, third), near, strict=True):
            # Six bits a band and four a gap: what is beyond wraps round, which costs nothing but chance matches.
            ticks = (gap / _TICK_SECONDS).astype(np.uint32)
            value = ((value << 6) | (bands[peak : peak + n] & 63)) << 4 | (ticks & 15)
        hashes.append(value[close])
        starts.append(times[:n][close])
    return Fingerprint(np.concatenate(hashes), np.concatenate(starts).astype(np.float32))


def to_grid(frames: np.ndarray, frame_rate: float) -> tuple[np.ndarray, float]:
    """Average frames and bands down to the grid.

    Returns
    -------
    grid : np.ndarray [shape=(frames, bands), dtype=float32]
    rate : float [1/s]
    """
    factor = max(1, round(frame_rate / _GRID_RATE))
    width = max(1, round(frames.shape[1] / _GRID_BANDS))
    length, bands = len(frames) // factor, frames.shape[1] // width
    grid = frames[: length * factor, : bands * width].reshape(-1, bands, width).mean(axis=2, dtype=np.float32)
    if factor > 1 and length:
        # Neighbours overlap, or else a copy half a grid frame off would look different.
        grid = uniform_filter1d(grid, factor | 1, axis=0, mode="nearest")
        grid = grid.reshape(length, factor, bands).mean(axis=1)
    return grid, frame_rate / factor


def texture(frames: np.ndarray, frame_rate: float) -> tuple[np.ndarray, float]:
    """Return what is compared cell by cell: how much louder each band is than one below, against the local mean.

    Differences between bands, as in Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002,
    ignore what music of one tempo has in common, the beats over all bands: on the demo music, whose tracks of one
    artist share their drums, the most similar two fall from 0.54 to 0.41. A cell counts up to some 10 dB, so that
    clipping and codecs, which change few cells much, weigh little.

    Returns
    -------
    texture : np.ndarray [shape=(frames, bands), dtype=float32]
    rate : float [1/s]
    """
    grid, rate = to_grid(frames, frame_rate)
    pairs = _without_local_mean(grid, rate)
    pairs = (pairs[:, 1:] + pairs[:, :-1]) / 2  # at 1 % other speed a band is a fifth of one away from itself
    return np.clip(pairs[:, 3:] - pairs[:, :-3], -30, 30), rate


def vertex(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return where between its neighbours the parabola through a peak is highest [-0.5 to 0.5 of a step]."""
    return np.clip((after - before) / (2 * np.maximum(2 * peak - before - after, 1e-6)), -0.5, 0.5)


def _without_local_mean(grid: np.ndarray, rate: float) -> np.ndarray:
    return grid - uniform_filter1d(grid, 2 * round(_LOCAL_SECONDS * rate / 2) + 1, axis=0, mode="nearest")


def _peaks(local: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frame and band of each peak, both as fractions."""
    size = (2 * round(_PEAK_SECONDS * rate) + 1, 2 * _PEAK_BANDS + 1)
    highest = (local == maximum_filter(local, size, mode="nearest")) & (local > _PEAK_HEIGHT)
    highest[[0, -1]] = False
    highest[:, [0, -1]] = False
    t, f = np.nonzero(highest)
    return (
        t + vertex(local[t - 1, f], local[t, f], local[t + 1, f]),
        f + vertex(local[t, f - 1], local[t, f], local[t, f + 1]),
    )
