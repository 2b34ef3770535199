"""Speed of featurize against the usual way and against the floor, in one run: `python benchmarks/bench_featurize.py`.

featurize is `features.update` into an empty store on all cores, from its start to its end. The usual way is
librosa.load, then a mel spectrogram in dB for each 4 s at 2 s overlap, in one process. The floor is what cannot be
left out: libsndfile, soxr where the rate is another, the Fourier transforms and the mel products; nothing is checked,
scaled or written. It takes the mel product in the bands of `features.logmel`, which beats the full matrix, and blocks
that stay in the cache, and runs both in a thread a core and in a process a core that runs already: the faster one
counts.

Every round takes all of them in turn; medians of the rounds are shown. A few files of 30 s are read again and again, so
that no disk is measured. Figures depend on the machine; the ratios hardly.
"""

import argparse
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.pool import Pool, ThreadPool
from pathlib import Path

import numpy as np
import scipy.fft
import soundfile as sf
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel, _filter_groups, logmel_pieces
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.store import update

SPEC = FeatureSpec()
SECONDS = 30
# name: suffix, rate [Hz], channels, and the share of the tracks: of those that take long, fewer tell as much
KINDS = {
    "wav, 22.05 kHz mono": ("wav", 22050, 1, 1.0),
    "wav, 44.1 kHz stereo": ("wav", 44100, 2, 1.0),
    "flac, 44.1 kHz stereo": ("flac", 44100, 2, 0.3),
    "mp3, 44.1 kHz stereo": ("mp3", 44100, 2, 0.3),
}
FILES = 8
BLOCK = 128  # frames transformed at a time: 64 to 256 are about equally good, all at once is slower


def music(seed: int, rate: int, channels: int) -> np.ndarray:
    """Chords that decay over noise that falls by 3 dB an octave [shape=(n, channels)]."""
    rng = np.random.default_rng(seed)
    t = np.arange(SECONDS * rate) / rate
    spectrum = np.fft.rfft(rng.standard_normal((channels, t.size)))
    y = np.fft.irfft(spectrum / np.sqrt(1 + np.arange(spectrum.shape[1])), t.size)
    y *= 0.1 / y.std()
    for begin in range(0, t.size, rate // 2):
        beat = slice(begin, begin + rate // 2)
        for hz in 110 * 2 ** (rng.integers(0, 36, 3) / 12):
            y[:, beat] += 0.1 * np.exp(-6 * (t[beat] - t[begin])) * np.sin(2 * np.pi * hz * t[beat])
    return (0.9 * y / np.abs(y).max()).T


def usual_way(paths: list[Path]) -> None:
    import librosa

    for path in paths:
        y, rate = librosa.load(path, sr=SPEC.sample_rate)
        for begin in range(0, len(y) - 4 * rate + 1, 2 * rate):
            power = librosa.feature.melspectrogram(
                y=y[begin : begin + 4 * rate], sr=rate, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length, n_mels=SPEC.n_mels
            )
            librosa.power_to_db(power, ref=np.max)


def start_floor(bank: FilterBank) -> None:
    global window, filters
    window = bank.window
    filters = list(_filter_groups(bank.mel))


def floor(path: Path) -> float:
    y, rate = sf.read(path, dtype="float32")
    if y.ndim == 2:
        y = (y[:, 0] + y[:, 1]) * np.float32(0.5)
    if rate != SPEC.sample_rate:
        y = soxr.resample(y, rate, SPEC.sample_rate, quality="HQ")
    padded = np.zeros(len(y) + SPEC.n_fft, dtype=np.float32)
    padded[SPEC.n_fft // 2 : SPEC.n_fft // 2 + len(y)] = y
    frames = sliding_window_view(padded, SPEC.n_fft)[:: SPEC.hop_length]
    power = np.empty((len(frames), SPEC.n_mels), dtype=np.float32)
    windowed = np.empty((BLOCK, SPEC.n_fft), dtype=np.float32)
    for begin in range(0, len(frames), BLOCK):
        block = frames[begin : begin + BLOCK]
        squares = scipy.fft.rfft(np.multiply(block, window, out=windowed[: len(block)])).view(np.float32)
        np.multiply(squares, squares, out=squares)
        for bands, bins, weights in filters:
            np.matmul(squares[:, bins], weights, out=power[begin : begin + BLOCK, bands])
    return float(power[0, 0])


def start_workers(cores: int, bank: FilterBank) -> Pool:
    # One thread a process for the matrix products, as joblib sets it for its own.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, "1")
    pool = multiprocessing.get_context("spawn").Pool(cores, start_floor, (bank,))
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return pool


def run_floor(pool: Pool | ThreadPool, paths: list[Path]) -> None:
    for _ in pool.imap_unordered(floor, paths, chunksize=8):
        pass


def featurize(paths: list[Path], compute: Callable, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as store:
        items = [(f"{number:06}", path) for number, path in enumerate(paths)]
        report = update(store, SPEC, items, compute, progress=False)
        assert report.computed == len(paths)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=1000, help="of each kind of wav; 0.3 of it of flac and mp3")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bank = make_filter_bank(SPEC)
    compute = partial(logmel_pieces, logmel=LogMel(SPEC, bank))
    cores = len(os.sched_getaffinity(0))
    start_floor(bank)
    with (
        tempfile.TemporaryDirectory() as directory,
        start_workers(cores, bank) as processes,
        ThreadPool(cores) as threads,
    ):
        files: dict[str, list[Path]] = {}
        for name, (suffix, rate, channels, _) in KINDS.items():
            files[name] = [Path(directory, f"{number}-{rate}.{suffix}") for number in range(FILES)]
            for seed, path in enumerate(files[name]):
                sf.write(path, music(seed, rate, channels), rate)
            usual_way(files[name][:1])  # librosa compiles at its first call
            for pool in (processes, threads):
                pool.map(floor, files[name] * cores, chunksize=1)

        times = {name: {} for name in KINDS}
        for _ in range(options.rounds):
            for name, originals in files.items():
                n_tracks = round(options.tracks * KINDS[name][-1])
                paths = list(itertools.islice(itertools.cycle(originals), n_tracks))
                ways = {
                    "usual": partial(usual_way, originals),
                    "featurize": partial(featurize, paths, compute, Path(directory)),
                    "processes": partial(run_floor, processes, paths),
                    "threads": partial(run_floor, threads, paths),
                }
                for way, work in ways.items():
                    count = FILES if way == "usual" else n_tracks
                    times[name].setdefault(way, []).append(1000 * seconds(work) / count)

    print(f"{options.tracks} tracks of {SECONDS} s on {cores} cores [ms a track]\n")
    print(" " * 22 + "{:>8}{:>8}{:>11}{:>9}{:>12}".format("usual", "floor", "featurize", "faster", "from floor"))
    for name, took in times.items():
        middle = {way: statistics.median(rounds) for way, rounds in took.items()}
        least, ours = min(middle["processes"], middle["threads"]), middle["featurize"]
        print(
            f"{name:22}{middle['usual']:8.1f}{least:8.2f}{ours:11.2f}{middle['usual'] / ours:8.1f}x{ours / least:12.2f}"
        )


if __name__ == "__main__":
    main()
