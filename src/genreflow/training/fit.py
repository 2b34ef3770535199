"""Fit a model to training segments and keep the weights that classify validation tracks best."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.training.batches import SegmentSet
from genreflow.training.epochs import TrainingBatches
from genreflow.training.optimiser import make_optimiser
from genreflow.training.options import FitOptions
from genreflow.training.speed import products, unrolled
from genreflow.training.train_loop import learn

OnEpoch = Callable[[int, Mapping[str, float]], None]

# Segments a call when nothing is learnt: large enough that the call costs nothing, small enough for the caches; of long
# ones fewer, since what a net holds of a whole track is thirty times what it holds of a second.
EVALUATION_BATCH, EVALUATION_FRAMES = 128, 128 * 172


@dataclass(frozen=True)
class FitResult:
    """What a fit did; the model holds the weights of `best_epoch`.

    Parameters
    ----------
    history : dict of str to list of float [shape=(epochs,)]
        ``loss``, ``accuracy`` (on augmented training segments), ``val_loss``, ``val_accuracy`` (by segment),
        ``val_track_accuracy`` (probabilities averaged over a track's segments), ``lr``, ``seconds``.
    best_epoch : int
        Epoch whose weights were kept, counted from 0: of the best ``val_track_accuracy``, among equals the lowest
        ``val_loss``; or the last one, as `FitOptions.keep` has it.
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
    options = _resolved(options, model)
    batches = _prepare(model, train, options)
    watch = _Validation(valid, keep=options.keep, patience=options.patience, on_epoch=on_epoch)
    try:
        with unrolled(model), products(bfloat16=options.precision == "bfloat16"):
            learn(model, batches, epochs=options.epochs, verbose=verbose, callbacks=[watch, *callbacks])
    finally:
        watch.restore(model)
    return FitResult(watch.history, watch.best_epoch, len(watch.history["loss"]))


def segments_a_second(model: keras.Model, train: SegmentSet, options: FitOptions, *, seconds: float = 5.0) -> float:
    """Measure how fast a model learns, without validation and without what comes before the first updates.

    Parameters
    ----------
    model : keras.Model
        Does learn: for a fit, build another.
    train : SegmentSet
    options : FitOptions
    seconds : float > 0
        Time to measure; one update is made in any case, after two that do not count.

    Returns
    -------
    float
        Segments a second.
    """
    options = _resolved(options, model)
    batches = _prepare(model, train, options)
    watch = _Rate(seconds)
    with unrolled(model), products(bfloat16=options.precision == "bfloat16"):
        learn(model, batches, epochs=10_000, callbacks=[watch])
    return watch.updates * batches.size / watch.seconds


def _resolved(options: FitOptions, model: keras.Model) -> FitOptions:
    options = options.resolved(model.name)
    if options.learning_rate is None or options.optimiser is None:
        raise ParameterError(f"{model.name} is in no registry: train.learning_rate and train.optimiser must be given.")
    return options


def _prepare(model: keras.Model, train: SegmentSet, options: FitOptions) -> TrainingBatches:
    """Compile a model for the batches of a fit."""
    keras.utils.set_random_seed(options.seed)
    batches = TrainingBatches(train, options, classes=model.output_shape[-1])
    model.compile(
        optimizer=make_optimiser(options, updates=options.epochs * len(batches)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA makes small nets slower on a CPU; JAX knows nothing else.
        jit_compile=keras.backend.backend() == "jax",
    )
    return batches


def logits(model: keras.Model, data: SegmentSet) -> np.ndarray:
    """Logits of all segments, in their order.

    Returns
    -------
    np.ndarray [shape=(n_segments, classes), dtype=float32]
    """
    size = max(1, min(EVALUATION_BATCH, EVALUATION_FRAMES // data.length))
    blocks = range(0, data.n_segments, size)
    # predict_on_batch: the same compiled function as predict, without its set-up of a data set and callbacks.
    return np.concatenate([model.predict_on_batch(data.segments(slice(first, first + size))) for first in blocks])


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


class _Validation(keras.callbacks.Callback):
    """Measures every epoch, remembers the best weights and stops when they stay the best for long."""

    def __init__(self, valid: SegmentSet, *, keep: str, patience: int, on_epoch: OnEpoch | None) -> None:
        super().__init__()
        self._valid, self._keep, self._patience, self._on_epoch = valid, keep, patience, on_epoch
        self.history: dict[str, list[float]] = {}
        self.best_epoch = -1
        self._best: tuple[float, float] = (-1.0, 0.0)
        self._weights: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with products(bfloat16=False):
            measured = evaluate(self.model, self._valid)
        logs.update(
            {f"val_{name}": value for name, value in measured.items()},
            lr=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=time.perf_counter() - self._begin,
        )
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        rank = (logs["val_track_accuracy"], -logs["val_loss"])
        if self._keep == "last":
            self.best_epoch = epoch
        elif rank > self._best or self._weights is None:
            self._best, self.best_epoch, self._weights = rank, epoch, self.model.get_weights()
        if self._on_epoch is not None:
            self._on_epoch(epoch, dict(logs))
        if epoch - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def restore(self, model: keras.Model) -> None:
        if self._weights is not None:
            model.set_weights(self._weights)


class _Rate(keras.callbacks.Callback):
    """Ends a fit when it has gone on for some seconds, and has counted its updates."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._wanted = seconds
        self._made = -2  # the first ones compile, and fill the caches
        self.updates, self.seconds = 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._made += 1
        if self._made == 0:
            self._begin = time.perf_counter()
        elif self._made > 0:
            self.updates, self.seconds = self._made, time.perf_counter() - self._begin
            self.model.stop_training = self.seconds >= self._wanted
