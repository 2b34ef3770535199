"""Drums: filtered noise and swept sines; each piece of a kit has one sound per track."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from genreflow.datasets.demo.voices import SAMPLE_RATE


@dataclass(frozen=True)
class Kit:
    """The sound of a drum kit.

    Parameters
    ----------
    tuning : float > 0
        Factor on all pitches.
    brightness : float > 0
        Factor on the cutoff frequencies of the noise.
    length : float > 0
        Factor on all decay times.
    snap : float in [0, 1]
        Share of noise in the snare, and level of the click of the kick.
    """

    tuning: float = 1.0
    brightness: float = 1.0
    length: float = 1.0
    snap: float = 0.5


Piece = Callable[[Kit, np.random.Generator], np.ndarray]


def _decay(kit: Kit, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return time [s] and an exponential decay by 60 dB in `seconds` times the kit's length, each [shape=(n,)]."""
    t = np.arange(round(seconds * kit.length * SAMPLE_RATE)) / SAMPLE_RATE
    return t, np.exp(-6.9 * t / (seconds * kit.length))


def _noise(rng: np.random.Generator, n: int, kit: Kit, low: float, high: float) -> np.ndarray:
    """Return `n` samples of band-pass noise that peak at 1."""
    band = np.clip(np.array([low, high]) * kit.brightness, 60.0, 0.47 * SAMPLE_RATE)
    band[0] = min(band[0], 0.8 * band[1])
    y = sosfilt(butter(2, band, "bandpass", fs=SAMPLE_RATE, output="sos"), rng.standard_normal(n))
    return y / (np.abs(y).max() + 1e-9)


def _drum(kit: Kit, seconds: float, f: float, fall: float) -> np.ndarray:
    """Return a membrane: a sine whose frequency falls from ``1 + fall`` times its pitch."""
    t, envelope = _decay(kit, seconds)
    f = f * kit.tuning
    return np.sin(2 * np.pi * (f * t + f * fall * 0.03 * (1 - np.exp(-t / 0.03)))) * envelope


def _kick(kit: Kit, rng: np.random.Generator) -> np.ndarray:
    y = _drum(kit, 0.35, 52.0, 4.0)
    y[:220] += kit.snap * 0.6 * _noise(rng, 220, kit, 1500, 6000) * np.linspace(1, 0, 220)
    return y


def _snare(kit: Kit, rng: np.random.Generator) -> np.ndarray:
    t, envelope = _decay(kit, 0.25)
    tone = np.sin(2 * np.pi * 185.0 * kit.tuning * t) * envelope**2
    return (1 - kit.snap) * tone + (0.4 + 0.6 * kit.snap) * _noise(rng, t.size, kit, 700, 7000) * envelope


def _burst(seconds: float, low: float, high: float) -> Piece:
    """Return a piece that is a decaying burst of noise."""

    def piece(kit: Kit, rng: np.random.Generator) -> np.ndarray:
        t, envelope = _decay(kit, seconds)
        return _noise(rng, t.size, kit, low, high) * envelope

    return piece


def _block(f: float, seconds: float) -> Piece:
    """Return a piece that is two decaying inharmonic sines."""

    def piece(kit: Kit, rng: np.random.Generator) -> np.ndarray:
        t, envelope = _decay(kit, seconds)
        f0 = f * kit.tuning
        return (np.sin(2 * np.pi * f0 * t) + 0.5 * np.sin(2 * np.pi * 1.51 * f0 * t)) * envelope

    return piece


PIECES: dict[str, Piece] = {
    "kick": _kick,
    "snare": _snare,
    "tom": lambda kit, rng: _drum(kit, 0.35, 110.0, 0.8),
    "clap": _burst(0.18, 900, 3500),
    "brush": _burst(0.14, 1800, 7000),
    "hat": _burst(0.06, 6000, 10000),
    "open_hat": _burst(0.3, 5500, 10000),
    "crash": _burst(1.2, 3500, 10000),
    "shaker": _burst(0.09, 4000, 9000),
    "rim": _block(1150.0, 0.05),
    "wood": _block(780.0, 0.09),
}
LEVELS = {"kick": 1.0, "snare": 0.7, "tom": 0.7, "clap": 0.6, "brush": 0.4, "rim": 0.5, "wood": 0.4, "crash": 0.35}
DEFAULT_LEVEL = 0.3  # of hats, shaker and others without a level
