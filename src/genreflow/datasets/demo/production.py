"""The mixing desk: balance, overdrive, echo, equaliser, room, hiss."""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.signal import oaconvolve

from genreflow.datasets.demo.voices import SAMPLE_RATE

_DRIVEN = ("lead", "chords")
_DRUMS_LOUDNESS = 0.14  # of a full pattern


@dataclass(frozen=True)
class Console:
    """How an artist's records are mixed.

    Parameters
    ----------
    levels : dict of part to level [dB]
    tilt : float [dB/octave]
        Slope of the equaliser around 800 Hz.
    low_cut, high_cut : float [Hz]
        Corners of its second-order ends.
    peak : tuple of frequency [Hz] and gain [dB]
        A bell an octave wide.
    reverb_seconds : float > 0 [s]
        Time in which the room falls by 60 dB.
    reverb, echo, drive : float >= 0
        Share of the room, of the echoes and of the overdrive.
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
    parts : dict of part to np.ndarray [shape=(n,)]
        Dry; a part of zeros is left out.
    echo_seconds : float > 0 [s]
        From one echo to the next.

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
        # a soft pattern on the drums is meant to stay soft; voices differ in level for no reason of the music
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
    total += console.reverb * oaconvolve(total, _room(console, rng))[:n]
    total += np.sqrt(np.mean(total * total)) * 10 ** (console.hiss / 20) * rng.standard_normal(n)
    fade = min(n, SAMPLE_RATE // 20)
    total[n - fade :] *= np.linspace(1, 0, fade)
    return (total * (10 ** (console.peak_level / 20) / np.abs(total).max())).astype(np.float32)


def _room(console: Console, rng: np.random.Generator) -> np.ndarray:
    """Impulse response: exponentially decaying noise (Moorer 1979) of the energy of a unit impulse, after 12 ms."""
    t = np.arange(round(console.reverb_seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(t.size) * np.exp(-6.9 * t / console.reverb_seconds)
    tail = np.convolve(tail, [0.5, 0.5], "same")  # rooms swallow the treble first
    return np.concatenate([np.zeros(round(0.012 * SAMPLE_RATE)), tail / np.sqrt(np.sum(tail * tail))])


def _equalise(y: np.ndarray, console: Console) -> np.ndarray:
    size = fft.next_fast_len(y.size + SAMPLE_RATE // 10, real=True)
    f = np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 1.0)
    octaves = np.clip(np.log2(f / 800), -5, 4)
    centre, gain = console.peak
    bell = gain * np.exp(-0.5 * (np.log2(f / centre) / 0.5) ** 2)
    response = 10 ** ((console.tilt * octaves + bell) / 20)
    response /= np.sqrt((1 + (console.low_cut / f) ** 4) * (1 + (f / console.high_cut) ** 4))
    return fft.irfft(fft.rfft(y, size) * response, size)[: y.size]
