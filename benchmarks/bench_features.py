"""Speed of the features against librosa, side by side on one core: `python benchmarks/bench_features.py`.

Prints the median time for a clip of 30 s and the ratio to librosa, then the times of other block and group sizes. Times
depend on the machine, the ratios hardly.
"""

# ruff: noqa: E402
import os

# Before NumPy is imported: the times are those of one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf

from genreflow.audio.decode import load
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features import logmel
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FeatureSpec

SPECS = {
    "2048/512/128": FeatureSpec(),
    "1024/512/96": FeatureSpec(n_fft=1024, n_mels=96),
    "2048/512/128, 387 frames": FeatureSpec(level_reference="minmax", frames_kept=387),
}


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def with_librosa(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=y, sr=spec.sample_rate, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.n_mels,
        fmin=spec.fmin, fmax=spec.fmax,
    )  # fmt: skip
    return librosa.power_to_db(power, ref=np.max, top_db=spec.top_db)


def file_with_librosa(path: Path, spec: FeatureSpec) -> np.ndarray:
    y, _ = librosa.load(path, sr=spec.sample_rate, mono=True)
    return with_librosa(y, spec)


def row(name: str, ours: float, theirs: float) -> None:
    print(f"{name:<44}{ours:>10.1f}{theirs:>10.1f}{theirs / ours:>8.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    music = 0.1 * rng.standard_normal((30 * 44100, 2)).astype(np.float32)

    print(f"{'30 s on one core [ms]':<44}{'genreflow':>10}{'librosa':>10}{'ratio':>9}")
    y = np.ascontiguousarray(music[: 30 * 22050, 0])
    for name, spec in SPECS.items():
        transform = LogMel(spec, make_filter_bank(spec))
        ours = milliseconds(lambda t=transform: t.clip(y), repeats)
        row(f"waveform to log-mel, {name}", ours, milliseconds(lambda s=spec: with_librosa(y, s), repeats))
    spec = SPECS["2048/512/128"]
    bank = make_filter_bank(spec)
    transform = LogMel(spec, bank)
    with tempfile.TemporaryDirectory() as directory:
        for suffix in ("wav", "flac", "mp3"):
            path = Path(directory) / f"music.{suffix}"
            sf.write(path, music, 44100)
            decode = milliseconds(lambda p=path: load(p, sample_rate=spec.sample_rate), repeats)
            theirs = milliseconds(lambda p=path: librosa.load(p, sr=spec.sample_rate, mono=True), repeats)
            row(f"{suffix}, 44.1 kHz stereo, to a waveform", decode, theirs)
            ours = milliseconds(lambda p=path: logmel_pieces(p, transform), repeats)
            row(
                f"{suffix}, 44.1 kHz stereo, to log-mel",
                ours,
                milliseconds(lambda p=path: file_with_librosa(p, spec), repeats),
            )

    print("\nwaveform to log-mel, 2048/512/128, by block and group size [ms]")
    used = logmel.BLOCK_SAMPLES, logmel.BANDS_PER_GROUP
    for frames, bands in ((128, 8), (16, 8), (64, 8), (256, 8), (10**4, 8), (128, 4), (128, 16), (128, 32), (128, 128)):
        logmel.BLOCK_SAMPLES, logmel.BANDS_PER_GROUP = frames * spec.n_fft, bands
        transform = LogMel(spec, bank)
        took = milliseconds(lambda t=transform: t.clip(y), repeats)
        mark = "  (used)" if (frames * spec.n_fft, bands) == used else ""
        print(f"  {frames:>6} frames per block, {bands:>3} bands per group{took:>10.1f}{mark}")
    logmel.BLOCK_SAMPLES, logmel.BANDS_PER_GROUP = used


if __name__ == "__main__":
    main()
