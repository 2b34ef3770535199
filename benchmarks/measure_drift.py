"""False-alarm rate and power of `genreflow drift`, on demo music or on excerpts of real music.

    python benchmarks/measure_drift.py --bundle DIR --unseen techno [--keep DIR] [--windows 1000]
    python benchmarks/measure_drift.py --bundle DIR --excerpts DIR --window 120 [--by artist]

By default, the music is composed: by artists of another seed than that of data/demo.yaml, so that the bundle must have
been trained without the genre `--unseen` alone. With `--excerpts`, it is ``audio/<genre>/<track>.flac`` with
``tracks.csv`` (track, genre, artist), of which the bundle must know nothing; each excerpt is cut into pieces of 5 s,
which stay together as the tracks of an artist do (`--by artist`: as do those of one artist), and each genre in turn is
the unseen one. All tracks are analysed by the bundle as the service analyses them, and once more for each change:
another codec, another level. `--keep` keeps the results of that for another run.

Then, again and again, half of the artists are drawn to be the reference, and a window is drawn from the others: whole
artists, until there are enough tracks. Their share that `genreflow drift` finds different is the false-alarm rate where
nothing was changed, and else the power. Intervals are those of Wilson (95 %). Other rows have a smaller reference, or
the bundle's own one, which is one draw only. The last row shows what the test does not allow for: a window that is all
of two artists.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import io
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import soundfile as sf

from genreflow.bundle import Bundle, DriftReference
from genreflow.cores import usable_cores
from genreflow.datasets.demo import compose
from genreflow.inference.audio_files import find_audio
from genreflow.inference.predictor import Predictor
from genreflow.inference.reference import make_reference
from genreflow.monitoring.drift import MIN_GROUPS, compare
from genreflow.monitoring.drift_sample import Sample
from genreflow.monitoring.null_distribution import null_statistics

DEMO = "seed: 77\nartists_per_genre: 16\ntracks_per_artist: 3\n"
PIECE = 5.0  # [s]
Change = Callable[[np.ndarray, int], bytes]
ALPHA = 0.05
UNCHANGED = "no change"
Null = dict[str, np.ndarray]
OWN_NULLS: dict[int, Null] = {}  # of the bundle's own reference, which is the same for all windows


def level(decibels: float) -> Change:
    def shift(y: np.ndarray, rate: int) -> bytes:
        file = io.BytesIO()
        sf.write(file, y * np.float32(10 ** (decibels / 20)), rate, format="WAV", subtype="FLOAT")
        return file.getvalue()

    return shift


def codec(name: str, container: str, kilobits: int, rate: int) -> Change:
    """Return what encodes mono audio with FFmpeg."""

    def encode(y: np.ndarray, own: int) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(name, rate=rate, layout="mono")
            stream.bit_rate = 1000 * kilobits
            frame = av.AudioFrame.from_ndarray(y[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = own
            stream.codec_context.open()
            size = stream.codec_context.frame_size
            resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
            for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
                resampled.pts = None
                output.mux(stream.encode(resampled))
            output.mux(stream.encode(None))
        return file.getvalue()

    return encode


CHANGES: dict[str, Change] = {
    "mp3, 32 kbit/s": codec("libmp3lame", "mp3", 32, 22050),
    "mp3, 128 kbit/s": codec("libmp3lame", "mp3", 128, 44100),
    "Opus, 24 kbit/s": codec("libopus", "ogg", 24, 48000),
    "level - 3 dB": level(-3),
    "level - 20 dB": level(-20),
}


@dataclass(frozen=True)
class Music:
    """Files with their genres, and the artists or whatever else stays together."""

    paths: list[Path]
    genres: np.ndarray
    groups: np.ndarray


def composed(folder: Path) -> Music:
    settings = folder / "demo.yaml"
    settings.write_text(DEMO)
    compose(settings, folder / "music", progress=False)
    paths = sorted(find_audio([folder / "music"]))
    return Music(
        paths, np.array([path.parts[-3] for path in paths]), np.array(["/".join(path.parts[-3:-1]) for path in paths])
    )


def excerpts(source: Path, folder: Path, by: str) -> Music:
    """Cut excerpts into pieces."""
    with (source / "tracks.csv").open(encoding="utf-8", newline="") as file:
        artists = {row["track"]: row["artist"] or row["track"] for row in csv.DictReader(file)}
    paths, genres, groups = [], [], []
    for path in sorted((source / "audio").glob("*/*.flac")):
        y, rate = sf.read(path, dtype="float32")
        size = round(PIECE * rate)
        for number in range(len(y) // size):
            paths.append(folder / f"{path.stem}.{number}.flac")
            sf.write(paths[-1], y[number * size :][:size], rate)
            genres.append(path.parent.name)
            groups.append(artists[path.stem] if by == "artist" else path.stem)
    return Music(paths, np.array(genres), np.array(groups))


def measure(predictor: Predictor, music: Music, change: Change | None, kept: Path | None) -> DriftReference:
    """Analyse all files after a change, or read what an earlier run kept of that."""
    if kept is not None and kept.exists():
        return DriftReference.load(kept)

    def one(path: Path):
        if change is None:
            return predictor.analyse(path)
        y, rate = sf.read(path, dtype="float32", always_2d=True)
        return predictor.analyse(io.BytesIO(change(y.mean(axis=1), rate)))

    with ThreadPoolExecutor(usable_cores()) as pool:
        analyses = list(pool.map(one, music.paths))
    tracks = [(lambda found=found: found, group) for found, group in zip(analyses, music.groups, strict=True)]
    # Also the unfamiliarity of a pretrained network, which `drop_unfamiliarity` takes out.
    measured = make_reference(replace(predictor.bundle, embedder=None), tracks, part="drawn")
    assert measured is not None
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        measured.save(kept)
    return measured


def drop_unfamiliarity(measured: DriftReference) -> DriftReference:
    values = measured.values.copy()
    values[:, measured.names.index("unfamiliarity")] = np.nan
    return replace(measured, values=values)


def sample(measured: DriftReference, rows: np.ndarray) -> Sample:
    return Sample(measured.names, measured.values[rows], measured.probabilities[rows], measured.embeddings[rows])


def joined(first: Sample, second: Sample) -> Sample:
    names = ("values", "probabilities", "embeddings")
    return Sample(first.names, *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def drawn(rng: np.random.Generator, groups: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return rows of whole groups in random order, until there are `count`."""
    chosen: list[int] = []
    for group in rng.permutation(np.unique(groups[rows])):
        if len(chosen) >= count:
            break
        chosen.extend(rows[groups[rows] == group].tolist())
    return np.array(chosen, int)


@dataclass(frozen=True)
class Experiment:
    """What windows are drawn from."""

    measured: Mapping[str, DriftReference]
    genres: np.ndarray
    unseen: list[str]
    own: DriftReference | None
    options: argparse.Namespace

    def changed(self, rng: np.random.Generator, unseen: str, chosen: np.ndarray) -> Iterator[tuple[str, Sample]]:
        """Yield windows that differ from one with the tracks `chosen`, with their names."""
        known = self.measured[UNCHANGED]
        for name, measured in self.measured.items():
            if name != UNCHANGED:
                yield name, sample(measured, chosen)
        others = np.flatnonzero(self.genres == unseen)
        for share in (1.0, 0.5, 0.25):
            count = round(share * len(chosen))
            other = drawn(rng, known.groups, others, count)[:count]
            rest = chosen[: round(len(other) * (1 - share) / share)]
            name = unseen if len(self.unseen) == 1 else "a genre"
            yield f"{share:.0%} {name} that the model never saw", joined(sample(known, rest), sample(known, other))

    def draw(self, number: int) -> list[tuple[str, list[str]]]:
        """Return what is found in one window of each kind."""
        rng, known, options = np.random.default_rng([77, number]), self.measured[UNCHANGED], self.options
        unseen = self.unseen[number % len(self.unseen)]
        artists = rng.permutation(np.unique(known.groups[self.genres != unseen]))
        found = []
        half = max(len(artists) // 2, MIN_GROUPS)
        for size in (half, *options.sizes):
            inside = np.isin(known.groups, artists[:size]) & (self.genres != unseen)
            chosen = drawn(rng, known.groups, np.flatnonzero(~inside & (self.genres != unseen)), options.window)
            name = UNCHANGED if size == half else f"{UNCHANGED}, a reference of {size} artists"
            windows = [(name, sample(known, chosen))]
            if size == half and number < options.power_windows:
                windows += list(self.changed(rng, unseen, chosen))
                few = np.flatnonzero(np.isin(known.groups, artists[-2:]))
                windows.append((f"{UNCHANGED}, but 2 artists only", sample(known, rng.choice(few, options.window))))
            reference = sample(known, np.flatnonzero(inside))
            found += tests_of(reference, known.groups[inside], windows, seed=number, nulls={})
        if self.own is not None:
            rows = drawn(rng, known.groups, np.flatnonzero(self.genres != unseen), options.window)
            name = f"{UNCHANGED}, the bundle's own reference of {len(np.unique(self.own.groups))} artists"
            windows = [(name, sample(known, rows))]
            if number < options.power_windows:
                windows += [(f"{name}, the bundle's own reference", w) for name, w in self.changed(rng, unseen, rows)]
            found += tests_of(Sample.of(self.own), self.own.groups, windows, seed=0, nulls=OWN_NULLS)
        return found


def tests_of(
    reference: Sample, groups: np.ndarray, windows: list[tuple[str, Sample]], *, seed: int, nulls: dict[int, Null]
) -> list[tuple[str, list[str]]]:
    """Return the names of the tests that find each window different; `nulls` has those computed so far, by size."""
    found = []
    for name, window in windows:
        size = len(window)
        nulls[size] = nulls.get(size) or null_statistics(reference, groups, size, seed=seed)
        tests = compare(reference, groups, window, null=nulls[size])
        found.append((name, [test.name for test in tests if test.p_adjusted < ALPHA]))
    return found


def show(name: str, found: list[list[str]]) -> None:
    n, k = len(found), sum(map(bool, found))
    share, z = k / n, 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    most = [each for each, _ in Counter(each for names in found for each in names).most_common(3)]
    low, high = max(middle - half, 0), min(middle + half, 1)
    print(f"| {name} | {share:.1%} | {low:.1%} to {high:.1%} | {', '.join(most)} |", flush=True)


def prepare(options: argparse.Namespace, folder: Path) -> Experiment:
    """Make and analyse the music."""
    predictor = Predictor(options.bundle)
    if options.excerpts is None:
        music, unseen = composed(folder), [options.unseen]
    else:
        music = excerpts(options.excerpts, folder, options.by)
        unseen = sorted(set(music.genres.tolist()))
    if found := set(unseen) & set(predictor.bundle.labels):
        print(f"note: the bundle knows the genres {', '.join(sorted(found))}")
    measured = {}
    for name, change in {UNCHANGED: None, **CHANGES}.items():
        kept = options.keep / f"{name.replace('/', ' ')}.npz" if options.keep else None
        found = measure(predictor, music, change, kept)
        found = replace(found, groups=np.unique(music.groups, return_inverse=True)[1].astype(np.int32))
        measured[name] = drop_unfamiliarity(found) if predictor.bundle.embedder and not options.unfamiliarity else found
    own = None if options.excerpts else Bundle.load(options.bundle).drift_reference
    describe(predictor.bundle.architecture, measured[UNCHANGED], options.window)
    return Experiment(measured, music.genres, unseen, own, options)


def describe(architecture: str, known: DriftReference, window: int) -> None:
    artists = len(np.unique(known.groups))
    print(f"{architecture}: {len(known.groups)} tracks by {artists} artists, windows of {window}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--unseen", default="techno")
    parser.add_argument("--excerpts", type=Path)
    parser.add_argument("--by", choices=("excerpt", "artist"), default="excerpt")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--window", type=int, default=60)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--power-windows", type=int, default=200, help="of each change")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[], help=f"artists of other references, >= {MIN_GROUPS}"
    )
    parser.add_argument("--unfamiliarity", action="store_true", help="compare that of a pretrained network, too")
    options = parser.parse_args()
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        experiment = prepare(options, Path(folder))
    print("| window | found | 95 % | most often in |\n| --- | ---: | --- | --- |")
    with ProcessPoolExecutor(usable_cores()) as pool:
        for rows in pool.map(experiment.draw, range(options.windows), chunksize=10):
            for name, names in rows:
                found[name].append(names)
    for name, names in found.items():
        show(name, names)


if __name__ == "__main__":
    main()
