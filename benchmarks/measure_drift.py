"""False-alarm rate and power of `genreflow drift` on demo music, or on another collection.

    python benchmarks/measure_drift.py --bundle DIR --unseen GENRE [--music DIR] [--window 60] [--windows 200]

The bundle must have been trained without the genre `GENRE`, and without the artists of the music: by default, demo
music by artists of another seed than that of data/demo.yaml; or the folder ``DIR/<genre>/[<artist>/]<file>``. All
tracks are analysed by the bundle as the service analyses them, and once more for each change: another codec, another
level.

Then, again and again, half of the known artists are drawn to be the reference, and a window is drawn from the others:
whole artists, until there are enough tracks. Their share that `genreflow drift` finds different is the false-alarm rate
where nothing was changed, and else the power. Intervals are those of Wilson (95 %). The first row of the others has the
bundle's own reference instead, which is one draw only. The last rows show what the test does not allow for: a window
that is all of a few artists.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import soundfile as sf

from genreflow.bundle import DriftReference
from genreflow.cores import usable_cores
from genreflow.datasets.demo import compose
from genreflow.errors import AudioError
from genreflow.inference.audio_files import find_audio
from genreflow.inference.predictor import Analysis, Predictor
from genreflow.inference.reference import make_reference
from genreflow.monitoring.drift import Sample, compare

DEMO = "seed: 77\nartists_per_genre: 16\ntracks_per_artist: 3\n"
Change = Callable[[np.ndarray, int], bytes]
ALPHA = 0.05


def wav(y: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    sf.write(file, y, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def level(decibels: float) -> Change:
    return lambda y, rate: wav(y * np.float32(10 ** (decibels / 20)), rate)


def codec(name: str, container: str, kilobits: int, rate: int) -> Change:
    """Return what encodes mono audio with FFmpeg."""

    def encode(y: np.ndarray, own: int) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(name, rate=rate, layout="mono")
            stream.bit_rate = 1000 * kilobits
            frame = av.AudioFrame.from_ndarray(y[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = own
            resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=1024)
            for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
                resampled.pts = None
                output.mux(stream.encode(resampled))
            output.mux(stream.encode(None))
        return file.getvalue()

    return encode


CHANGES: dict[str, Change] = {
    "mp3, 32 kbit/s": codec("libmp3lame", "mp3", 32, 22050),
    "mp3, 128 kbit/s": codec("libmp3lame", "mp3", 128, 44100),
    "opus, 16 kbit/s": codec("libopus", "ogg", 16, 24000),
    "level - 3 dB": level(-3),
    "level - 6 dB": level(-6),
    "level - 12 dB": level(-12),
}


def analyse(predictor: Predictor, files: list[Path], change: Change | None) -> list[Analysis | None]:
    def one(path: Path) -> Analysis | None:
        try:
            if change is None:
                return predictor.analyse(path)
            y, rate = sf.read(path, dtype="float32", always_2d=True)
            return predictor.analyse(io.BytesIO(change(y.mean(axis=1), rate)))
        except (AudioError, sf.LibsndfileError):
            return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(one, files))


def as_reference(predictor: Predictor, analyses: list[Analysis], groups: list[str]) -> DriftReference:
    tracks = [(lambda found=found: found, group) for found, group in zip(analyses, groups, strict=True)]
    reference = make_reference(predictor.bundle, tracks, part="drawn")
    assert reference is not None
    return reference


def sample(reference: DriftReference, rows: np.ndarray) -> Sample:
    return Sample(reference.names, reference.values[rows], reference.probabilities[rows], reference.embeddings[rows])


def drawn(rng: np.random.Generator, groups: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return rows of whole groups in random order, until there are `count`."""
    chosen: list[int] = []
    for group in rng.permutation(np.unique(groups[rows])):
        chosen.extend(rows[groups[rows] == group].tolist())
        if len(chosen) >= count:
            break
    return np.array(chosen)


def alarms(
    rng: np.random.Generator,
    known: DriftReference,
    changed: DriftReference | None,
    *,
    own: DriftReference | None,
    options: argparse.Namespace,
) -> Iterator[list[str]]:
    """Yield what is found in each of several windows.

    `changed` has the tracks of `known` after a change, or others; None: unchanged ones. `own` is the reference if it is
    not drawn from `known`.
    """
    for _ in range(options.windows):
        artists = rng.permutation(np.unique(known.groups))
        in_reference = np.isin(known.groups, artists[: len(artists) // 2])
        if own is None:
            reference, groups = sample(known, np.flatnonzero(in_reference)), known.groups[in_reference]
        else:
            reference, groups = Sample.of(own), own.groups
        source = known if changed is None else changed
        same = changed is None or len(changed.groups) == len(known.groups)
        rows = np.flatnonzero(~in_reference) if same else np.arange(len(source.groups))
        window = sample(source, drawn(rng, source.groups, rows, options.window))
        tests = compare(reference, groups, window, seed=int(rng.integers(2**31)))
        yield [test.name for test in tests if test.p_adjusted < ALPHA]


def show(name: str, found: list[list[str]]) -> None:
    n, k = len(found), sum(map(bool, found))
    share, z = k / n, 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    counts: dict[str, int] = {}
    for names in found:
        for each in names:
            counts[each] = counts.get(each, 0) + 1
    most = sorted(counts, key=lambda each: -counts[each])[:3]
    low, high = max(middle - half, 0), min(middle + half, 1)
    print(f"| {name} | {share:.1%} | {low:.1%} to {high:.1%} | {', '.join(most)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--unseen", required=True)
    parser.add_argument("--music", type=Path)
    parser.add_argument("--window", type=int, default=60)
    parser.add_argument("--windows", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.music is None:
            settings, options.music = Path(folder, "demo.yaml"), Path(folder, "music")
            settings.write_text(DEMO)
            compose(settings, options.music, progress=False)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    predictor, rng = Predictor(options.bundle), np.random.default_rng(0)
    labels = predictor.bundle.labels
    if options.unseen in labels:
        raise SystemExit(f"--unseen must be none of the genres of the bundle; got {options.unseen}.")
    files = {genre: sorted(find_audio([options.music / genre])) for genre in (*labels, options.unseen)}
    paths = [path for genre in labels for path in files[genre]]

    def measured(paths: list[Path], change: Change | None = None) -> DriftReference:
        found = analyse(predictor, paths, change)
        usable = [(each, str(path.parent)) for each, path in zip(found, paths, strict=True) if each is not None]
        if all(path.parent.parent == options.music for path in paths):  # genre/file: artists are not known
            usable = [(each, str(path)) for each, path in zip(found, paths, strict=True) if each is not None]
        return as_reference(predictor, [each for each, _ in usable], [group for _, group in usable])

    known, own = measured(paths), predictor.bundle.drift_reference
    artists = len(np.unique(known.groups))
    print(
        f"{predictor.bundle.architecture}: {len(known.groups)} tracks by {artists} artists, windows of {options.window}"
    )
    print("| window | found | 95 % | most often in |\n| --- | ---: | --- | --- |")
    show("no change", list(alarms(rng, known, None, own=None, options=options)))
    if own is not None:
        name = f"no change, the bundle's own reference ({len(own.groups)} tracks)"
        show(name, list(alarms(rng, known, None, own=own, options=options)))
    unseen = measured(files[options.unseen])
    for share in (1.0, 0.5, 0.25):
        mixed = mixtures(rng, known, unseen, share=share, options=options)
        show(f"{share:.0%} {options.unseen}, which the model never saw", list(mixed))
    for name, change in CHANGES.items():
        show(name, list(alarms(rng, known, measured(paths, change), own=None, options=options)))
    if artists < len(known.groups):
        show("no change, but 2 artists only", list(few_artists(rng, known, 2, options)))


def mixtures(
    rng: np.random.Generator,
    known: DriftReference,
    unseen: DriftReference,
    *,
    share: float,
    options: argparse.Namespace,
) -> Iterator[list[str]]:
    """Yield what is found in windows of which a share is music of another genre."""
    for _ in range(options.windows):
        artists = rng.permutation(np.unique(known.groups))
        inside = np.isin(known.groups, artists[: len(artists) // 2])
        count = min(round(share * options.window), len(unseen.groups))
        other = sample(unseen, drawn(rng, unseen.groups, np.arange(len(unseen.groups)), count))
        rest = drawn(rng, known.groups, np.flatnonzero(~inside), max(options.window - count, 1))
        own = sample(known, rest[: options.window - count] if share < 1 else rest[:0])
        window = Sample(
            known.names,
            *(
                np.concatenate([getattr(own, name), getattr(other, name)])
                for name in ("values", "probabilities", "embeddings")
            ),
        )
        tests = compare(sample(known, np.flatnonzero(inside)), known.groups[inside], window)
        yield [test.name for test in tests if test.p_adjusted < ALPHA]


def few_artists(
    rng: np.random.Generator, known: DriftReference, count: int, options: argparse.Namespace
) -> Iterator[list[str]]:
    """Yield what is found in windows of all tracks of a few artists, repeated with slight differences."""
    for _ in range(options.windows):
        artists = rng.permutation(np.unique(known.groups))
        inside = np.isin(known.groups, artists[: len(artists) // 2])
        rows = np.flatnonzero(np.isin(known.groups, artists[-count:]))
        window = sample(known, rng.choice(rows, options.window))
        tests = compare(sample(known, np.flatnonzero(inside)), known.groups[inside], window)
        yield [test.name for test in tests if test.p_adjusted < ALPHA]


if __name__ == "__main__":
    main()
