"""Mixing: balance, overdrive, echo, equaliser, reverberation, hiss."""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.signal import oaconvolve

from genreflow.datasets.demo.voices import SAMPLE_RATE

_DRIVEN = ("lead", "chords")
_DRUMS_LOUDNESS = 0.14  # RMS of a dense pattern


@dataclass(frozen=True)
class Console:
    """The mix of an artist.

    Parameters
    ----------
    levels : dict of str to float [dB]
        Level of each part.
    tilt : float [dB/octave]
        Slope of the equaliser around 800 Hz.
    low_cut, high_cut : float [Hz]
        Cutoff frequencies of its second-order high-pass and low-pass.
    peak : tuple of float [Hz] and float [dB]
        Centre frequency and gain of a bell one octave wide.
    reverb_seconds : float > 0 [s]
        Reverberation time (decay by 60 dB).
    reverb, echo, drive : float >= 0
        Amount of reverberation, echo and overdrive.
    hiss, peak_level : float <= 0 [dBFS]
    """

    levels: dict[str, float]
    tilt: float
    low_cut: float
    high_cut: float
    peak: tuple[float, float]
    reverb_seconds: float
    reverb: float
    echo: float
    drive: float
    hiss: float
    peak_level: float


def mix(parts: dict[str, np.ndarray], console: Console, rng: np.random.Generator, *, echo_seconds: float) -> np.ndarray:
    """Mix the parts of a track.

    Parameters
    ----------
    parts : dict of str to np.ndarray [shape=(n,)]
        Dry signals; parts that are all zeros are skipped.
    console : Console
    rng : np.random.Generator
    echo_seconds : float > 0 [s]
        Delay between echoes.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        Peaks at ``console.peak_level``.
    """
    n = next(iter(parts.values())).size
    total = np.zeros(n)
    sent = np.zeros(n)
    for name, y in parts.items():
        loudness = np.sqrt(np.mean(y * y))
        if loudness == 0:
            continue
        # Drums keep their dynamics; other voices are normalised, since their levels differ for technical reasons.
        y = y / (_DRUMS_LOUDNESS if name == "drums" else loudness)
        if console.drive and name in _DRIVEN:
            y = np.tanh(y * (0.3 + 6 * console.drive)) * (0.4 + 0.6 * np.exp(-console.drive))
        y = y * 10 ** (console.levels[name] / 20)
        total += y
        if name in _DRIVEN:
            sent += y
    if console.echo:
        delay = round(echo_seconds * SAMPLE_RATE)
        for repeat in (1, 2, 3):
            if repeat * delay < n:
                total[repeat * delay :] += console.echo**repeat * sent[: n - repeat * delay]
    total = _equalise(total, console)
    total += console.reverb * oaconvolve(total, _impulse_response(console, rng))[:n]
    total += np.sqrt(np.mean(total * total)) * 10 ** (console.hiss / 20) * rng.standard_normal(n)
    fade = min(n, SAMPLE_RATE // 20)
    total[n - fade :] *= np.linspace(1, 0, fade)
    return (total * (10 ** (console.peak_level / 20) / np.abs(total).max())).astype(np.float32)


def _impulse_response(console: Console, rng: np.random.Generator) -> np.ndarray:
    """Return exponentially decaying noise (Moorer 1979) of unit energy, after a delay of 12 ms."""
    t = np.arange(round(console.reverb_seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(t.size) * np.exp(-6.9 * t / console.reverb_seconds)
    tail = np.convolve(tail, [0.5, 0.5], "same")  # high frequencies decay faster
    return np.concatenate([np.zeros(round(0.012 * SAMPLE_RATE)), tail / np.sqrt(np.sum(tail * tail))])


def _equalise(y: np.ndarray, console: Console) -> np.ndarray:
    """Apply the equaliser in the frequency domain."""
    size = fft.next_fast_len(y.size + SAMPLE_RATE // 10, real=True)
    f = np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 1.0)
    octaves = np.clip(np.log2(f / 800), -5, 4)
    centre, gain = console.peak
    bell = gain * np.exp(-0.5 * (np.log2(f / centre) / 0.5) ** 2)
    response = 10 ** ((console.tilt * octaves + bell) / 20)
    response /= np.sqrt((1 + (console.low_cut / f) ** 4) * (1 + (f / console.high_cut) ** 4))
    return fft.irfft(fft.rfft(y, size) * response, size)[: y.size]
