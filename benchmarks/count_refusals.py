"""Count how many sounds of several kinds a bundle refuses as unfamiliar, and how many get a genre.

    python benchmarks/count_refusals.py [--bundle DIR] [--folder MUSIC]...

The kinds are synthesised, 20 sounds of 12 s each; every folder of audio is one more kind.
"""

import argparse
import io
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
from scipy.signal import butter, chirp, lfilter

from genreflow.errors import AudioError
from genreflow.inference.audio_files import find_audio
from genreflow.inference.predictor import Predictor

RATE, SECONDS, COUNT = 22050, 12, 20
TIMES = np.arange(RATE * SECONDS) / RATE
Random = np.random.Generator


def white_noise(rng: Random) -> np.ndarray:
    return rng.standard_normal(len(TIMES))


def pink_noise(rng: Random) -> np.ndarray:
    spectrum = np.fft.rfft(white_noise(rng))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, len(TIMES))


def octave_noise(rng: Random) -> np.ndarray:
    low = 100 * 2 ** rng.uniform(0, 5)
    b, a = butter(2, [low, 2 * low], "band", fs=RATE)
    return lfilter(b, a, white_noise(rng))


def sweep(rng: Random) -> np.ndarray:
    length = SECONDS / rng.integers(1, 5)
    return chirp(TIMES % length, 40, length, 9000, method=rng.choice(["linear", "logarithmic"]))


def hum(rng: Random) -> np.ndarray:
    mains = rng.choice([50, 60]) * rng.uniform(0.995, 1.005)
    phases = rng.uniform(0, 2 * np.pi, 7)
    waves = [0.6**k * np.sin(2 * np.pi * mains * k * TIMES + phases[k - 1]) for k in range(1, 8)]
    return np.sum(waves, axis=0) + 0.01 * white_noise(rng)


def clicks(rng: Random) -> np.ndarray:
    y, n = np.zeros(len(TIMES)), rng.integers(20, 220)
    y[rng.integers(0, len(y), n)] = rng.uniform(-1, 1, n)
    return lfilter([1], [1, -0.9], y)


def sine(rng: Random) -> np.ndarray:
    return np.sin(2 * np.pi * 100 * 2 ** rng.uniform(0, 5) * TIMES)


def speech(rng: Random) -> np.ndarray:
    """Pulses through three formants that change with every syllable, noise in some of them, and pauses."""
    pitch = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * 0.6 * TIMES + rng.uniform(0, 6)))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    y, start = 0.001 * white_noise(rng), 0
    while start < len(y):
        length = int(RATE * rng.uniform(0.12, 0.3))
        syllable = pulses[start : start + length]
        if rng.random() < 0.2:
            syllable = 0.1 * rng.standard_normal(len(syllable))
        formants = rng.uniform((250, 900, 2300), (800, 2300, 3200))
        for frequency, bandwidth in zip(formants, (80, 120, 160), strict=True):
            r = np.exp(-np.pi * bandwidth / RATE)
            syllable = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r], syllable)
        syllable = syllable * np.hanning(len(syllable))
        y[start : start + length] += syllable / (np.abs(syllable).max() or 1)
        start += length + int(RATE * (rng.uniform(0.2, 0.6) if rng.random() < 0.15 else rng.uniform(0, 0.05)))
    return y


KINDS = (white_noise, pink_noise, octave_noise, sweep, hum, clicks, sine, speech)


def clips(make: Callable[[Random], np.ndarray]) -> Iterable[BinaryIO]:
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        y, file = make(rng), io.BytesIO()
        sf.write(file, 0.5 * y / np.abs(y).max(), RATE, format="WAV")
        file.seek(0)
        yield file


def count(predictor: Predictor, sounds: Iterable[Path | BinaryIO], name: str) -> None:
    outcomes: Counter[str] = Counter()
    distances, confidences = [], []
    for sound in sounds:
        try:
            prediction = predictor.classify(sound)
        except AudioError as error:
            outcomes[error.code] += 1
            continue
        outcomes[prediction.reason or "genre"] += 1
        distances.append(prediction.unfamiliarity or 0.0)
        confidences.append(prediction.confidence)
    low, median, high = np.quantile(distances, (0, 0.5, 1))
    print(
        f"{name}: {dict(outcomes)}; unfamiliarity {low:.3f} to {high:.3f}, median {median:.3f}; median confidence "
        f"{np.median(confidences):.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("models/champion"))
    parser.add_argument("--folder", type=Path, action="append", default=[])
    options = parser.parse_args()
    predictor = Predictor(options.bundle)
    reference = predictor.bundle.familiarity
    print(f"{predictor.bundle.architecture}, {reference and reference.to_dict()}")
    for make in KINDS:
        count(predictor, clips(make), make.__name__)
    for folder in options.folder:
        count(predictor, find_audio([folder]), folder.name)


if __name__ == "__main__":
    main()
