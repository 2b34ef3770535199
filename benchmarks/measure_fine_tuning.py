"""Does fine-tuning musicnn help? `python benchmarks/measure_fine_tuning.py RESULTS --data DIR`.

DIR has `tracks.csv` (track, genre, artist) and `audio/<genre>/<track>.flac`. A linear classifier is fitted as the
pipeline does it to values of the frozen, pruned MSD_musicnn. Then it is fitted on, together with layers of musicnn and
with a learning rate 10 to 100 times smaller. What is not fitted is computed once. Everything was decided before the
first result: layers, learning rates, epochs, and that the weights of the last epoch are kept. Batch normalisations stay
as they are, statistics, scale and offset: the layers beside them can learn scale and offset.

RESULTS gets a line of JSON per fit; fits that it has already are not repeated. Prints accuracies of tracks over
artist-disjoint folds, and the paired difference to the frozen network (with `both`, the default of the pipeline, and
with the values that the variant has), with 95 % intervals of a bootstrap over artists.
"""

# ruff: noqa: I001
import os

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare_embeddings import FOLDS, Track, read_spectrograms, read_tracks  # first: it sets numbers of threads
import keras
import numpy as np

from genreflow.embedding.checkpoint import CONVOLUTIONS, read_weights
from genreflow.embedding.compute import segment_hop
from genreflow.embedding.conversion import PATCH_SPEC, to_patches
from genreflow.embedding.musicnn import PATCH, build_musicnn
from genreflow.embedding.zero_filters import prune
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.evaluation.intervals import bootstrap_interval
from genreflow.models.build import build_model
from genreflow.params import load_params
from genreflow.splits.assign import assign_folds
from genreflow.training.embedding_set import EmbeddingSet
from genreflow.training.fit import fit, predict_logits
from genreflow.training.segment_set import SegmentSet

EPOCHS = 20  # of the classifier alone, before the fit with layers of musicnn
_MIDDLE = CONVOLUTIONS[5:]


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
    "penultimate, dense layer": Variant("penultimate", "interleave", ("dense",)),
    "both, middle layers": Variant("both", "front_end", _MIDDLE),
    "penultimate, middle and dense layers": Variant("penultimate", "front_end", (*_MIDDLE, "dense")),
    # Fewer, since an epoch takes ten times as long.
    "both, all layers": Variant("both", "patches", CONVOLUTIONS, (1e-4,), epochs=5),
}
FROZEN = {values: f"{values}, frozen" for values in ("both", "penultimate")}


class Data:
    """Tracks, their segments, and the values of the frozen network at each cut."""

    def __init__(self, tracks: list[Track], cuts: set[str]) -> None:
        self.tracks, self.genres = tracks, sorted({track.genre for track in tracks})
        self.labels = np.array([self.genres.index(track.genre) for track in tracks])
        hop = segment_hop(PATCH_SPEC, PATCH[0])
        found = SegmentSet([track.frames for track in tracks], self.labels, range(len(tracks)), PATCH[0], hop)
        self.track = found.track
        self.weights = prune(read_weights("MSD_musicnn"))
        network = cut_network(self.weights, "patches", [*cuts, *FROZEN])
        blocks = [slice(first, first + 100) for first in range(0, found.n_segments, 100)]
        parts = [network.predict_on_batch(to_patches(found.segments(block), PATCH_SPEC)) for block in blocks]
        self.cuts = {cut: np.concatenate([part[cut] for part in parts]) for cut in parts[0]}

    def of(self, cut: str, tracks: np.ndarray) -> EmbeddingSet:
        """The segments of some tracks, as rows of their values at a cut."""
        chosen = np.flatnonzero(np.isin(self.track, tracks))
        rows, number = self.cuts[cut][chosen].reshape(len(chosen), -1), np.searchsorted(tracks, self.track[chosen])
        return EmbeddingSet(rows, self.labels[self.track[chosen]], number)


def cut_network(weights: dict[str, np.ndarray], cut: str, outputs: list[str]) -> Any:
    """The part of musicnn from a cut to some of its values."""
    network = build_musicnn(weights)
    values = dict(network.output)
    values["both"] = keras.layers.Concatenate(name="both")([values["max"], values["mean"]])
    taken = {name: values[name] if name in values else network.get_layer(name).output for name in outputs}
    return keras.Model(network.get_layer(cut).output, taken)


def fit_classifier(data: Data, values: str, train: np.ndarray, seed: int) -> Any:
    """The pipeline's linear classifier of the values of the frozen network."""
    rows = data.of(values, train)
    options: dict[str, Any] = dict(zip(("mean", "variance"), rows.band_statistics(), strict=True))
    options |= {"columns": {values: (0, *rows.segment_shape)}, "values": values, "seed": seed}
    model = build_model("musicnn", input_shape=rows.segment_shape, classes=len(data.genres), **options)
    return run_fit(model, rows, seed, epochs=EPOCHS)


def fit_on(data: Data, variant: Variant, head: Any, train: np.ndarray, rate: float, seed: int) -> Any:
    """Fit the classifier, and layers of musicnn behind the cut, with a small learning rate."""
    model, rows = head, data.of(variant.cut, train)
    if variant.layers:
        network = cut_network(data.weights, variant.cut, [variant.values])
        # Batch normalisations keep their statistics since they are not trainable; training=False would not last here.
        for layer in network.layers:
            layer.trainable = layer.name in variant.layers
        flat, reshape = keras.Input(rows.segment_shape), keras.layers.Reshape(data.cuts[variant.cut].shape[1:])
        model = keras.Model(flat, head(network(reshape(flat))[variant.values]), name="musicnn")
    return run_fit(model, rows, seed, epochs=variant.epochs, learning_rate=rate)


def run_fit(model: Any, rows: EmbeddingSet, seed: int, **update: Any) -> Any:
    # It computes metrics of one segment after each epoch, which choose nothing: the last weights are kept.
    one = EmbeddingSet(rows.segments(slice(1)), rows.label[:1], np.zeros(1, int))
    fit(model, rows, one, load_params().train.model_copy(update={"seed": seed, **update}))
    return model


def genres_of_several_artists(tracks: list[Track]) -> set[str]:
    return {t.genre for t in tracks if len({other.group for other in tracks if other.genre == t.genre}) > 1}


def run(data: Data, arguments: argparse.Namespace) -> None:
    """Append a line for each fit that is missing."""
    arguments.results.touch()
    done = {tuple(json.loads(line)["key"]) for line in arguments.results.open(encoding="utf-8")}
    several, names = genres_of_several_artists(data.tracks), np.array([track.name for track in data.tracks])
    groups = [track.group if track.genre in several else track.name for track in data.tracks]
    for seed, fold in itertools.product(range(arguments.seeds), range(FOLDS)):
        folds = assign_folds(groups, [track.genre for track in data.tracks], folds=FOLDS, seed=seed)
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for values, frozen in FROZEN.items():
            chosen = [name for name in arguments.variants if VARIANTS[name].values == values]
            fits = [(frozen, 0.0), *((name, rate) for name in chosen for rate in VARIANTS[name].rates)]
            fits = [fit for fit in fits if (*fit, seed, fold) not in done]
            head = fit_classifier(data, values, train, seed) if fits else None
            for name, rate in fits:
                fitted, cut = head.get_weights(), VARIANTS[name].cut if rate else values
                model = fit_on(data, VARIANTS[name], head, train, rate, seed) if rate else head
                rows = data.of(cut, test)
                probabilities = track_probabilities(softmax(predict_logits(model, rows)), rows.track, rows.n_tracks)
                hits = (probabilities.argmax(axis=1) == rows.track_labels).tolist()
                correct = dict(zip(names[test].tolist(), hits, strict=True))
                head.set_weights(fitted)
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": (name, rate, seed, fold), "correct": correct}) + "\n")


def table(tracks: list[Track], results: Path, seeds: int) -> None:
    """Print accuracies and differences over the divisions into folds that are complete."""
    names = [track.name for track in tracks]
    found: dict[tuple[str, float], np.ndarray] = {}
    for row in map(json.loads, results.open(encoding="utf-8")):
        name, rate, seed, _ = row["key"]
        if seed < seeds:
            correct = found.setdefault((name, rate), np.full((seeds, len(tracks)), np.nan))
            correct[seed, [names.index(track) for track in row["correct"]]] = list(row["correct"].values())
    found = {key: correct for key, correct in found.items() if not np.isnan(correct).any(axis=1).all()}
    several = genres_of_several_artists(tracks)
    for title, genres in {"all genres": None, "genres of several artists": several}.items():
        kept = [i for i, track in enumerate(tracks) if genres is None or track.genre in genres]
        artists = np.array([tracks[i].group for i in kept])

        def interval(correct: np.ndarray, kept: list[int] = kept, artists: np.ndarray = artists) -> str:
            complete = correct[~np.isnan(correct).any(axis=1)][:, kept]
            low, high = bootstrap_interval(complete.mean(axis=0), clusters=artists)
            return f"{100 * complete.mean():5.1f} ({100 * low:.1f} to {100 * high:.1f}), {len(complete)} divisions"

        print(f"\n{title}: {len(kept)} tracks")
        for (name, rate), correct in sorted(found.items()):
            print(f"{name:38}{rate:<8g}{interval(correct)}")
            for values, frozen in FROZEN.items():
                if rate and (values == "both" or name.startswith(values)):
                    print(f"{'':8}less {frozen:33}{interval(correct - found[frozen, 0.0])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--spectrograms", metavar="PART", help="read a part of DIR/logmel.npz instead of the audio")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3, help="divisions into folds")
    arguments = parser.parse_args()
    part, path = arguments.spectrograms, arguments.data / "logmel.npz"
    tracks = read_spectrograms(path, part) if part else read_tracks(arguments.data)
    run(Data(tracks, {VARIANTS[name].cut for name in arguments.variants}), arguments)
    table(tracks, arguments.results, arguments.seeds)


if __name__ == "__main__":
    main()
