"""Accuracy and speed of the search for near-duplicates: `python benchmarks/bench_duplicates.py [--audio DIR]`.

Copies of several kinds are added to the tracks of DIR, or to demo tracks. The output lists, per kind, the share of
copies that are found, their lowest similarity, and the number of false positives (pairs of different tracks, which
should be 0), and the CPU time for libraries of several sizes.
"""

# ruff: noqa: E402
import os

# Before NumPy is imported, so that CPU times are those of one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import yaml

from genreflow.audio.decode import load
from genreflow.audit.duplicates import NearDuplicate, find_near_duplicates
from genreflow.datasets.demo import compose
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.manifest.track import Track

RATE = 22050
DELAY = round(0.7 * RATE)
SPECS = {
    "audio, 43 frames/s": FeatureSpec(),
    "imported spectrograms, 12.9 frames/s": FeatureSpec(level_reference="minmax", frames_kept=387),
}
DEMO = {"seconds": 10.0, "artists_per_genre": 3, "tracks_per_artist": 2}


def encoded(y: np.ndarray, **options: object) -> np.ndarray:
    """Encode and decode."""
    file = io.BytesIO()
    sf.write(file, np.clip(y, -1, 1), RATE, **options)
    file.seek(0)
    return sf.read(file, dtype="float32")[0]


def mp3(y: np.ndarray) -> np.ndarray:
    # compression level 0.6 is 64 kbit/s at 22,050 Hz
    return encoded(y, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.6)


def at_speed(y: np.ndarray, speed: float) -> np.ndarray:
    return soxr.resample(y, speed * RATE, RATE)


def delayed(y: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(DELAY, np.float32), y])


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gain -12 dB": lambda y: y / 4,
    "gain +6 dB, clipped": lambda y: np.clip(2 * y, -1, 1),
    "first 0.7 s trimmed": lambda y: y[DELAY:],
    "delayed by 0.7 s": delayed,
    "mp3, 64 kbit/s": mp3,
    "speed +1 %": lambda y: at_speed(y, 1.01),
    "speed -1 %": lambda y: at_speed(y, 0.99),
    "-12 dB, trimmed, +1 %, mp3": lambda y: mp3(at_speed(y[DELAY:] / 4, 1.01)),
    "+6 dB, delayed, -1 %, mp3": lambda y: mp3(at_speed(delayed(np.clip(2 * y, -1, 1)), 0.99)),
    "resampled to 11,025 Hz and back": lambda y: soxr.resample(soxr.resample(y, RATE, RATE // 2), RATE // 2, RATE),
    "Ogg Vorbis": lambda y: encoded(y, format="OGG", subtype="VORBIS", compression_level=0.9),
    "middle third": lambda y: y[len(y) // 3 : 2 * len(y) // 3],
    "speed +2 %": lambda y: at_speed(y, 1.02),
}


def find(directory: Path, spec: FeatureSpec, frames: Iterable[tuple[str, np.ndarray]]) -> list[NearDuplicate]:
    tracks, store = write_store(directory, spec, frames)
    return find_near_duplicates(tracks, store, progress=False)


def write_store(
    directory: Path, spec: FeatureSpec, frames: Iterable[tuple[str, np.ndarray]]
) -> tuple[list[Track], FeatureStore]:
    update(directory, spec, frames, lambda array: [array], n_jobs=1, progress=False)
    store = FeatureStore.open(directory)
    return [Track(id=name, hash=name, genre="", path="", group="", group_source="track") for name in store], store


def measure_accuracy(music: dict[str, np.ndarray], directory: Path) -> None:
    for number, (title, spec) in enumerate(SPECS.items()):
        transform = LogMel(spec, make_filter_bank(spec))
        originals = {f"{name}~": transform.clip(y) for name, y in music.items()}
        false_positives = find(directory / f"{number}", spec, originals.items())
        print(f"\n{title}: {len(music)} tracks, {len(false_positives)} false positives among them")
        for pair in false_positives:
            print(f"  {pair.first[:-1]}, {pair.second[:-1]}: similarity {pair.similarity:.2f}")
        print(f"  {'copy':<34}{'found':>8}{'lowest similarity':>19}{'false positives':>17}")
        for position, (kind, make_copy) in enumerate(KINDS.items()):
            copies = {f"{name}~copy": transform.clip(make_copy(y).astype(np.float32)) for name, y in music.items()}
            pairs = find(directory / f"{number}-{position}", spec, (originals | copies).items())
            similarities = [p.similarity for p in pairs if p.first.split("~")[0] == p.second.split("~")[0]]
            lowest = f"{min(similarities):19.2f}" if similarities else f"{'':19}"
            print(f"  {kind:<34}{len(similarities) / len(music):>8.1%}{lowest}{len(pairs) - len(similarities):>17}")


def synthetic_frames(count: int, spec: FeatureSpec, seconds: float = 30.0) -> Iterable[tuple[str, np.ndarray]]:
    """Yield log-mel frames of notes with random pitch, time and level, with as many peaks as music."""
    rng = np.random.default_rng(0)
    length = spec.frames(seconds)
    decay = np.linspace(100, 0, spec.frames(0.4))
    for number in range(count):
        frames = rng.normal(60, 10, (length, spec.n_mels)).astype(np.float32)
        notes = zip(rng.integers(0, length - len(decay), 300), rng.integers(0, spec.n_mels, 300), strict=True)
        for (frame, band), level in zip(notes, rng.uniform(0.5, 1.5, 300), strict=True):
            part = frames[frame : frame + len(decay), band]
            np.maximum(part, 60 + level * decay, out=part)
        yield f"{number:05}", np.clip(frames, 0, 255).astype(np.uint8)


def measure_speed(sizes: list[int], directory: Path) -> None:
    spec = FeatureSpec()
    print(f"\n{'tracks of 30 s':>16}{'no cache [s]':>16}{'ms per track':>14}{'cached [s]':>12}{'peak [MiB]':>12}")
    for size in sizes:
        tracks, store = write_store(directory / f"size{size}", spec, synthetic_frames(size, spec))
        seconds = []
        for _ in range(2):
            begin = time.process_time()
            find_near_duplicates(tracks, store, cache=directory / f"cache{size}", progress=False)
            seconds.append(time.process_time() - begin)
        # ru_maxrss is in KiB on Linux, in bytes on macOS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        print(f"{size:>16}{seconds[0]:>16.1f}{1000 * seconds[0] / size:>14.2f}{seconds[1]:>12.1f}{peak:>12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="folder of music without near-duplicates, searched recursively")
    parser.add_argument("--sizes", type=int, nargs="*", default=[300, 1000], help="library sizes for the timing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.sizes:
            measure_speed(options.sizes, directory)  # first, so that the peak memory is that of the search
        folder = options.audio
        if folder is None:
            folder, settings = directory / "music", directory / "settings.yaml"
            settings.write_text(yaml.safe_dump(DEMO))
            compose(settings, folder, progress=False)
        files = sorted(file for file in folder.rglob("*") if file.suffix in (".flac", ".wav", ".mp3", ".ogg"))
        measure_accuracy({file.stem: load(file, sample_rate=RATE)[0] for file in files}, directory)


if __name__ == "__main__":
    main()
