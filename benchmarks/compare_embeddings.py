"""Accuracy of shallow classifiers on musicnn's values: `python benchmarks/compare_embeddings.py --data DIR`.

DIR has `tracks.csv` (track, genre, artist) and `audio/<genre>/<track>.flac`. Prints a row per classifier and input:
accuracy over artist-disjoint folds, with the 95 % interval of a bootstrap over artists. Classifiers are fitted on
segments; a track's prediction is that of its mean score.

With `--unfamiliar` it also prints how well the distance to prototypes of the training tracks separates held-out tracks
of known genres from each genre when it is left out of the training, from the demo music, and from sounds that are no
music (areas under the ROC curve; the first number is the mean over the genres).
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import scipy.ndimage
import soxr
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from genreflow.audio.decode import load
from genreflow.datasets.demo.artists import artists_of
from genreflow.datasets.demo.genres import GENRES
from genreflow.datasets.demo.record import SAMPLE_RATE
from genreflow.datasets.demo.record import track as compose_track
from genreflow.datasets.demo.settings import Settings
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.embedding.checkpoint import CHECKPOINTS, read_weights
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.musicnn import PATCH
from genreflow.embedding.zero_filters import prune
from genreflow.evaluation.familiarity import fit_prototypes, unfamiliarity
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.features.logmel import LogMel
from genreflow.features.segments import segment_starts
from genreflow.splits.assign import assign_folds

FOLDS = 5
# Level of the loudest bin, assumed of spectrograms that lost it: about the median over GTZAN's clips.
LOUDEST_DB = 20.0
# Range of the published spectrograms [dB].
SPECTROGRAM_DB = 80.0
HEADS: dict[str, Callable[[], ClassifierMixin]] = {
    "logistic regression": lambda: LogisticRegression(C=0.01, max_iter=1000),
    "SVM": lambda: SVC(C=10, probability=False, decision_function_shape="ovr"),
    "MLP": lambda: MLPClassifier((100,), alpha=1.0, max_iter=60, random_state=0),
}


@dataclass
class Track:
    name: str
    genre: str
    group: str
    frames: np.ndarray


def read_tracks(folder: Path) -> list[Track]:
    """Tracks with their frames; tracks without an artist are groups of their own."""
    logmel = LogMel(PATCH_SPEC, make_filter_bank(PATCH_SPEC))
    with (folder / "tracks.csv").open(encoding="utf-8") as file:
        rows = {row["track"]: row for row in csv.DictReader(file)}
    tracks = []
    for path in sorted((folder / "audio").glob("*/*.flac")):
        y, _ = load(path, sample_rate=PATCH_SPEC.sample_rate)
        row = rows[path.stem]
        tracks.append(Track(path.stem, row["genre"], row["artist"] or path.stem, logmel.clip(y)))
    return tracks


def read_spectrograms(path: Path, part: str) -> list[Track]:
    """Tracks of a part of published spectrograms, whose frames are interpolated: their level and detail are lost.

    They have 12.9 frames a second of 128 bands up to 11,025 Hz, relative to the loudest bin.
    """
    with path.with_name("tracks.csv").open(encoding="utf-8") as file:
        rows = {row["track"]: row for row in csv.DictReader(file)}
    arrays = np.load(path)
    full_scale = LogMel(PATCH_SPEC, make_filter_bank(PATCH_SPEC)).full_scale_db
    centres = [librosa.mel_frequencies(n + 2, fmin=0, fmax=fmax)[1:-1] for n, fmax in ((128, 11025), (96, 8000))]
    bands = np.interp(librosa.hz_to_mel(centres[1]), librosa.hz_to_mel(centres[0]), np.arange(128))
    tracks = []
    for name, spectrogram in zip(arrays["track"].tolist(), arrays["spectrogram"], strict=True):
        row = rows[name]
        if row["split"] != part:
            continue
        columns = np.interp(np.arange(10 * PATCH[0]) / 62.5, np.arange(387) / 12.9, np.arange(387))
        levels = scipy.ndimage.map_coordinates(
            spectrogram.T.astype(float), np.meshgrid(columns, bands, indexing="ij"), order=1
        )
        decibels = (levels / 255 - 1) * SPECTROGRAM_DB + LOUDEST_DB
        frames = np.clip(255 * (1 + (decibels - full_scale) / PATCH_SPEC.top_db), 0, 255).round().astype(np.uint8)
        tracks.append(Track(name, row["genre"], row["artist"] or name, frames))
    return tracks


def segments_of(frames: np.ndarray) -> np.ndarray:
    starts = segment_starts(len(frames) // PATCH[0] * PATCH[0], *[PATCH[0]] * 2)
    return np.stack([frames[start : start + PATCH[0]] for start in starts]) / np.float32(255)


def summary(frames: np.ndarray) -> np.ndarray:
    levels = frames / 255
    return np.concatenate([levels.mean(0), levels.std(0), np.abs(np.diff(levels, axis=0)).mean(0)])[None]


def inputs(tracks: list[Track], names: list[str]) -> dict[str, list[np.ndarray]]:
    """For each input of a classifier the rows of each track [shape=(n_segments, size)]."""
    found: dict[str, list[np.ndarray]] = {"summary statistics": [summary(track.frames) for track in tracks]}
    by_track = [segments_of(track.frames) for track in tracks]
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            path = write(Path(temporary) / f"{name}.onnx", name)
            name = name.removesuffix("_musicnn")
            embedder = Embedder(path)
            embeddings = [embedder.embed(rows) for rows in by_track]
            for values, (first, last) in embedder.columns.items():
                found[f"{name} {values}"] = [rows[:, first:last] for rows in embeddings]
    for values in ("penultimate", "max", "mean", "both") if len(names) == 2 else ():
        pairs = zip(found[f"MSD {values}"], found[f"MTT {values}"], strict=True)
        found[f"MSD + MTT {values}"] = [np.concatenate(pair, axis=1) for pair in pairs]
    return found


def write(path: Path, name: str) -> Path:
    from genreflow.models.keras_import import import_keras

    import_keras()
    from genreflow.export.export_embedder import export_embedder

    export_embedder(path, prune(read_weights(name)), name=name, spec=PATCH_SPEC)
    return path


def scores(classifier: ClassifierMixin, rows: list[np.ndarray]) -> np.ndarray:
    """Mean score of each class for each track."""
    score = getattr(classifier, "predict_proba", None) or classifier.decision_function
    return np.stack([score(track_rows).mean(axis=0) for track_rows in rows])


def correct(rows: list[np.ndarray], genres: np.ndarray, groups: list[str], head: str, seeds: int) -> np.ndarray:
    """How often each track was correctly classified, over several divisions into folds."""
    hits = np.zeros(len(genres))
    for seed in range(seeds):
        folds = assign_folds(groups, genres.tolist(), folds=FOLDS, seed=seed)
        for fold in range(FOLDS):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            x = np.concatenate([rows[i] for i in train])
            y = np.concatenate([[genres[i]] * len(rows[i]) for i in train])
            classifier = make_pipeline(StandardScaler(), HEADS[head]())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the MLP stops early on purpose
                classifier.fit(x, y)
            predicted = classifier[-1].classes_[scores(classifier, [rows[i] for i in test]).argmax(axis=1)]
            hits[test] += predicted == genres[test]
    return hits / seeds


def table(tracks: list[Track], found: dict[str, list[np.ndarray]], seeds: int) -> None:
    genres = np.array([track.genre for track in tracks])
    artists = {genre: {track.group for track in tracks if track.genre == genre} for genre in set(genres)}
    several = sorted(genre for genre, names in artists.items() if len(names) > 1)
    kept = np.flatnonzero(np.isin(genres, several))
    # A genre with one artist cannot be learnt from others: its tracks are divided, and that leaks.
    groups = [track.group if track.genre in several else track.name for track in tracks]
    protocols = {
        f"{len(several)} genres, artist-disjoint, {len(kept)} tracks": kept,
    }
    if len(kept) < len(tracks):
        of_one = f"{len(artists) - len(several)} genres of one artist each"
        protocols[f"{len(artists)} genres, {len(tracks)} tracks, {of_one}"] = np.arange(len(tracks))
    for title, chosen in protocols.items():
        print(f"\n{title}; {seeds} divisions into {FOLDS} folds")
        commonest = max(np.mean(genres[chosen] == genre) for genre in several)
        print(f"{'majority class':<26}{'':<22}{100 * commonest:5.1f}")
        for name, rows in found.items():
            for head in ("SVM",) if name == "summary statistics" else HEADS:
                hits = correct([rows[i] for i in chosen], genres[chosen], [groups[i] for i in chosen], head, seeds)
                low, high = bootstrap_interval(hits, clusters=np.array([tracks[i].group for i in chosen]))
                row = f"{100 * hits.mean():5.1f} ({100 * low:.1f} to {100 * high:.1f})"
                print(f"{name:<26}{head:<22}{row}", flush=True)


def strange_sounds() -> list[Track]:
    """Frames of the demo music, and of noise, hum, clicks and sweeps."""
    rate, seconds = PATCH_SPEC.sample_rate, 10
    logmel = LogMel(PATCH_SPEC, make_filter_bank(PATCH_SPEC))
    rng, t = np.random.default_rng(0), np.arange(seconds * rate) / rate
    settings = Settings(seconds=float(seconds))
    demo = [
        soxr.resample(compose_track(artist, 1, settings), SAMPLE_RATE, rate)
        for genre in GENRES.values()
        for artist in artists_of(genre, settings)[:2]
    ]
    other = []
    for level in (0.01, 0.03, 0.1, 0.3):
        brown = np.cumsum(rng.standard_normal(t.size))
        other += [
            level * rng.standard_normal(t.size),
            level * (brown - brown.mean()) / np.abs(brown).max(),
            level * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 9)),
            level * (rng.random(t.size) < 3 / rate),
            level * np.sin(2 * np.pi * np.cumsum(np.geomspace(50, 7000, t.size)) / rate),
        ]
    sounds = {"demo music": demo, "no music": other}
    return [Track("", name, "", logmel.clip(y.astype(np.float32))) for name, clips in sounds.items() for y in clips]


def unfamiliar(tracks: list[Track], strange: list[Track], found: dict[str, list[np.ndarray]], seeds: int) -> None:
    print("\nunfamiliar music: mean over the genres left out, and of each")
    genres = np.array([track.genre for track in tracks])
    single = {genre for genre in genres if len({track.group for track in tracks if track.genre == genre}) == 1}
    groups = np.array([track.name if track.genre in single else track.group for track in tracks])
    kinds = np.array([track.genre for track in tracks + strange])
    for name, rows in found.items():
        x = np.stack([own.mean(axis=0) for own in rows])
        areas = {left_out: left_out_area(x, kinds, genres, groups, left_out, seeds) for left_out in sorted(set(kinds))}
        mean = np.mean([areas[genre] for genre in set(genres)])
        print(f"{name:<26}{mean:6.3f}  " + "  ".join(f"{kind} {area:.2f}" for kind, area in areas.items()), flush=True)


def left_out_area(
    x: np.ndarray, kinds: np.ndarray, genres: np.ndarray, groups: np.ndarray, left_out: str, seeds: int
) -> float:
    known, unknown = np.flatnonzero(genres != left_out), np.flatnonzero(kinds == left_out)
    areas = []
    for seed in range(seeds):
        folds = assign_folds(groups[known].tolist(), genres[known].tolist(), folds=FOLDS, seed=seed)
        for fold in range(FOLDS):
            train, test = known[folds != fold], known[folds == fold]
            prototypes = fit_prototypes(x[train], genres[train])
            distances = unfamiliarity(np.concatenate([x[test], x[unknown]]), prototypes)
            areas.append(roc_auc_score([False] * len(test) + [True] * len(unknown), distances))
    return float(np.mean(areas))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spectrograms", metavar="PART", help="read a part of DIR/logmel.npz instead of the audio")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--weights", nargs="+", choices=CHECKPOINTS, default=list(CHECKPOINTS))
    parser.add_argument("--unfamiliar", action="store_true")
    arguments = parser.parse_args()
    if arguments.spectrograms:
        tracks = read_spectrograms(arguments.data / "logmel.npz", arguments.spectrograms)
    else:
        tracks = read_tracks(arguments.data)
    strange = strange_sounds() if arguments.unfamiliar else []
    found = inputs(tracks + strange, arguments.weights)
    table(tracks, found, arguments.seeds)
    if strange:
        unfamiliar(tracks, strange, found, arguments.seeds)


if __name__ == "__main__":
    main()
