"""A fit learns, keeps its best weights, stops when patience runs out, and repeats itself bit by bit."""

import time

import keras
import numpy as np
import pytest

from genreflow.errors import ParameterError
from genreflow.models import MODELS, build_model
from genreflow.training.acceleration import unroll_recurrent_layers
from genreflow.training.calibration import calibrate
from genreflow.training.fit import evaluate, fit, measure_throughput, predict_logits
from genreflow.training.options import FitOptions
from training_toy import BANDS, CLASSES, LENGTH, OPTIONS, make_model, make_segments


@pytest.fixture(scope="module")
def data():
    return make_segments(24, 1), make_segments(12, 2)


def test_a_fit_learns_and_records_its_history(data):
    model = make_model()
    before = evaluate(model, data[1])
    logs = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, log: logs.append(dict(log)))
    result = fit(model, *data, OPTIONS, callbacks=[spy])
    assert result.epochs == 6
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "val_track_accuracy", "lr", "seconds"}
    assert set(result.history) == names
    assert all(len(values) == 6 for values in result.history.values())
    assert result.best["val_track_accuracy"] >= 0.9
    assert result.best["val_loss"] < before["loss"]
    # Other callbacks see the validation metrics.
    assert [log["val_track_accuracy"] for log in logs] == result.history["val_track_accuracy"]
    # The learning rate is the architecture's; the cosine schedule rises and falls.
    assert max(result.history["lr"]) <= MODELS["efficient"].learning_rate.default + 1e-9
    assert result.history["lr"][-1] < 0.1 * max(result.history["lr"])


def test_random_labels_give_chance_accuracy():
    train, valid = make_segments(24, 1, learnable=False), make_segments(60, 2, learnable=False)
    result = fit(make_model(), train, valid, OPTIONS)
    assert result.history["val_track_accuracy"][-1] < 0.6


def test_the_weights_of_the_best_epoch_are_kept(data):
    model = make_model()
    # A learning rate so high that the last epochs are worse than the best.
    result = fit(model, *data, OPTIONS.model_copy(update={"schedule": "constant", "learning_rate": 0.05}))
    ranks = list(zip(result.history["val_track_accuracy"], (-x for x in result.history["val_loss"]), strict=True))
    assert ranks[result.best_epoch] == max(ranks)
    measured = evaluate(model, data[1])
    assert measured["track_accuracy"] == result.best["val_track_accuracy"]
    assert measured["loss"] == pytest.approx(result.best["val_loss"], rel=1e-4)


def test_keep_last_keeps_the_weights_of_the_last_epoch(data):
    options = OPTIONS.model_copy(update={"keep": "last", "patience": 1, "learning_rate": 0.05})
    model = make_model()
    result = fit(model, *data, options)
    assert result.epochs == 6
    assert result.best_epoch == 5
    assert evaluate(model, data[1])["loss"] == pytest.approx(result.history["val_loss"][-1], rel=1e-4)


@pytest.mark.parametrize(
    "name", ["tiny_cnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("efficient", "cnn_gru"))]
)
def test_the_same_seed_gives_the_same_bits(data, name):
    options = FitOptions(epochs=2, batch_size=16, stretch=0.1, gain=0.1, noise=0.01, mixup=0.2, time_masks=1)
    fits = []
    for seed in (1, 1, 9):
        model = make_model(name)
        fits.append((fit(model, *data, options.model_copy(update={"seed": seed})), model.get_weights()))
    (first, weights), (again, same), (other, _) = fits
    for metric in set(first.history) - {"seconds"}:
        assert first.history[metric] == again.history[metric], metric
    assert all((a == b).all() for a, b in zip(weights, same, strict=True))
    assert first.history["loss"] != pytest.approx(other.history["loss"], rel=1e-4)


def test_a_fit_stops_when_patience_runs_out(data):
    # A network without batch normalisation, at a learning rate too small to change anything.
    options = FitOptions.unregularised(epochs=30, batch_size=32, patience=2, learning_rate=1e-12, optimiser="sgd")
    result = fit(make_model("parallel_cnn"), *data, options)
    assert result.epochs < 30
    assert result.epochs - 1 - result.best_epoch == 2


def test_an_exception_of_on_epoch_ends_the_fit_and_leaves_the_best_weights(data):
    class PrunedError(Exception):
        pass

    seen = []

    def prune(epoch, metrics):
        seen.append((epoch, metrics["val_track_accuracy"], metrics["loss"]))
        if epoch == 1:
            raise PrunedError

    model = make_model()
    with pytest.raises(PrunedError):
        fit(model, *data, OPTIONS, on_epoch=prune)
    assert [epoch for epoch, *_ in seen] == [0, 1]
    assert evaluate(model, data[1])["track_accuracy"] == max(accuracy for _, accuracy, _ in seen)


def test_published_architectures_learn_with_their_own_optimiser(data):
    for name, hyperparameters in (("parallel_cnn", {}), ("cnn_gru", {"units": 64})):
        model = build_model(name, input_shape=(LENGTH, BANDS), classes=CLASSES, seed=1, **hyperparameters)
        result = fit(model, *data, FitOptions.unregularised(epochs=6, batch_size=16))
        assert result.history["loss"][-1] < result.history["loss"][0], name


def test_a_batch_size_larger_than_the_training_set(data):
    options = OPTIONS.model_copy(update={"epochs": 1, "batch_size": 4096})
    result = fit(make_model(), make_segments(3, 3), data[1], options)
    assert np.isfinite(result.history["loss"][0])


def test_logits_are_in_the_order_of_the_segments(data):
    model = make_model()
    logits = predict_logits(model, data[0])
    assert logits.shape == (data[0].n_segments, CLASSES)
    np.testing.assert_allclose(logits[[40, 3]], model.predict_on_batch(data[0].segments([40, 3])), atol=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_the_learning_rate_follows_its_schedule(data, schedule):
    options = FitOptions.unregularised(epochs=6, batch_size=8, learning_rate=0.01, optimiser="sgd", schedule=schedule)
    rates = np.array(fit(make_model(), *data, options).history["lr"])
    if schedule == "constant":
        np.testing.assert_allclose(rates, 0.01, rtol=1e-5)
    elif schedule == "step":
        np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rtol=1e-5)
    else:
        assert (np.diff(rates) < 0).all()
        assert rates[-1] < 1e-6


def test_throughput_is_measured_in_the_given_time(data):
    begin = time.perf_counter()
    rate = measure_throughput(make_model(), data[0], OPTIONS, seconds=0.5)
    assert rate > 0
    assert 0.5 < time.perf_counter() - begin < 300  # most of it builds and compiles the model


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_inference_is_always_in_float32(data, precision):
    options = FitOptions.unregularised(epochs=2, batch_size=16, precision=precision)
    model = make_model("tiny_cnn")
    result = fit(model, *data, options)
    segments = data[1].segments(slice(0, 20))
    # Validation during the fit equals an evaluation after it, and a copy of the model that was never fitted.
    assert evaluate(model, data[1])["loss"] == pytest.approx(result.best["val_loss"], rel=1e-6)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    np.testing.assert_allclose(predict_logits(model, data[1])[:20], fresh.predict_on_batch(segments), atol=1e-5)
    assert all(weights.dtype == np.float32 for weights in model.get_weights())


def test_short_recurrent_layers_are_unrolled_for_the_fit_only(data):
    model = make_model("cnn_gru")
    layers = [layer for layer in model.get_layer("body").layers if isinstance(layer, keras.layers.GRU)]
    assert len(layers) == 2
    with unroll_recurrent_layers(model):
        assert all(layer.unroll for layer in layers)
    assert not any(layer.unroll for layer in layers)
    long = build_model("lstm", input_shape=(LENGTH, BANDS), classes=CLASSES)
    with unroll_recurrent_layers(long):
        assert not any(layer.unroll for layer in long.get_layer("body").layers if isinstance(layer, keras.layers.LSTM))


def test_a_model_outside_the_registry_needs_learning_rate_and_optimiser(data):
    model = keras.Sequential([keras.Input((LENGTH, BANDS)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    with pytest.raises(ParameterError, match="learning_rate"):
        fit(model, *data, OPTIONS)


def test_calibration_fits_the_temperature_and_takes_a_given_threshold(data):
    model = make_model()
    fit(model, *data, OPTIONS)
    found = calibrate(model, data[1], abstain_below=None)
    assert found.temperature > 0
    assert 0 <= found.abstain_below <= 1
    given = calibrate(model, data[1], abstain_below=0.25)
    assert (given.temperature, given.abstain_below) == (found.temperature, 0.25)
