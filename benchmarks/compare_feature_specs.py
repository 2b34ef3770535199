"""Accuracy of small networks on two feature specs: `python benchmarks/compare_feature_specs.py RESULTS --data DIR`.

The specs are librosa's defaults and that of the pretrained embedder (`PATCH_SPEC`). DIR has `tracks.csv` (track, genre,
artist) and `audio/<genre>/<track>.flac`; `--demo FILE` takes the demo music of a settings file instead. Each network is
fitted on both specs in artist-disjoint folds, with the same seeds and options and without validation (the weights of
the last epoch), and classifies the held-out tracks as they are and softer. An SVM on summary statistics stands beside
them. RESULTS gets a line of JSON per fit; fits that it has already are not repeated.

Prints accuracies, and the paired difference to the first spec with the 95 % interval of a bootstrap over artists.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from genreflow.audio.decode import load
from genreflow.baselines.classifiers import support_vector_machine
from genreflow.baselines.summary_statistics import summary_statistics
from genreflow.datasets.demo.artists import artists_of
from genreflow.datasets.demo.genres import GENRES
from genreflow.datasets.demo.record import SAMPLE_RATE
from genreflow.datasets.demo.record import track as compose_track
from genreflow.datasets.demo.settings import load_settings
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.splits.assign import assign_folds
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet

FOLDS, SECONDS, HOP_SECONDS = 5, 4.0, 2.0
# Gains of the held-out tracks [dB].
GAINS = (0, -10, -20, -30)
# Feature specs, and changes of the options of a fit; with "peak", networks shift segments to a common peak.
VARIANTS: dict[str, tuple[FeatureSpec, dict[str, Any]]] = {
    "librosa": (FeatureSpec(), {}),
    "patch, peak": (PATCH_SPEC, {}),
    "patch": (PATCH_SPEC, {}),
    "patch, 80 dB": (PATCH_SPEC.replace(top_db=80.0), {}),
    "patch, 80 dB, peak": (PATCH_SPEC.replace(top_db=80.0), {}),
    "patch, 80 dB, peak, gain": (PATCH_SPEC.replace(top_db=80.0), {"gain": 0.25}),
}


@dataclass
class Track:
    name: str
    genre: str
    artist: str
    y: np.ndarray
    rate: int


def read_tracks(folder: Path) -> Iterator[Track]:
    with (folder / "tracks.csv").open(encoding="utf-8") as file:
        rows = {row["track"]: row for row in csv.DictReader(file)}
    for path in sorted((folder / "audio").glob("*/*.flac")):
        row = rows[path.stem]
        yield Track(path.stem, row["genre"], row["artist"] or path.stem, *load(path))


def compose_tracks(settings_path: Path) -> Iterator[Track]:
    settings = load_settings(settings_path)
    for genre in GENRES.values():
        for artist in artists_of(genre, settings):
            for number in range(1, 1 + settings.tracks_per_artist):
                name = f"{genre.name} {artist.name} {number}"
                yield Track(name, genre.name, artist.name, compose_track(artist, number, settings), SAMPLE_RATE)


def compute_frames(tracks: list[Track], spec: FeatureSpec) -> dict[int, list[np.ndarray]]:
    """Base log-mel frames of all tracks, for each gain."""
    logmel = LogMel(spec, make_filter_bank(spec))
    found: dict[int, list[np.ndarray]] = {gain: [] for gain in GAINS}
    for track in tracks:
        y = track.y
        if track.rate != spec.sample_rate:
            y = soxr.resample(y, track.rate, spec.sample_rate, quality="HQ")
        for gain in GAINS:
            found[gain].append(logmel.clip((y * 10 ** (gain / 20)).astype(np.float32)))
    return found


def segment_set(frames: list[np.ndarray], labels: np.ndarray, chosen: np.ndarray, spec: FeatureSpec) -> SegmentSet:
    pieces = [frames[i] for i in chosen]
    lengths = (spec.frames(SECONDS), spec.frames(HOP_SECONDS))
    return SegmentSet(pieces, labels[chosen], np.arange(len(chosen)), *lengths)


def classify(
    name: str, train: SegmentSet, tests: list[SegmentSet], classes: int, options: FitOptions, *, peak: bool
) -> list[list]:
    """Predicted label of each held-out track, for each gain."""
    if name == "SVM":
        classifier = support_vector_machine(10.0).fit(summary_statistics(train), train.track_labels)
        return [classifier.predict(summary_statistics(test)).tolist() for test in tests]
    import keras

    from genreflow.models import build_model
    from genreflow.training.fit import fit, predict_logits

    keras.utils.clear_session()
    mean, variance = train.band_statistics()
    shape = (train.length, train.n_mels)
    level = train.mean_peak() if peak else None
    model = build_model(
        name, input_shape=shape, classes=classes, mean=mean, variance=variance, seed=options.seed, peak=level
    )
    # The validation set decides nothing with keep: last; a small one is the fastest.
    fit(model, train, SegmentSet(train.pieces[:1], [0], [0], train.length, train.hop), options)
    predicted = []
    for test in tests:
        probabilities = softmax(predict_logits(model, test))
        predicted.append(track_probabilities(probabilities, test.track, test.n_tracks).argmax(axis=1).tolist())
    return predicted


def run(tracks: list[Track], arguments: argparse.Namespace) -> None:
    """Append a line for each fit that is missing."""
    done = set()
    if arguments.results.exists():
        done = {tuple(json.loads(line)["key"]) for line in arguments.results.open(encoding="utf-8")}
    genres = sorted({track.genre for track in tracks})
    labels = np.array([genres.index(track.genre) for track in tracks])
    artists = {genre: {track.artist for track in tracks if track.genre == genre} for genre in genres}
    # A genre with one artist cannot be learnt from others: its tracks are divided, and that leaks.
    groups = [track.artist if len(artists[track.genre]) > 1 else track.name for track in tracks]
    frames = {name: compute_frames(tracks, VARIANTS[name][0]) for name in arguments.variants}
    base = load_params().train.model_copy(update={"epochs": arguments.epochs, "keep": "last"})
    for seed in range(1, 1 + arguments.seeds):
        folds = assign_folds(groups, labels.astype(str).tolist(), folds=FOLDS, seed=seed)
        for fold in range(arguments.folds):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            for name in arguments.networks:
                for variant in arguments.variants:
                    key = (name, variant, seed, fold)
                    if key in done:
                        continue
                    spec, changes = VARIANTS[variant]
                    begin = time.perf_counter()
                    predicted = classify(
                        name,
                        segment_set(frames[variant][0], labels, train, spec),
                        [segment_set(frames[variant][gain], labels, test, spec) for gain in GAINS],
                        len(genres),
                        base.model_copy(update={"seed": seed, **changes}),
                        peak="peak" in variant,
                    )
                    correct = {
                        tracks[i].name: [own[k] == labels[i] for own in predicted] for k, i in enumerate(test.tolist())
                    }
                    row = {"key": key, "seconds": time.perf_counter() - begin, "correct": correct}
                    with arguments.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row, default=bool) + "\n")


def table(tracks: list[Track], arguments: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in arguments.results.open(encoding="utf-8")]
    hits = {tuple(row["key"]): row["correct"] for row in rows}
    artists = {genre: {t.artist for t in tracks if t.genre == genre} for genre in {t.genre for t in tracks}}
    several = {genre for genre, names in artists.items() if len(names) > 1}
    for title, kept in {
        "all tracks": tracks,
        "genres of several artists": [t for t in tracks if t.genre in several],
    }.items():
        print(f"\n{title}: {len(kept)} tracks")
        for name in arguments.networks:
            for variant in arguments.variants:
                base, own = (_by_track(hits, name, v, kept, arguments) for v in (arguments.variants[0], variant))
                if not own:
                    continue
                values = np.array([np.mean(own[t.name], axis=0) for t in kept if t.name in own])
                clusters = np.array([t.artist for t in kept if t.name in own])
                low, high = bootstrap_interval(values[:, 0], clusters=clusters)
                text = f"{name:14}{variant:14}{100 * values[:, 0].mean():5.1f} ({100 * low:.1f} to {100 * high:.1f})"
                common = [t for t in kept if t.name in own and t.name in base]
                difference = np.array(
                    [np.mean(own[t.name], axis=0)[0] - np.mean(base[t.name], axis=0)[0] for t in common]
                )
                low, high = bootstrap_interval(difference, clusters=np.array([t.artist for t in common]))
                text += f"  difference {100 * difference.mean():+5.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
                by_gain = ", ".join(
                    f"{gain} dB {100 * mean:.1f}" for gain, mean in zip(GAINS, values.mean(axis=0), strict=True)
                )
                seconds = np.mean([row["seconds"] for row in rows if row["key"][:2] == [name, variant]])
                print(f"{text}  {by_gain}; {seconds:.0f} s a fit")


def _by_track(hits: dict, name: str, variant: str, kept: list[Track], arguments: argparse.Namespace) -> dict[str, list]:
    """For each track whether it was correctly classified, in the seeds and folds that both variants have."""
    found: dict[str, list] = {}
    for key, correct in hits.items():
        if key[:2] == (name, variant) and (name, arguments.variants[0], *key[2:]) in hits:
            for track in kept:
                if track.name in correct:
                    found.setdefault(track.name, []).append(correct[track.name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR")
    source.add_argument("--demo", type=Path, metavar="FILE")
    parser.add_argument("--networks", nargs="+", default=["SVM", "efficient", "parallel_cnn"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["librosa", "patch, peak"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=FOLDS, help="that are held out, of 5")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--table", action="store_true", help="print the table of RESULTS as it is")
    arguments = parser.parse_args()
    tracks = list(read_tracks(arguments.data) if arguments.data else compose_tracks(arguments.demo))
    if not arguments.table:
        import_keras()
        run(tracks, arguments)
    table(tracks, arguments)


if __name__ == "__main__":
    main()
