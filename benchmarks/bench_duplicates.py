"""How well near-duplicates are found, and how fast: `python benchmarks/bench_duplicates.py [--audio DIR]`.

Copies of each kind are planted beside the tracks of DIR, or beside composed ones. Printed are, by kind, how many are
found and how alike the least alike is; how many pairs of different tracks are taken for copies, which should be none;
and the processor's time for libraries of several sizes.
"""

# ruff: noqa: E402
import os

# Before NumPy is loaded: the figures are those of one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import yaml

from genreflow.audio.decode import load
from genreflow.audit.duplicates import NearDuplicate, near_duplicates
from genreflow.datasets.demo import compose
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore, update
from genreflow.manifest.track import Track

RATE = 22050
LATER = round(0.7 * RATE)
SPECS = {
    "audio, 43 frames/s": FeatureSpec(),
    "as imported, 12.9 frames/s": FeatureSpec(level_reference="minmax", frames_kept=387),
}
DEMO = {"seconds": 10.0, "artists_per_genre": 3, "tracks_per_artist": 2}


def coded(y: np.ndarray, **options) -> np.ndarray:
    file = io.BytesIO()
    sf.write(file, np.clip(y, -1, 1), RATE, **options)
    file.seek(0)
    return sf.read(file, dtype="float32")[0]


def mp3(y: np.ndarray) -> np.ndarray:
    # level 0.6 is 64 kbit/s at 22,050 Hz
    return coded(y, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.6)


def at_speed(y: np.ndarray, speed: float) -> np.ndarray:
    return soxr.resample(y, speed * RATE, RATE)


def delayed(y: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(LATER, np.float32), y])


KINDS = {
    "gain -12 dB": lambda y: y / 4,
    "gain +6 dB, clipped": lambda y: np.clip(2 * y, -1, 1),
    "first 0.7 s cut off": lambda y: y[LATER:],
    "0.7 s of silence before": delayed,
    "mp3, 64 kbit/s": mp3,
    "speed + 1 %": lambda y: at_speed(y, 1.01),
    "speed - 1 %": lambda y: at_speed(y, 0.99),
    "all: -12 dB, cut, + 1 %, mp3": lambda y: mp3(at_speed(y[LATER:] / 4, 1.01)),
    "all: +6 dB, delayed, - 1 %, mp3": lambda y: mp3(at_speed(delayed(np.clip(2 * y, -1, 1)), 0.99)),
    "through 11,025 Hz": lambda y: soxr.resample(soxr.resample(y, RATE, RATE // 2), RATE // 2, RATE),
    "Ogg Vorbis": lambda y: coded(y, format="OGG", subtype="VORBIS", compression_level=0.9),
    "middle third": lambda y: y[len(y) // 3 : 2 * len(y) // 3],
    "speed + 2 %": lambda y: at_speed(y, 1.02),
}


def find(directory: Path, spec: FeatureSpec, frames: Iterable[tuple[str, np.ndarray]]) -> list[NearDuplicate]:
    tracks, store = stored(directory, spec, frames)
    return near_duplicates(tracks, store, progress=False)


def stored(directory: Path, spec: FeatureSpec, frames: Iterable[tuple[str, np.ndarray]]):
    update(directory, spec, frames, lambda array: [array], n_jobs=1, progress=False)
    store = FeatureStore.open(directory)
    fields = {"genre": "", "path": "", "group": "", "group_source": "track"}
    return [Track(id=name, hash=name, **fields) for name in store], store


def recall(music: dict[str, np.ndarray], directory: Path) -> None:
    for number, (title, spec) in enumerate(SPECS.items()):
        transform = LogMel(spec, make_filter_bank(spec))
        originals = {f"{name}~": transform.clip(y) for name, y in music.items()}
        different = find(directory / f"{number}", spec, originals.items())
        print(f"\n{title}: {len(music)} tracks, {len(different)} pairs of them taken for copies")
        for pair in different:
            print(f"  {pair.first[:-1]}, {pair.second[:-1]}: {pair.similarity:.2f} alike")
        print(f"  {'planted':<34}{'found':>8}{'least alike':>13}{'false alarms':>14}")
        for position, (kind, copy) in enumerate(KINDS.items()):
            copies = {f"{name}~copy": transform.clip(copy(y).astype(np.float32)) for name, y in music.items()}
            pairs = find(directory / f"{number}-{position}", spec, (originals | copies).items())
            right = [pair.similarity for pair in pairs if pair.first.split("~")[0] == pair.second.split("~")[0]]
            least = f"{min(right):13.2f}" if right else f"{'':13}"
            wrong = len(pairs) - len(right)
            print(f"  {kind:<34}{len(right) / len(music):>8.1%}{least}{wrong:>14}")


def made_up(count: int, spec: FeatureSpec, seconds: float = 30.0) -> Iterable[tuple[str, np.ndarray]]:
    """Yield log-mel frames with notes of random pitch, time and level: as many peaks as music, at once."""
    rng = np.random.default_rng(0)
    length = spec.frames(seconds)
    fading = np.linspace(100, 0, spec.frames(0.4))
    for number in range(count):
        frames = rng.normal(60, 10, (length, spec.n_mels)).astype(np.float32)
        notes = zip(rng.integers(0, length - len(fading), 300), rng.integers(0, spec.n_mels, 300), strict=True)
        for (frame, band), level in zip(notes, rng.uniform(0.5, 1.5, 300), strict=True):
            part = frames[frame : frame + len(fading), band]
            np.maximum(part, 60 + level * fading, out=part)
        yield f"{number:05}", np.clip(frames, 0, 255).astype(np.uint8)


def speed(sizes: list[int], directory: Path) -> None:
    spec = FeatureSpec()
    print(f"\n{'tracks of 30 s':>16}{'first time [s]':>16}{'ms a track':>12}{'from cache [s]':>16}{'peak [MiB]':>12}")
    for size in sizes:
        tracks, store = stored(directory / f"size{size}", spec, made_up(size, spec))
        took = []
        for _ in range(2):
            begin = time.process_time()
            near_duplicates(tracks, store, cache=directory / f"cache{size}", progress=False)
            took.append(time.process_time() - begin)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size:>16}{took[0]:>16.1f}{1000 * took[0] / size:>12.2f}{took[1]:>16.1f}{peak:>12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="a folder of music, at any depth, without copies in it")
    parser.add_argument("--sizes", type=int, nargs="*", default=[300, 1000], help="libraries that are timed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if options.sizes:
            speed(options.sizes, directory)  # first, so that the peak is its own
        folder = options.audio
        if folder is None:
            folder, settings = directory / "music", directory / "settings.yaml"
            settings.write_text(yaml.safe_dump(DEMO))
            compose(settings, folder, progress=False)
        files = sorted(file for file in folder.rglob("*") if file.suffix in (".flac", ".wav", ".mp3", ".ogg"))
        recall({file.stem: load(file, sample_rate=RATE)[0] for file in files}, directory)


if __name__ == "__main__":
    main()
