"""Small networks and statistics, fitted from scratch: `python benchmarks/measure_from_scratch.py RESULTS --data DIR`.

DIR has `logmel.npz` (spectrogram, track, genre) and `tracks.csv` (track, artist, split). Networks are fitted to the
tracks of the part `train` with the weights of the last epoch kept, and evaluated once on those of `valid`, whose
artists are others; nothing is chosen on `valid`. The same fit also gives two averages of weights: an exponential moving
one over the updates, and the mean of the last third of the epochs.

- `efficient`: as it is in the registry, with its own options;
- `statistics`: mean, deviation and mean absolute difference of each band over time, and dense layers;
- `fused`: the values before the last layer of `efficient` beside these statistics;
- an SVM on summary statistics of whole tracks, and the majority class.

RESULTS gets a line of JSON per fit; fits that it has already are not repeated. Prints accuracies of tracks: mean over
seeds, their standard deviation, and the 95 % interval of a bootstrap over artists of the mean over seeds.
"""

# ruff: noqa: E402
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genreflow.baselines.classifiers import support_vector_machine
from genreflow.baselines.summary_statistics import summary_statistics
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.models import MODELS, build_model
from genreflow.models.architecture import Architecture
from genreflow.models.dimensions import Float
from genreflow.models.efficient import FILTER_BANDS, OPTIONS, extract_features
from genreflow.models.keras_import import import_keras
from genreflow.params import load_params
from genreflow.training.segment_set import SegmentSet

# 30 s in 387 columns.
LENGTH, HOP = 52, 26
# Of the moving average, per update.
MOMENTUM = 0.998


@dataclass
class Part:
    data: SegmentSet
    artists: np.ndarray


def read_part(folder: Path, part: str) -> tuple[Part, list[str]]:
    with (folder / "tracks.csv").open(encoding="utf-8") as file:
        rows = {row["track"]: row for row in csv.DictReader(file)}
    arrays = np.load(folder / "logmel.npz")
    genres = sorted(set(arrays["genre"].tolist()))
    chosen = [i for i, name in enumerate(arrays["track"].tolist()) if rows[name]["split"] == part]
    names = arrays["track"][chosen].tolist()
    spectrograms = arrays["spectrogram"]
    pieces = [np.ascontiguousarray(spectrograms[i].T) for i in chosen]
    labels = [genres.index(arrays["genre"][i]) for i in chosen]
    data = SegmentSet(pieces, labels, np.arange(len(chosen)), LENGTH, HOP)
    return Part(data, np.array([rows[name]["artist"] or name for name in names])), genres


def statistics(image: Any) -> Any:
    """Mean, deviation and mean absolute difference over time of each band, standardised over a batch."""
    from keras import layers, ops

    x = image[..., 0]
    mean = ops.mean(x, axis=1)
    deviation = ops.sqrt(ops.relu(ops.mean(x * x, axis=1) - mean * mean) + 1e-4)
    change = ops.mean(ops.abs(x[:, 1:] - x[:, :-1]), axis=1)
    return layers.BatchNormalization(momentum=0.9)(layers.Concatenate()([mean, deviation, change]))


def build_statistics(image: Any, *, classes: int) -> Any:
    from keras import layers

    x = layers.Dropout(0.3)(layers.Dense(128, activation="relu")(statistics(image)))
    return layers.Dense(classes, name="logits")(x)


def build_fused(image: Any, *, classes: int) -> Any:
    from keras import layers

    own = extract_features(image, bands=FILTER_BANDS, width=16, hidden=128)
    x = layers.Concatenate()([own, layers.Dense(128, activation="relu")(statistics(image))])
    return layers.Dense(classes, name="logits")(layers.Dropout(0.3)(x))


def register() -> None:
    """Add the two networks to the registry of this process."""
    for name, build, rate in (("statistics", build_statistics, 3e-3), ("fused", build_fused, 1e-2)):
        learning_rate = Float(low=1e-3, high=3e-2, default=rate, log=True)
        MODELS[name] = Architecture(
            name=name, build=build, origin="", reported="", learning_rate=learning_rate, optimiser="adamw"
        )


def make_averages(epochs: int) -> Any:
    """A callback that keeps two averages of the weights and of the statistics of batch normalisation."""
    import keras

    class Averages(keras.callbacks.Callback):
        moving: list[np.ndarray]
        last: list[list[np.ndarray]]

        def on_train_begin(self, logs: Any = None) -> None:
            self.moving, self.last, self.updates = [], [], 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.updates += 1
            weights = self.model.get_weights()
            # The first updates count for less, so that the initial weights are soon forgotten.
            share = max(1 - MOMENTUM, 1 / self.updates)
            self.moving = [a + share * (b - a) for a, b in zip(self.moving or weights, weights, strict=True)]

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch >= epochs - max(1, epochs // 3):
                self.last.append(self.model.get_weights())

    return Averages()


def fit_network(name: str, train: Part, valid: Part, classes: int, epochs: int, seed: int) -> dict[str, list[bool]]:
    """Whether each validation track is correctly classified, for each kind of weights."""
    import keras

    from genreflow.training.fit import fit, predict_logits

    keras.utils.clear_session()
    mean, variance = train.data.band_statistics()
    shape = (LENGTH, train.data.n_mels)
    model = build_model(name, input_shape=shape, classes=classes, mean=mean, variance=variance, seed=seed)
    options = load_params().train.model_copy(update={**OPTIONS, "epochs": epochs, "seed": seed})
    averages = make_averages(epochs)
    # The fit computes metrics of one training track after each epoch, not of the validation part.
    some = SegmentSet(train.data.pieces[:1], [0], [0], LENGTH, HOP)
    fit(model, train.data, some, options, callbacks=[averages])
    means = [np.mean(weights, axis=0) for weights in zip(*averages.last, strict=True)]
    found = {}
    for kind, weights in {"last": model.get_weights(), "moving average": averages.moving, "mean": means}.items():
        model.set_weights(weights)
        probabilities = softmax(predict_logits(model, valid.data))
        predicted = track_probabilities(probabilities, valid.data.track, valid.data.n_tracks).argmax(axis=1)
        found[kind] = (predicted == valid.data.track_labels).tolist()
    return found


def run(train: Part, valid: Part, classes: int, arguments: argparse.Namespace) -> None:
    """Append a line for each fit that is missing."""
    done = {tuple(row["key"]) for row in read_rows(arguments.results)}
    for seed in range(1, 1 + arguments.seeds):
        for name in arguments.networks:
            key = (name, arguments.epochs, seed)
            if key in done:
                continue
            begin = time.perf_counter()
            correct = fit_network(name, train, valid, classes, arguments.epochs, seed)
            row = {"key": key, "seconds": time.perf_counter() - begin, "correct": correct}
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []


def table(train: Part, valid: Part, path: Path) -> None:
    def line(name: str, correct: list[list[bool]], seconds: float) -> None:
        hits = np.array(correct, float)
        low, high = bootstrap_interval(hits.mean(axis=0), clusters=valid.artists)
        by_seed = 100 * hits.mean(axis=1)
        deviation = f"{by_seed.std(ddof=1):.1f}" if len(by_seed) > 1 else "-"
        print(
            f"{name:40}{len(by_seed):3} seeds {by_seed.mean():5.1f}, deviation {deviation}, "
            f"interval {100 * low:.1f} to {100 * high:.1f}; {seconds:.0f} s a fit"
        )

    labels, truth = train.data.track_labels, valid.data.track_labels
    line("majority class", [(truth == np.bincount(labels).argmax()).tolist()], 0)
    svm = support_vector_machine(10.0).fit(summary_statistics(train.data), labels)
    line("SVM on summary statistics", [(svm.predict(summary_statistics(valid.data)) == truth).tolist()], 0)
    found: dict[tuple[str, int, str], list[list[bool]]] = {}
    rows = read_rows(path)
    for row in rows:
        name, epochs, _ = row["key"]
        for kind, correct in row["correct"].items():
            found.setdefault((name, epochs, kind), []).append(correct)
    for (name, epochs, kind), correct in found.items():
        seconds = np.mean([row["seconds"] for row in rows if row["key"][:2] == [name, epochs]])
        line(f"{name}, {epochs} epochs, {kind}", correct, float(seconds))
    print(f"valid was looked at {2 + sum(map(len, found.values()))} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--networks", nargs="*", default=["statistics", "efficient", "fused"])
    parser.add_argument("--epochs", type=int, default=OPTIONS["epochs"])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    train, genres = read_part(arguments.data, "train")
    valid, _ = read_part(arguments.data, "valid")
    if arguments.networks:
        import_keras()
        register()
        run(train, valid, len(genres), arguments)
    table(train, valid, arguments.results)


if __name__ == "__main__":
    main()
