"""Does fine-tuning musicnn help? `python benchmarks/measure_fine_tuning.py RESULTS --data DIR`.

DIR has `tracks.csv` (track, genre, artist) and `audio/<genre>/<track>.flac`. A linear classifier is fitted as the
pipeline does it to values of the frozen, pruned MSD_musicnn. Then it is fitted on, together with layers of musicnn and
with a learning rate 10 to 100 times smaller. What is not fitted is computed once. Everything was decided before the
first result: layers, learning rates, epochs, and that the weights of the last epoch are kept. Batch normalisations keep
the statistics of the pretraining; where all layers are fitted, their scale and offset stay as well.

RESULTS gets a line of JSON per fit; fits that it has already are not repeated. Prints accuracies of tracks over
artist-disjoint folds, and the paired difference to the frozen network behind the same classifier (of `both`, which is
the pipeline's default, and of the values that the variant has), with 95 % intervals of a bootstrap over artists. With
`--published`, fits are made to the part `train` of DIR/logmel.npz, and evaluated on the part `valid`.
"""

# ruff: noqa: E402, I001
import os

for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare_embeddings import FOLDS, Track, read_spectrograms, read_tracks  # first: it sets numbers of threads
import numpy as np

from genreflow.embedding.checkpoint import CONVOLUTIONS, batch_norm_name, read_weights
from genreflow.embedding.compute import segment_hop
from genreflow.embedding.conversion import PATCH_SPEC, to_patches
from genreflow.embedding.musicnn import PATCH
from genreflow.embedding.zero_filters import prune
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.models.build import build_model
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.splits.assign import assign_folds
from genreflow.training.embedding_set import EmbeddingSet
from genreflow.training.segment_set import SegmentSet

# Of the classifier alone, before the fit with layers of musicnn.
EPOCHS = 20
_DENSE = ("dense", batch_norm_name(9), batch_norm_name(10))
_MIDDLE = tuple(name for i, own in enumerate(CONVOLUTIONS[5:], 6) for name in (own, batch_norm_name(i)))


@dataclass(frozen=True)
class Variant:
    """What is fitted together with the classifier."""

    values: str  # that the classifier takes
    cut: str  # layer of musicnn whose values are computed once
    layers: tuple[str, ...]  # that are fitted
    rates: tuple[float, ...] = (3e-4, 3e-5)
    epochs: int = 10


# With no layers, the classifier is fitted on alone: what more updates give.
VARIANTS = {
    "both, none": Variant("both", "both", ()),
    "penultimate, none": Variant("penultimate", "penultimate", ()),
    "penultimate, dense layer": Variant("penultimate", "interleave", _DENSE),
    "both, middle layers": Variant("both", "front_end", _MIDDLE),
    "penultimate, middle and dense layers": Variant("penultimate", "front_end", (*_MIDDLE, *_DENSE)),
    # Fewer, since an epoch takes ten times as long.
    "both, all layers": Variant("both", "patches", CONVOLUTIONS, (1e-4,), epochs=5),
}
FROZEN = {values: f"{values}, frozen" for values in ("both", "penultimate")}


class Data:
    """Tracks, their segments, and the values of the frozen network at each cut."""

    def __init__(self, tracks: list[Track]) -> None:
        self.tracks, self.genres = tracks, sorted({track.genre for track in tracks})
        self.labels = np.array([self.genres.index(track.genre) for track in tracks])
        hop = segment_hop(PATCH_SPEC, PATCH[0])
        found = SegmentSet([track.frames for track in tracks], self.labels, range(len(tracks)), PATCH[0], hop)
        self.track = found.track
        self.weights = prune(read_weights("MSD_musicnn"))
        network = cut_network(self.weights, "patches", [variant.cut for variant in VARIANTS.values()])
        blocks = [slice(first, first + 100) for first in range(0, found.n_segments, 100)]
        parts = [network.predict_on_batch(to_patches(found.segments(block), PATCH_SPEC)) for block in blocks]
        self.cuts = {cut: np.concatenate([part[cut] for part in parts]) for cut in parts[0]}

    def of(self, cut: str, tracks: np.ndarray) -> EmbeddingSet:
        """The segments of some tracks, as rows of their values at a cut."""
        chosen = np.flatnonzero(np.isin(self.track, tracks))
        number = np.full(len(self.tracks), -1)
        number[tracks] = np.arange(len(tracks))
        rows = self.cuts[cut][chosen].reshape(len(chosen), -1)
        return EmbeddingSet(rows, self.labels[self.track[chosen]], number[self.track[chosen]])


def cut_network(weights: dict[str, np.ndarray], cut: str, outputs: list[str]) -> Any:
    """The part of musicnn from a cut to some of its values."""
    import keras

    from genreflow.embedding.musicnn import build_musicnn

    network = build_musicnn(weights)
    values = dict(network.output)
    values["both"] = keras.layers.Concatenate(name="both")([values["max"], values["mean"]])
    taken = {name: values[name] if name in values else network.get_layer(name).output for name in outputs}
    return keras.Model(network.get_layer(cut).output, taken)


def fit_classifier(data: Data, values: str, train: np.ndarray, seed: int) -> Any:
    """The pipeline's linear classifier of the values of the frozen network."""
    rows = data.of(values, train)
    mean, variance = rows.band_statistics()
    shape = rows.segment_shape
    options: dict[str, Any] = {"columns": {values: (0, *shape)}, "values": values, "mean": mean, "variance": variance}
    model = build_model("musicnn", input_shape=shape, classes=len(data.genres), seed=seed, **options)
    return run_fit(model, rows, seed, epochs=EPOCHS)


def fit_on(data: Data, variant: Variant, head: Any, train: np.ndarray, rate: float, seed: int) -> Any:
    """Fit the classifier, and layers of musicnn behind the cut, with a small learning rate."""
    import keras

    model, rows = head, data.of(variant.cut, train)
    if variant.layers:
        network = cut_network(data.weights, variant.cut, [variant.values])
        for layer in network.layers:
            layer.trainable = layer.name in variant.layers
        flat = keras.Input(rows.segment_shape)
        image = keras.layers.Reshape(data.cuts[variant.cut].shape[1:])(flat)
        # Not in training mode: batch normalisations keep their statistics.
        model = keras.Model(flat, head(network(image, training=False)[variant.values]), name="musicnn")
        before, some = head.predict_on_batch(data.of(variant.values, train[:1]).segments(slice(8))), slice(8)
        np.testing.assert_allclose(model.predict_on_batch(rows.segments(some)), before, rtol=0, atol=1e-3)
    return run_fit(model, rows, seed, epochs=variant.epochs, learning_rate=rate)


def run_fit(model: Any, rows: EmbeddingSet, seed: int, **update: Any) -> Any:
    from genreflow.training.fit import fit

    # It computes metrics of one segment after each epoch, which choose nothing: the last weights are kept.
    one = EmbeddingSet(rows.segments(slice(1)), rows.label[:1], np.zeros(1, int))
    fit(model, rows, one, load_params().train.model_copy(update={"seed": seed, **update}))
    return model


def hits(model: Any, data: Data, cut: str, test: np.ndarray) -> list[bool]:
    from genreflow.training.fit import predict_logits

    rows = data.of(cut, test)
    probabilities = track_probabilities(softmax(predict_logits(model, rows)), rows.track, rows.n_tracks)
    return (probabilities.argmax(axis=1) == rows.track_labels).tolist()


def divisions(data: Data, published: int, seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, training and test tracks of each fold; of the first `published` tracks and the others if it is not 0."""
    if published:
        yield 0, np.arange(published), np.arange(published, len(data.tracks))
        return
    single = {genre for genre in data.genres if len({t.group for t in data.tracks if t.genre == genre}) == 1}
    groups = [track.name if track.genre in single else track.group for track in data.tracks]
    folds = assign_folds(groups, [track.genre for track in data.tracks], folds=FOLDS, seed=seed)
    for fold in range(FOLDS):
        yield fold, np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


def run(data: Data, published: int, arguments: argparse.Namespace) -> None:
    """Append a line for each fit that is missing."""
    done = {tuple(row["key"]) for row in read_rows(arguments.results)}

    def record(key: tuple, test: np.ndarray, model: Any, cut: str, begin: float) -> None:
        correct = {data.tracks[i].name: hit for i, hit in zip(test, hits(model, data, cut, test), strict=True)}
        row = {"key": key, "seconds": time.perf_counter() - begin, "correct": correct}
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    for seed in range(arguments.seeds):
        for fold, train, test in divisions(data, published, seed):
            for values, frozen in FROZEN.items():
                variants = [(name, VARIANTS[name]) for name in arguments.variants if VARIANTS[name].values == values]
                keys = {(name, rate, seed, fold): row for name, row in variants for rate in row.rates}
                missing = {key: row for key, row in keys.items() if key not in done}
                if not missing and (frozen, 0.0, seed, fold) in done:
                    continue
                begin = time.perf_counter()
                head = fit_classifier(data, values, train, seed)
                fitted = head.get_weights()
                if (frozen, 0.0, seed, fold) not in done:
                    record((frozen, 0.0, seed, fold), test, head, values, begin)
                for key, row in missing.items():
                    head.set_weights(fitted)
                    begin = time.perf_counter()
                    model = fit_on(data, row, head, train, key[1], seed)
                    record(key, test, model, row.cut, begin)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []


def table(tracks: list[Track], path: Path) -> None:
    """Print accuracies and differences of what has been fitted, over the seeds of which every track was tested."""
    found: dict[tuple[str, float], dict[int, dict[str, bool]]] = {}
    for row in read_rows(path):
        name, rate, seed, _ = row["key"]
        found.setdefault((name, rate), {}).setdefault(seed, {}).update(row["correct"])
    tested = {name for by_seed in found.values() for correct in by_seed.values() for name in correct}
    tracks = [track for track in tracks if track.name in tested]
    artists = {track.genre: {t.group for t in tracks if t.genre == track.genre} for track in tracks}
    protocols = {
        "all tracks": tracks,
        "tracks of genres of several artists": [track for track in tracks if len(artists[track.genre]) > 1],
    }
    for title, kept in protocols.items():
        print(f"\n{title}: {len(kept)}")
        groups = np.array([track.group for track in kept])

        def accuracies(key: tuple[str, float], kept: list[Track] = kept) -> dict[int, np.ndarray]:
            complete = {seed: row for seed, row in found[key].items() if len(row) == len(tracks)}
            return {seed: np.array([row[t.name] for t in kept], float) for seed, row in complete.items()}

        def interval(values: np.ndarray, sign: str, groups: np.ndarray = groups) -> str:
            low, high = bootstrap_interval(values, clusters=groups)
            return f"{100 * values.mean():{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"

        for name, rate in sorted(found, key=str):
            own = accuracies((name, rate))
            if not own:
                continue
            seconds = np.mean([row["seconds"] for row in read_rows(path) if row["key"][:2] == [name, rate]])
            text = f"{name:38}{rate:<8g}{len(own)} seeds {interval(np.mean(list(own.values()), axis=0), '')}"
            for values, frozen in FROZEN.items():
                reference = accuracies((frozen, 0.0))
                common = sorted(own.keys() & reference.keys())
                if common and (values == "both" or name.startswith(values)):
                    difference = np.mean([own[seed] - reference[seed] for seed in common], axis=0)
                    text += f"; to {frozen} {interval(difference, '+')}"
            print(f"{text}; {seconds:.0f} s a fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3, help="divisions into folds, or fits with --published")
    parser.add_argument("--published", action="store_true")
    arguments = parser.parse_args()
    published = 0
    if arguments.published:
        train, valid = (read_spectrograms(arguments.data / "logmel.npz", part) for part in ("train", "valid"))
        tracks, published = train + valid, len(train)
    else:
        tracks = read_tracks(arguments.data)
    import_keras()
    run(Data(tracks), published, arguments)
    table(tracks, arguments.results)


if __name__ == "__main__":
    main()
