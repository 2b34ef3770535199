"""Synthetic audio for measurements."""

import io

import numpy as np
import soundfile as sf


def make_clip(sample_rate: int, seconds: float, *, format: str = "WAV") -> bytes:
    """Return an audio file with pulsating tones and noise, mono, 16 bit where the format has a bit depth.

    Parameters
    ----------
    sample_rate : int > 0 [Hz]
    seconds : float > 0 [s]
    format : str
        A format of soundfile.
    """
    rng = np.random.default_rng(0)
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    highest = min(4000.0, 0.4 * sample_rate)
    tones = [np.sin(2 * np.pi * f * times + rng.random()) for f in rng.uniform(80, highest, 12)]
    y = np.sum(tones, axis=0) / 24
    y *= 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * 2 * times))
    y += 0.02 * rng.standard_normal(len(y))
    file = io.BytesIO()
    sf.write(file, y, sample_rate, format=format)
    return file.getvalue()
