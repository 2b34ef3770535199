"""Audio fingerprints of base log-mel frames, which exist for audio and for imported spectrograms.

Spectral peaks survive changes of level, codec and noise; hashes of neighbouring peaks find a recording among many at
any offset (Wang, "An industrial-strength audio search algorithm", ISMIR 2003). Here a hash combines three peaks; two
are not specific enough at this resolution. Chromaprint, the established library for this, needs the waveform and a
native library that pip does not install.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter1d

from genreflow.audit.votes import run_starts

# Part of the key of cached fingerprints: increase it when equal frames give other fingerprints than before.
VERSION = 1

# Resolution of the grid: frames are averaged to about 21 per second (imported spectrograms may have fewer), bands to
# about 64. On 60 real tracks, 14 frames per second lose half of the votes of copies that are half a frame off.
_GRID_RATE = 21.5
_GRID_BANDS = 64
# Length of the moving average that is subtracted from each band: keeps onsets, removes level and equalisation [s].
_LOCAL_SECONDS = 1.5
# Neighbourhood in which a peak is the maximum, to either side [s, bands].
_PEAK_SECONDS, _PEAK_BANDS = 0.3, 3
# Minimum height above the moving average [steps of the log-mel: 2.5 dB where top_db is 80].
_PEAK_HEIGHT = 8.0
# A hash combines a peak with two of the next few. Each gap is below 2 s, in ticks long enough that a peak which moves
# by half a grid frame mostly keeps its tick.
_NEXT_PEAKS = 4
_MAX_GAP_SECONDS, _TICK_SECONDS = 2.0, 0.12
_MIN_FRAMES = 8
# The lowest bits of a hash, of its third peak.
_THIRD_PEAK_BITS = 10


@dataclass(frozen=True)
class Fingerprint:
    """The hashes of a track.

    Parameters
    ----------
    hashes : np.ndarray [shape=(n,), dtype=uint32]
        About 70 per second of music.
    times : np.ndarray [shape=(n,), dtype=float32] [s]
        Time of the first peak of each hash.
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
        Empty if the track is silent or too short.
    """
    grid, rate = to_grid(frames, frame_rate)
    if len(grid) < _MIN_FRAMES:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    frame, band = _peaks(_subtract_moving_average(grid, rate), rate)
    return hash_peaks(frame / rate, band)


def hash_peaks(times: np.ndarray, bands: np.ndarray) -> Fingerprint:
    """Combine each peak with two of the next few.

    Parameters
    ----------
    times : np.ndarray [shape=(n,)] [s]
        In any order.
    bands : np.ndarray [shape=(n,)]
        Positions on the grid, about 0 to 63.
    """
    order = np.argsort(times, kind="stable")
    times, bands = times[order], bands[order].astype(np.uint32)
    hashes, starts = [np.zeros(0, np.uint32)], [np.zeros(0)]
    for second, third in combinations(range(1, _NEXT_PEAKS + 1), 2):
        n = max(0, len(times) - third)
        gaps = (times[second : second + n] - times[:n], times[third : third + n] - times[second : second + n])
        near = (gaps[0] < _MAX_GAP_SECONDS) & (gaps[1] < _MAX_GAP_SECONDS)
        value: np.ndarray = bands[:n]
        for peak, gap in zip((second, third), gaps, strict=True):
            # Six bits per band and four per gap; larger values wrap around, which only adds accidental matches.
            ticks = (gap / _TICK_SECONDS).astype(np.uint32)
            value = ((value << 6) | (bands[peak : peak + n] & 63)) << 4 | (ticks & 15)
        hashes.append(value[near])
        starts.append(times[:n][near])
    return Fingerprint(np.concatenate(hashes), np.concatenate(starts).astype(np.float32))


def with_fourth_peak(hashes: np.ndarray, times: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """Return for each hash another one of its track with the same first two peaks, so that both have four.

    Of hashes of the peaks ABC, ABD and ABE, the combinations ABCD, ABDE and ABCE are returned: each once.

    Parameters
    ----------
    hashes : np.ndarray [shape=(n,), dtype=uint32]
    times : np.ndarray [shape=(n,)] [s]
    tracks : np.ndarray [shape=(n,), dtype=int]
        The track of each hash.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=uint32]
        0 where there is none.
    """
    order = np.lexsort((hashes, times, tracks))
    hashes = hashes[order]
    begin = np.flatnonzero(run_starts(tracks[order], times[order], hashes >> _THIRD_PEAK_BITS))
    size = np.diff(np.append(begin, len(hashes)))
    following = np.arange(1, len(hashes) + 1)
    following[begin + size - 1] = begin
    others = np.empty_like(hashes)
    others[order] = np.where(np.repeat(size > 1, size), hashes[following], 0)
    return others


def to_grid(frames: np.ndarray, frame_rate: float) -> tuple[np.ndarray, float]:
    """Reduce the resolution of frames and bands by averaging.

    Returns
    -------
    grid : np.ndarray [shape=(frames, bands), dtype=float32]
    rate : float > 0 [1/s]
        Frame rate of the grid.
    """
    factor = max(1, round(frame_rate / _GRID_RATE))
    width = max(1, round(frames.shape[1] / _GRID_BANDS))
    length, bands = len(frames) // factor, frames.shape[1] // width
    grid = frames[: length * factor, : bands * width].reshape(-1, bands, width).mean(axis=2, dtype=np.float32)
    if factor > 1 and length:
        # Overlapping averages, or else a copy that is half a grid frame off would look different.
        grid = uniform_filter1d(grid, factor | 1, axis=0, mode="nearest")
        grid = grid.reshape(length, factor, bands).mean(axis=1)
    return grid, frame_rate / factor


def band_differences(frames: np.ndarray, frame_rate: float) -> tuple[np.ndarray, float]:
    """Return the level of each band relative to a lower one, after subtraction of the moving average.

    Differences between bands, as in Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, do
    not respond to beats in all bands, which different music of the same tempo has in common: on the demo music, whose
    artists use one drum kit each, the highest similarity of two different tracks falls from 0.54 to 0.41. Values are
    limited to about 10 dB, so that clipping and codecs, which change few cells by much, have little weight.

    Returns
    -------
    differences : np.ndarray [shape=(frames, bands), dtype=float32]
    rate : float > 0 [1/s]
        Their frame rate.
    """
    grid, rate = to_grid(frames, frame_rate)
    local = _subtract_moving_average(grid, rate)
    pairs = (local[:, 1:] + local[:, :-1]) / 2  # 1 % other speed moves a band by a fifth of its width
    return np.clip(pairs[:, 3:] - pairs[:, :-3], -30, 30), rate


def parabola_vertex(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the position of the maximum of the parabola through a peak and its neighbours [-0.5 to 0.5 steps]."""
    return np.clip((after - before) / (2 * np.maximum(2 * peak - before - after, 1e-6)), -0.5, 0.5)


def _subtract_moving_average(grid: np.ndarray, rate: float) -> np.ndarray:
    return grid - uniform_filter1d(grid, 2 * round(_LOCAL_SECONDS * rate / 2) + 1, axis=0, mode="nearest")


def _peaks(local: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frame and band of each peak, interpolated."""
    size = (2 * round(_PEAK_SECONDS * rate) + 1, 2 * _PEAK_BANDS + 1)
    is_peak = (local == maximum_filter(local, size, mode="nearest")) & (local > _PEAK_HEIGHT)
    is_peak[[0, -1]] = False
    is_peak[:, [0, -1]] = False
    t, f = np.nonzero(is_peak)
    return (
        t + parabola_vertex(local[t - 1, f], local[t, f], local[t + 1, f]),
        f + parabola_vertex(local[t, f - 1], local[t, f], local[t, f + 1]),
    )
