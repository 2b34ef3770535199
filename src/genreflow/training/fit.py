"""Fit a model to training segments and keep the weights that classify validation tracks best."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from genreflow.evaluation.calibration import softmax, track_probabilities
from genreflow.training.acceleration import bfloat16_products, unroll_recurrent_layers
from genreflow.training.batches import TrainingBatches
from genreflow.training.labelled_segments import TrainableSegments
from genreflow.training.optimiser import make_optimiser
from genreflow.training.options import FitOptions
from genreflow.training.train_loop import run_training_loop

OnEpoch = Callable[[int, Mapping[str, float]], None]

# Segments per call in inference, and their frames: large enough for the overhead, small enough for the caches.
# Fewer of long segments: activations of a whole track are thirty times as large as those of a second.
INFERENCE_BATCH, INFERENCE_FRAMES = 128, 128 * 172


@dataclass(frozen=True)
class FitResult:
    """What a fit did; the model holds the weights of `best_epoch`.

    Parameters
    ----------
    history : dict of str to list of float [shape=(epochs,)]
        ``loss`` and ``accuracy`` on augmented training segments, ``val_loss`` (mean over validation tracks),
        ``val_accuracy`` (of segments), ``val_track_accuracy`` (mean probabilities of a track's segments), ``lr``,
        ``seconds``.
    best_epoch : int >= 0
        Epoch whose weights are kept, from 0: the one with the highest ``val_track_accuracy``, among equals the lowest
        ``val_loss``; with ``keep: last`` the last one.
    epochs : int > 0
        Epochs run.
    """

    history: dict[str, list[float]]
    best_epoch: int
    epochs: int

    @property
    def best(self) -> dict[str, float]:
        """Metrics of the best epoch."""
        return {name: values[self.best_epoch] for name, values in self.history.items()}


def fit(
    model: keras.Model,
    train: TrainableSegments,
    valid: TrainableSegments,
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
        From `genreflow.models.build_model`; reproducible if that was given a `seed`.
    train, valid : SegmentSet or EmbeddingSet
    options : FitOptions
        Learning rate and optimiser may be None for the models of the registry.
    on_epoch : callable, optional
        ``on_epoch(epoch, metrics)`` after each epoch, with the metrics of `FitResult`. An exception that it raises ends
        the fit and reaches the caller, which is how a trial is pruned; the model then has the best weights so far.
    callbacks : sequence of keras.callbacks.Callback
        Their ``logs`` include the validation metrics.
    verbose : {0, 1, 2}
        As in ``keras.Model.fit``.

    Returns
    -------
    FitResult

    Raises
    ------
    ParameterError
        Learning rate or optimiser is None and the model is not in the registry.
    """
    options = options.resolve(model.name)
    batches = _compile(model, train, options)
    validation = _Validation(valid, keep=options.keep or "best", patience=options.patience, on_epoch=on_epoch)
    try:
        with unroll_recurrent_layers(model), bfloat16_products(options.precision == "bfloat16"):
            run_training_loop(
                model, batches, epochs=options.epochs, verbose=verbose, callbacks=[validation, *callbacks]
            )
    finally:
        validation.restore_best_weights(model)
    return FitResult(validation.history, validation.best_epoch, len(validation.history["loss"]))


def measure_throughput(
    model: keras.Model, train: TrainableSegments, options: FitOptions, *, seconds: float = 5.0
) -> float:
    """Measure how fast a model trains, without validation and without compilation.

    Parameters
    ----------
    model : keras.Model
        Is trained by this: build another one for a fit.
    train : TrainableSegments
    options : FitOptions
    seconds : float > 0 [s]
        Duration of the measurement; at least one update, after two that are not measured.

    Returns
    -------
    float > 0 [segments/s]
    """
    options = options.resolve(model.name)
    batches = _compile(model, train, options)
    timer = _UpdateTimer(seconds)
    with unroll_recurrent_layers(model), bfloat16_products(options.precision == "bfloat16"):
        run_training_loop(model, batches, epochs=10_000, callbacks=[timer])
    return timer.updates * batches.size / timer.seconds


def _compile(model: keras.Model, train: TrainableSegments, options: FitOptions) -> TrainingBatches:
    """Compile a model for the batches of a fit."""
    keras.utils.set_random_seed(options.seed)
    batches = TrainingBatches(train, options, classes=model.output_shape[-1])
    model.compile(
        optimizer=make_optimiser(options, updates=options.epochs * len(batches)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA makes small networks slower on a CPU; JAX has nothing else.
        jit_compile=keras.backend.backend() == "jax",
    )
    return batches


def predict_logits(model: keras.Model, data: TrainableSegments) -> np.ndarray:
    """Logits of all segments, in their order.

    Returns
    -------
    np.ndarray [shape=(n_segments, classes), dtype=float32]
    """
    frames = data.segment_shape[0] if len(data.segment_shape) > 1 else 1
    size = max(1, min(INFERENCE_BATCH, INFERENCE_FRAMES // frames))
    # predict_on_batch runs the same compiled function as predict, without setting up a data set and callbacks.
    return np.concatenate(
        [model.predict_on_batch(data.segments(slice(first, first + size))) for first in range(0, data.n_segments, size)]
    )


def evaluate(model: keras.Model, data: TrainableSegments) -> dict[str, float]:
    """Evaluate a model.

    Returns
    -------
    dict
        ``loss`` (cross-entropy of a track's segments, averaged over tracks [nats]), ``accuracy`` of segments and
        ``track_accuracy``, both in [0, 1].
    """
    probabilities = softmax(predict_logits(model, data))
    by_track = track_probabilities(probabilities, data.track, data.n_tracks)
    losses = -np.log(np.maximum(probabilities[np.arange(data.n_segments), data.label], 1e-12))
    return {
        # It decides between equal accuracies, so that no long track may dominate it.
        "loss": float(track_probabilities(losses[:, None], data.track, data.n_tracks).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == data.label).mean()),
        "track_accuracy": float((by_track.argmax(axis=1) == data.track_labels).mean()),
    }


class _Validation(keras.callbacks.Callback):
    """Validates after each epoch, keeps the best weights and stops the fit when patience runs out."""

    def __init__(self, valid: TrainableSegments, *, keep: str, patience: int, on_epoch: OnEpoch | None) -> None:
        super().__init__()
        self._valid, self._keep, self._patience, self._on_epoch = valid, keep, patience, on_epoch
        self.history: dict[str, list[float]] = {}
        self.best_epoch = -1
        self._best_rank: tuple[float, float] = (-1.0, 0.0)
        self._best_weights: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        with bfloat16_products(False):
            measured = evaluate(self.model, self._valid)
        # In place, so that the callbacks after this one see them.
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
        elif rank > self._best_rank or self._best_weights is None:
            self._best_rank, self.best_epoch, self._best_weights = rank, epoch, self.model.get_weights()
        if self._on_epoch is not None:
            self._on_epoch(epoch, dict(logs))
        if epoch - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def restore_best_weights(self, model: keras.Model) -> None:
        if self._best_weights is not None:
            model.set_weights(self._best_weights)


class _UpdateTimer(keras.callbacks.Callback):
    """Counts updates, and stops the fit after some seconds."""

    def __init__(self, duration: float) -> None:
        super().__init__()
        self._duration = duration
        self._count = -2  # the first updates compile, and fill the caches
        self.updates, self.seconds = 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._count += 1
        if self._count == 0:
            self._begin = time.perf_counter()
        elif self._count > 0:
            self.updates, self.seconds = self._count, time.perf_counter() - self._begin
            self.model.stop_training = self.seconds >= self._duration
