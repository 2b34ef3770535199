"""Instruments: each synthesises a note, `np.ndarray [shape=(n,)]` that peaks near 1, from frequency and duration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 22050
_RELEASE = 0.04  # [s]; avoids a click at the end of a note


@dataclass(frozen=True)
class Tone:
    """The articulation of an instrument.

    Parameters
    ----------
    brightness : float in [0, 1]
    attack : float >= 0 [s]
        Added to that of the instrument.
    vibrato : float >= 0 [semitones]
    detune : float >= 0 [semitones]
        Difference between the oscillators of voices with two.
    """

    brightness: float = 0.5
    attack: float = 0.0
    vibrato: float = 0.0
    detune: float = 0.08


Voice = Callable[[float, float, Tone, np.random.Generator], np.ndarray]


def _time(seconds: float) -> np.ndarray:
    """Return the times [s] of the samples of a note."""
    return np.arange(max(2, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE


def _envelope(t: np.ndarray, attack: float, decay: float) -> np.ndarray:
    """Return an envelope: linear attack, exponential decay with time constant `decay`, and a short release."""
    return np.minimum(1.0, t / max(attack, 0.002)) * np.exp(-t / decay) * np.minimum(1.0, (t[-1] - t) / _RELEASE)


def _phase(f: float, t: np.ndarray, vibrato: float) -> np.ndarray:
    """Return the phase [cycles], with a vibrato of 5.3 Hz that starts after the attack."""
    if vibrato == 0:
        return f * t
    wave = np.sin(2 * np.pi * 5.3 * t) * np.minimum(1.0, t / 0.3)
    return f * t + f * (2 ** (vibrato / 12) - 1) * np.cumsum(wave) / SAMPLE_RATE


def _saw(phase: np.ndarray, step: float) -> np.ndarray:
    """Return a sawtooth, smoothed over two samples (PolyBLEP, Välimäki and Huovilainen 2007) to reduce aliasing."""
    p = phase % 1.0
    y = 2 * p - 1
    start, end = p < step, p > 1 - step
    a, b = p[start] / step, (p[end] - 1) / step
    y[start] -= 2 * a - a * a - 1
    y[end] -= b * b + 2 * b + 1
    return y


def _lowpass(y: np.ndarray, cutoff: float) -> np.ndarray:
    """Apply a second-order Butterworth low-pass."""
    return sosfilt(butter(2, min(cutoff, 0.45 * SAMPLE_RATE), fs=SAMPLE_RATE, output="sos"), y)


def pluck(
    f: float, seconds: float, tone: Tone, rng: np.random.Generator, *, hardness: float = 0.5, sustain: float = 1.0
) -> np.ndarray:
    """Synthesise a plucked string (Karplus and Strong 1983) period by period, resampled to the exact pitch."""
    period = max(4, round(SAMPLE_RATE / f - 0.5))
    actual = SAMPLE_RATE / (period + 0.5)
    n = int(np.ceil(seconds * SAMPLE_RATE * f / actual)) + 2
    rows = -(-n // period) + 1
    burst = rng.uniform(-1, 1, period)
    smooth = max(1, round((1 - np.clip(0.6 * hardness + 0.5 * tone.brightness, 0, 0.98)) * period / 4))
    burst = np.convolve(np.concatenate([burst, burst[:smooth]]), np.ones(smooth) / smooth, "valid")[:period]
    gain = 0.5 ** (1 / (f * 0.6 * sustain))  # decay by half in 0.6 s times `sustain`
    string = np.zeros((rows, period))
    string[0] = burst - burst.mean()
    for row in range(1, rows):
        last = string[row - 1]
        string[row, 1:] = last[1:] + last[:-1]
        string[row, 0] = last[0] + (string[row - 2, -1] if row > 1 else 0.0)
        string[row] *= 0.5 * gain
    y = string.ravel()
    t = _time(seconds)
    y = np.interp(t * SAMPLE_RATE * f / actual, np.arange(y.size), y)
    return y / (np.abs(y).max() + 1e-9) * _envelope(t, tone.attack, 50.0)


def partials(
    f: float,
    seconds: float,
    tone: Tone,
    rng: np.random.Generator,
    *,
    levels: Sequence[tuple[float, float]],
    decay: float = 50.0,
    attack: float = 0.005,
    stiffness: float = 0.0,
    damping: float = 0.0,
) -> np.ndarray:
    """Synthesise partials (number, level), inharmonic by `stiffness`; `damping` shortens the decay of higher ones."""
    t = _time(seconds)
    phase = 2 * np.pi * _phase(f, t, tone.vibrato)
    y = np.zeros_like(t)
    for number, level in levels:
        ratio = number * np.sqrt(1 + stiffness * number * number)
        if level and ratio * f < 0.45 * SAMPLE_RATE:
            weight = level * number ** (1.2 * (tone.brightness - 0.5))
            y += weight * np.sin(ratio * phase + number) * (np.exp(-t * damping * number / decay) if damping else 1.0)
    return y / sum(level for _, level in levels) * _envelope(t, attack + tone.attack, decay)


def fm(
    f: float,
    seconds: float,
    tone: Tone,
    rng: np.random.Generator,
    *,
    ratio: float,
    index: float,
    decay: float = 50.0,
    index_decay: float = 0.4,
    attack: float = 0.004,
) -> np.ndarray:
    """Frequency modulation (Chowning 1973) with one modulator whose index decays."""
    t = _time(seconds)
    phase = 2 * np.pi * _phase(f, t, tone.vibrato)
    depth = index * (0.4 + 1.2 * tone.brightness) * (0.25 + 0.75 * np.exp(-t / index_decay))
    depth *= np.minimum(1.0, t / max(attack, 0.002))
    return np.sin(phase + depth * np.sin(ratio * phase)) * _envelope(t, attack + tone.attack, decay)


def analog(
    f: float,
    seconds: float,
    tone: Tone,
    rng: np.random.Generator,
    *,
    cutoff: float,
    attack: float = 0.005,
    decay: float = 50.0,
    sweep: float = 0.0,
    hollow: bool = False,
) -> np.ndarray:
    """Two detuned saws (`hollow`: a square) with a low-pass at `cutoff` harmonics; `sweep` opens it at the onset."""
    t = _time(seconds)
    high = f * 2 ** (tone.detune / 12)
    one = _saw(_phase(f, t, tone.vibrato), f / SAMPLE_RATE)
    two = _saw(_phase(high, t, tone.vibrato) + (0.5 if hollow else 0.31), high / SAMPLE_RATE)
    y = 0.5 * (one - two if hollow else one + two)
    corner = f * cutoff * 2 ** (2.0 * (tone.brightness - 0.5))
    dark = _lowpass(y, corner)
    if sweep:
        dark = dark + _lowpass(y, 4 * corner) * np.exp(-t / 0.12) * sweep
    return dark * _envelope(t, attack + tone.attack, decay)


def breath(
    f: float, seconds: float, tone: Tone, rng: np.random.Generator, *, noise: float = 0.05, attack: float = 0.05
) -> np.ndarray:
    """Synthesise a flute: few harmonics, and breath noise."""
    y = partials(f, seconds, tone, rng, levels=((1, 1.0), (2, 0.35), (3, 0.12), (4, 0.04)), attack=attack)
    return y + _lowpass(rng.standard_normal(y.size), 4 * f) * noise * _envelope(_time(seconds), attack, 50.0)


_PIANO = tuple((k, 1 / k**1.1) for k in range(1, 13))
_REED = tuple((k, (1.0 if k % 2 else 0.6) / k**0.8) for k in range(1, 13))
_BOW = tuple((k, 1 / k) for k in range(1, 15))
_CLARINET = ((1, 1.0), (2, 0.05), (3, 0.6), (5, 0.35), (7, 0.2), (9, 0.1))
_DRAWBARS = ((1, 1.0), (2, 0.7), (3, 0.6), (4, 0.4), (6, 0.25), (8, 0.3))

VOICES: dict[str, Voice] = {
    "nylon": partial(pluck, hardness=0.2, sustain=0.7),
    "steel": partial(pluck, hardness=0.8, sustain=1.3),
    "banjo": partial(pluck, hardness=0.9, sustain=0.25),
    "harp": partial(pluck, hardness=0.4, sustain=2.0),
    "muted": partial(pluck, hardness=0.5, sustain=0.12),
    "upright": partial(pluck, hardness=0.1, sustain=0.6),
    "fingered": partial(pluck, hardness=0.45, sustain=1.5),
    "piano": partial(partials, levels=_PIANO, decay=0.9, stiffness=0.0004, damping=0.35),
    "accordion": partial(partials, levels=_REED, attack=0.04),
    "harmonica": partial(partials, levels=_REED[:8], attack=0.03),
    "violin": partial(partials, levels=_BOW, attack=0.07),
    "clarinet": partial(partials, levels=_CLARINET, attack=0.03),
    "organ": partial(partials, levels=_DRAWBARS, attack=0.006),
    "glass": partial(partials, levels=((1, 1.0), (2.76, 0.5), (5.4, 0.3)), decay=1.2, damping=0.5),
    "flute": breath,
    "brass": partial(fm, ratio=1.0, index=2.6, attack=0.04, index_decay=2.0),
    "tuba": partial(fm, ratio=1.0, index=1.2, attack=0.03, decay=0.8),
    "epiano": partial(fm, ratio=2.0, index=0.9, decay=0.9),
    "bell": partial(fm, ratio=3.5, index=1.6, decay=1.4),
    "sub": partial(fm, ratio=1.0, index=0.35),
    "fuzz": partial(analog, cutoff=9.0, attack=0.006, decay=3.0),
    "saw": partial(analog, cutoff=5.0, sweep=0.6),
    "square": partial(analog, cutoff=5.0, hollow=True),
    "stab": partial(analog, cutoff=3.0, sweep=1.2, decay=0.18),
    "acid": partial(analog, cutoff=2.5, sweep=1.5, decay=0.4),
    "strings": partial(analog, cutoff=3.0, attack=0.15),
    "pad": partial(analog, cutoff=2.0, attack=0.5),
}


def frequency(pitch: float) -> float:
    """Return the frequency [Hz] of a MIDI note number; 69 is 440 Hz."""
    return 440.0 * 2 ** ((pitch - 69) / 12)
