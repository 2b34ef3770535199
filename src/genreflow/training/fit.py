"""Fit a model to training segments and keep the weights that classify validation tracks best."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.training.batches import SegmentSet, training_batch
from genreflow.training.options import FitOptions

OnEpoch = Callable[[int, Mapping[str, float]], None]

OPTIMISERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate, **kw: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **kw),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
}
# Share of all updates over which the cosine schedule first rises.
WARM_UP = 0.05
# Segments a call when nothing is learnt: large enough that the call costs nothing, small enough for the caches.
EVALUATION_BATCH = 128


@dataclass(frozen=True)
class FitResult:
    """What a fit did; the model holds the weights of `best_epoch`.

    Parameters
    ----------
    history : dict of str to list of float [shape=(epochs,)]
        ``loss``, ``accuracy`` (on augmented training segments), ``val_loss``, ``val_accuracy`` (by segment),
        ``val_track_accuracy`` (probabilities averaged over a track's segments), ``lr``, ``seconds``.
    best_epoch : int
        Epoch of the best ``val_track_accuracy``, counted from 0; among equals, the lowest ``val_loss``.
    epochs : int
        Epochs run.
    """

    history: dict[str, list[float]]
    best_epoch: int
    epochs: int

    @property
    def best(self) -> dict[str, float]:
        """The metrics of the best epoch."""
        return {name: values[self.best_epoch] for name, values in self.history.items()}


def fit(
    model: keras.Model,
    train: SegmentSet,
    valid: SegmentSet,
    options: FitOptions,
    *,
    on_epoch: OnEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 0,
) -> FitResult:
    """Fit `model`, in place.

    Parameters
    ----------
    model : keras.Model
        From `genreflow.models.build_model`, with a `seed` there if the same fit is to come again.
    train, valid : SegmentSet
    options : FitOptions
        Learning rate and optimiser may be open for the models of the registry.
    on_epoch : callable, optional
        ``on_epoch(epoch, metrics)`` after every epoch, with the metrics of `FitResult`. What it raises ends the fit and
        reaches the caller; that is how a trial is pruned.
    callbacks : sequence of keras.callbacks.Callback
        They see the validation metrics in ``logs`` too.
    verbose : {0, 1, 2}
        As ``keras.Model.fit`` takes it.

    Returns
    -------
    FitResult

    Raises
    ------
    ParameterError
        Learning rate or optimiser is open and the model is not in the registry.
    """
    options = options.resolved(model.name)
    if options.learning_rate is None or options.optimiser is None:
        raise ParameterError(f"{model.name} is in no registry: train.learning_rate and train.optimiser must be given.")
    keras.utils.set_random_seed(options.seed)
    batches = _Batches(train, options, classes=model.output_shape[-1])
    model.compile(
        optimizer=_optimiser(model, options, updates=options.epochs * len(batches)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA makes small nets slower on a CPU; JAX knows nothing else.
        jit_compile=keras.backend.backend() == "jax",
    )
    watch = _Validation(valid, patience=options.patience, on_epoch=on_epoch)
    try:
        model.fit(batches, epochs=options.epochs, verbose=verbose, callbacks=[watch, *callbacks])
    finally:
        watch.restore(model)
    return FitResult(watch.history, watch.best_epoch, len(watch.history["loss"]))


def logits(model: keras.Model, data: SegmentSet) -> np.ndarray:
    """Logits of all segments, in their order.

    Returns
    -------
    np.ndarray [shape=(n_segments, classes), dtype=float32]
    """
    blocks = range(0, data.n_segments, EVALUATION_BATCH)
    # predict_on_batch: the same compiled function as predict, without its set-up of a data set and callbacks.
    return np.concatenate(
        [model.predict_on_batch(data.segments(slice(first, first + EVALUATION_BATCH))) for first in blocks]
    )


def evaluate(model: keras.Model, data: SegmentSet) -> dict[str, float]:
    """``loss`` (cross-entropy, nats), ``accuracy`` by segment and ``track_accuracy`` of a model."""
    probabilities = softmax(logits(model, data))
    by_track = track_probabilities(probabilities, data.track, data.n_tracks)
    right = probabilities[np.arange(data.n_segments), data.label]
    return {
        "loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == data.label).mean()),
        "track_accuracy": float((by_track.argmax(axis=1) == data.track_labels).mean()),
    }


def _optimiser(model: keras.Model, options: FitOptions, *, updates: int) -> keras.optimizers.Optimizer:
    rate = options.learning_rate
    if options.schedule == "cosine":
        warm_up = round(WARM_UP * updates)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, updates - warm_up, warmup_target=rate, warmup_steps=warm_up
        )
    elif options.schedule == "step":
        thirds = [max(1, updates // 3), max(2, 2 * updates // 3)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(thirds, [rate, rate / 10, rate / 100])
    optimiser = OPTIMISERS[options.optimiser](rate, weight_decay=options.weight_decay)
    # Decay keeps kernels small; biases and the scales of batch normalisation are no part of that.
    optimiser.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimiser


class _Batches(keras.utils.PyDataset):
    """Training batches of one epoch after the other; all chance comes from (seed, epoch, batch)."""

    def __init__(self, data: SegmentSet, options: FitOptions, *, classes: int) -> None:
        super().__init__()
        self._data, self._options, self._classes = data, options, classes
        self._size = min(options.batch_size, data.n_segments)
        counts = np.bincount(data.label, minlength=classes)
        # Each genre that is there weighs the same in all, and a segment 1 on average.
        self._weights = (data.n_segments / (np.maximum(counts, 1) * (counts > 0).sum())).astype("float32")
        self._start_epoch(0)

    def _start_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = np.random.default_rng([self._options.seed, epoch]).permutation(self._data.n_segments)

    def on_epoch_end(self) -> None:
        self._start_epoch(self._epoch + 1)

    def __len__(self) -> int:
        # A rest smaller than a batch sits this epoch out: the order changes, so that it is another one each time.
        return self._data.n_segments // self._size

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = self._order[index * self._size : (index + 1) * self._size]
        rng = np.random.default_rng([self._options.seed, self._epoch, index])
        x, y = training_batch(self._data, chosen, rng, self._options, self._classes)
        # By the labels as they are after mixup: a mixed segment weighs as its parts do.
        return (x, y, y @ self._weights) if self._options.class_weights else (x, y)


class _Validation(keras.callbacks.Callback):
    """Measures every epoch, remembers the best weights and stops when they stay the best for long."""

    def __init__(self, valid: SegmentSet, *, patience: int, on_epoch: OnEpoch | None) -> None:
        super().__init__()
        self._valid, self._patience, self._on_epoch = valid, patience, on_epoch
        self.history: dict[str, list[float]] = {}
        self.best_epoch = -1
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._weights: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        measured = {f"val_{name}": value for name, value in evaluate(self.model, self._valid).items()}
        logs.update(
            measured,
            lr=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=time.perf_counter() - self._begin,
        )
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        rank = (logs["val_track_accuracy"], -logs["val_loss"])
        if rank > self._best or self._weights is None:
            self._best, self.best_epoch, self._weights = rank, epoch, self.model.get_weights()
        if self._on_epoch is not None:
            self._on_epoch(epoch, dict(logs))
        if epoch - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        if self._weights is not None:
            model.set_weights(self._weights)
