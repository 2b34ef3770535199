"""Precision and recall of the list of label errors: `python benchmarks/measure_label_errors.py [--data DIR]`.

The labels of 5 % of the tracks are replaced by another genre, drawn at random, for several seeds. Precision is the
share of listed tracks whose label was replaced, recall the share of replaced labels that are listed, both with the 95 %
interval of a bootstrap over artists. Labels that were wrong before count as mistakes of the list. A random list has a
precision of 5 %. Beside it stands the list of confident learning alone (Northcutt et al. 2021).

The tracks are those of the demo and, in DIR, of ``audio/`` and of the training part of ``logmel.npz``, as
`compare_embeddings.py` reads them.
"""

# ruff: noqa: I001
from compare_embeddings import Track, inputs, read_spectrograms, read_tracks  # first: it sets numbers of threads

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genreflow.datasets.demo.record import compose
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.label_errors.confident_learning import class_thresholds
from genreflow.label_errors.judge import judge_labels
from genreflow.label_errors.out_of_fold import predict_out_of_fold
from genreflow.manifest.track import Track as ManifestTrack

SHARE = 0.05
# `MAX_RELATIVE_PROBABILITY` was chosen with smaller ones.
FIRST_SEED = 100
WEIGHTS = "MSD_musicnn"
FEATURES = ("summary statistics", "MSD penultimate", "MSD both")
SETTINGS = Path(__file__).resolve().parents[1] / "data" / "demo.yaml"
Lists = Callable[[Sequence[ManifestTrack], np.ndarray], set[str]]


def read_demo() -> list[Track]:
    """Compose the demo music in the layout that `read_tracks` takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        compose(SETTINGS, folder / "music", n_jobs=1, progress=False)
        with (folder / "tracks.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["track", "genre", "artist"])
            for path in sorted((folder / "music").glob("*/*/*.flac")):
                genre, artist = path.parts[-3:-1]
                writer.writerow([path.stem, genre, artist])
                (folder / "audio" / genre).mkdir(parents=True, exist_ok=True)
                path.rename(folder / "audio" / genre / path.name)
        return read_tracks(folder)


def plant(tracks: Sequence[Track], seed: int) -> tuple[list[ManifestTrack], set[str]]:
    """Return the tracks with some wrong labels, and the IDs of these."""
    rng = np.random.default_rng(seed)
    genres = sorted({track.genre for track in tracks})
    chosen = set(rng.choice(len(tracks), max(1, round(SHARE * len(tracks))), replace=False).tolist())
    labelled = []
    for number, track in enumerate(tracks):
        others = [genre for genre in genres if genre != track.genre]
        genre = str(rng.choice(others)) if number in chosen else track.genre
        labelled.append(
            ManifestTrack(id=track.name, genre=genre, path="", group=track.group, group_source="tracks.csv")
        )
    return labelled, {tracks[number].name for number in chosen}


def listed(tracks: Sequence[ManifestTrack], x: np.ndarray) -> set[str]:
    """List label errors as the stage does."""
    groups = {track.id: track.group for track in tracks}
    return {row.track for row in judge_labels(tracks, x, groups, features="", groups_known=True).label_errors}


def listed_by_confident_learning(tracks: Sequence[ManifestTrack], x: np.ndarray) -> set[str]:
    """List the off-diagonal entries of the confident joint: another class reaches its threshold, and is the highest."""
    genres = sorted({track.genre for track in tracks})
    labels = np.array([genres.index(track.genre) for track in tracks])
    found = predict_out_of_fold(x, labels, [track.group for track in tracks], n_genres=len(genres))
    thresholds = class_thresholds(found.probabilities, labels, found.judged)
    reached = np.where(found.probabilities >= thresholds, found.probabilities, -1)  # NaN is never reached
    wrong = found.judged & (reached.max(axis=1) >= 0) & (reached.argmax(axis=1) != labels)
    return {tracks[i].id for i in np.flatnonzero(wrong)}


def measure(tracks: Sequence[Track], x: np.ndarray, find: Lists, seeds: int) -> str:
    """Return precision, recall and the mean number of listed tracks as text."""
    group_of = {track.name: track.group for track in tracks}
    hits: dict[str, list[tuple[bool, str]]] = {"precision": [], "recall": []}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        labelled, planted = plant(tracks, seed)
        found = find(labelled, x)
        hits["precision"] += [(track in planted, group_of[track]) for track in sorted(found)]
        hits["recall"] += [(track in found, group_of[track]) for track in sorted(planted)]
    return "  ".join([*map(share, hits.values()), f"{len(hits['precision']) / seeds:5.1f}"])


def share(hits: list[tuple[bool, str]]) -> str:
    if not hits:
        return f"{'-':<18}"
    values, clusters = map(np.array, zip(*hits, strict=True))
    low, high = bootstrap_interval(values, clusters=clusters)
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with tracks.csv, audio/ and logmel.npz")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--without-embeddings", action="store_true", help="the weights of musicnn are not installed")
    arguments = parser.parse_args()
    sources: dict[str, Callable[[], list[Track]]] = {"demo": read_demo}
    if arguments.data:
        sources["audio"] = lambda: read_tracks(arguments.data)
        sources["logmel.npz, train"] = lambda: read_spectrograms(arguments.data / "logmel.npz", "train")
    for name, read in sources.items():
        tracks = read()
        print(f"\n{name}: {len(tracks)} tracks, {arguments.seeds} seeds; precision, recall, listed tracks", flush=True)
        found = inputs(tracks, [] if arguments.without_embeddings else [WEIGHTS])
        for features, rows in found.items():
            if features not in FEATURES:
                continue
            x = np.stack([own.mean(axis=0) for own in rows]).astype(float)
            for rule, find in {"": listed, "confident learning": listed_by_confident_learning}.items():
                print(f"{features:<20}{rule:<20}{measure(tracks, x, find, arguments.seeds)}", flush=True)


if __name__ == "__main__":
    main()
