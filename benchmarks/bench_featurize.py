"""Speed of featurize against librosa and against a lower bound, side by side: `python benchmarks/bench_featurize.py`.

featurize is a complete `genreflow.features.store.update` of an empty store on all cores. librosa stands for
librosa.load and a mel spectrogram in dB for each 4 s with 2 s overlap, in one process. The lower bound is the work that
cannot be avoided: libsndfile, soxr for other sample rates, the FFTs and the mel products, without checks, scaling or
writing. It uses the groups of bands of `features.logmel`, which are faster than the full filter bank, and blocks that
fit in the cache. It runs in one thread per core and in one process per core that has already started; the faster one
is shown.

Each round runs all of them; the medians of the rounds are shown. A few files of 30 s are read repeatedly, so that the
disk is not measured. Times depend on the machine, the ratios hardly.
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

from genreflow.cores import usable_cores
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel, filter_groups, logmel_pieces
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.update import update

SPEC = FeatureSpec()
SECONDS = 30
# name: suffix, sample rate [Hz], channels, and share of the tracks, smaller for formats that take longer
KINDS = {
    "wav, 22.05 kHz mono": ("wav", 22050, 1, 1.0),
    "wav, 44.1 kHz stereo": ("wav", 44100, 2, 1.0),
    "flac, 44.1 kHz stereo": ("flac", 44100, 2, 0.3),
    "mp3, 44.1 kHz stereo": ("mp3", 44100, 2, 0.3),
}
FILES = 8
BLOCK = 128  # frames per block: 64 to 256 are about equally fast, a single block is slower


def music(seed: int, rate: int, channels: int) -> np.ndarray:
    """Return decaying chords over pink noise [shape=(n, channels)]."""
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


def run_librosa(paths: list[Path]) -> None:
    import librosa

    for path in paths:
        y, rate = librosa.load(path, sr=SPEC.sample_rate)
        for begin in range(0, len(y) - 4 * rate + 1, 2 * rate):
            power = librosa.feature.melspectrogram(
                y=y[begin : begin + 4 * rate], sr=rate, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length, n_mels=SPEC.n_mels
            )
            librosa.power_to_db(power, ref=np.max)


def prepare_lower_bound(bank: FilterBank) -> None:
    global window, filters
    window = bank.window
    filters = list(filter_groups(bank.mel))


def lower_bound(path: Path) -> float:
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
    # One BLAS thread per process, as joblib sets it for its workers.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, "1")
    pool = multiprocessing.get_context("spawn").Pool(cores, prepare_lower_bound, (bank,))
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return pool


def run_lower_bound(pool: Pool | ThreadPool, paths: list[Path]) -> None:
    for _ in pool.imap_unordered(lower_bound, paths, chunksize=8):
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
    parser.add_argument("--tracks", type=int, default=1000, help="tracks per kind of wav; 0.3 of it for flac and mp3")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bank = make_filter_bank(SPEC)
    compute = partial(logmel_pieces, logmel=LogMel(SPEC, bank))
    cores = usable_cores()
    prepare_lower_bound(bank)
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
            run_librosa(files[name][:1])  # its first call compiles
            for pool in (processes, threads):
                pool.map(lower_bound, files[name] * cores, chunksize=1)

        times = {name: {} for name in KINDS}
        for _ in range(options.rounds):
            for name, originals in files.items():
                n_tracks = round(options.tracks * KINDS[name][-1])
                paths = list(itertools.islice(itertools.cycle(originals), n_tracks))
                runs = {
                    "librosa": partial(run_librosa, originals),
                    "featurize": partial(featurize, paths, compute, Path(directory)),
                    "processes": partial(run_lower_bound, processes, paths),
                    "threads": partial(run_lower_bound, threads, paths),
                }
                for kind, work in runs.items():
                    count = FILES if kind == "librosa" else n_tracks
                    times[name].setdefault(kind, []).append(1000 * seconds(work) / count)

    print(f"{options.tracks} tracks of {SECONDS} s on {cores} cores [ms per track]\n")
    print(" " * 22 + "{:>8}{:>8}{:>11}{:>9}{:>12}".format("librosa", "bound", "featurize", "speedup", "to bound"))
    for name, took in times.items():
        median = {kind: statistics.median(rounds) for kind, rounds in took.items()}
        bound, ours = min(median["processes"], median["threads"]), median["featurize"]
        speedup = median["librosa"] / ours
        print(f"{name:22}{median['librosa']:8.1f}{bound:8.2f}{ours:11.2f}{speedup:8.1f}x{ours / bound:12.2f}")


if __name__ == "__main__":
    main()
