"""A fit learns what there is to learn, keeps its best weights, stops when told, and repeats itself."""

import threading
import time

import keras
import numpy as np
import pytest

from genreflow.errors import ParameterError
from genreflow.models import MODELS, build_model
from genreflow.training.batches import SegmentSet
from genreflow.training.epochs import TrainingBatches
from genreflow.training.fit import evaluate, fit, logits, segments_a_second
from genreflow.training.options import FitOptions
from genreflow.training.speed import unrolled

LENGTH, BANDS, CLASSES = 24, 20, 3


def tracks(n, seed, *, learnable=True):
    """`n` tracks of noise; each genre is louder in a region of its own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    pieces = []
    for label in labels:
        piece = rng.normal(110, 35, (60, BANDS))
        if learnable:
            piece[:, 6 * label : 6 * label + 6] += 45
        pieces.append(np.clip(piece, 0, 255).astype("uint8"))
    if not learnable:
        labels = rng.permutation(labels)
    return SegmentSet(pieces, labels, range(n), LENGTH, LENGTH // 2)


@pytest.fixture(scope="module")
def data():
    return tracks(24, 1), tracks(12, 2)


def small(seed=5, name="efficient"):
    mean, variance = tracks(24, 1).standardisation()
    return build_model(name, input_shape=(LENGTH, BANDS), classes=CLASSES, mean=mean, variance=variance, seed=seed)


OPTIONS = FitOptions(epochs=6, batch_size=16, patience=6)


def test_learns_and_reports(data):
    model = small()
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
    # Other callbacks see what validation measured.
    assert [log["val_track_accuracy"] for log in logs] == result.history["val_track_accuracy"]
    # The schedule rises and falls; the rate is the model's own.
    assert max(result.history["lr"]) <= MODELS["efficient"].learning_rate.default + 1e-9
    assert result.history["lr"][-1] < 0.1 * max(result.history["lr"])


def test_nothing_to_learn_gives_chance():
    train, valid = tracks(24, 1, learnable=False), tracks(60, 2, learnable=False)
    result = fit(small(), train, valid, OPTIONS)
    assert result.history["val_track_accuracy"][-1] < 0.6


def test_keeps_the_weights_of_the_best_epoch(data):
    model = small()
    # A rate that wrecks the net half-way: the last epochs are worse than the best.
    result = fit(model, *data, OPTIONS.model_copy(update={"schedule": "constant", "learning_rate": 0.05}))
    ranks = list(zip(result.history["val_track_accuracy"], (-x for x in result.history["val_loss"]), strict=True))
    assert ranks[result.best_epoch] == max(ranks)
    measured = evaluate(model, data[1])
    assert measured["track_accuracy"] == result.best["val_track_accuracy"]
    assert measured["loss"] == pytest.approx(result.best["val_loss"], rel=1e-4)


def test_keeps_the_weights_of_the_last_epoch_if_asked(data):
    options = OPTIONS.model_copy(update={"keep": "last", "patience": 1, "learning_rate": 0.05})
    model = small()
    result = fit(model, *data, options)
    assert result.epochs == 6
    assert result.best_epoch == 5
    assert evaluate(model, data[1])["loss"] == pytest.approx(result.history["val_loss"][-1], rel=1e-4)


@pytest.mark.parametrize("name", ["efficient", pytest.param("cnn_gru", marks=pytest.mark.slow), "tiny_cnn"])
def test_same_seed_same_bits(data, name):
    options = FitOptions(epochs=2, batch_size=16, stretch=0.1, gain=0.1, noise=0.01, mixup=0.2, time_masks=1)
    fits = []
    for seed in (1, 1, 9):
        model = small(name=name)
        fits.append((fit(model, *data, options.model_copy(update={"seed": seed})), model.get_weights()))
    (first, weights), (again, same), (other, _) = fits
    for metric in set(first.history) - {"seconds"}:
        assert first.history[metric] == again.history[metric], metric
    assert all((a == b).all() for a, b in zip(weights, same, strict=True))
    assert first.history["loss"] != pytest.approx(other.history["loss"], rel=1e-4)


def test_stops_when_nothing_gets_better(data):
    # A rate that moves nothing but the statistics of batch normalisation, in a net without any.
    options = FitOptions.plain(epochs=30, batch_size=32, patience=2, learning_rate=1e-12, optimiser="sgd")
    result = fit(small(name="parallel_cnn"), *data, options)
    assert result.epochs < 30
    assert result.epochs - 1 - result.best_epoch == 2


def test_pruning_reaches_the_caller(data):
    class PrunedError(Exception):
        pass

    seen = []

    def prune(epoch, metrics):
        seen.append((epoch, metrics["val_track_accuracy"], metrics["loss"]))
        if epoch == 1:
            raise PrunedError

    model = small()
    with pytest.raises(PrunedError):
        fit(model, *data, OPTIONS, on_epoch=prune)
    assert [epoch for epoch, *_ in seen] == [0, 1]
    assert evaluate(model, data[1])["track_accuracy"] == max(accuracy for _, accuracy, _ in seen)


def test_published_nets_learn_as_published(data):
    # Their own optimiser, no augmentation; the smallest recurrent one that the space has.
    for name, kwargs in (("parallel_cnn", {}), ("cnn_gru", {"units": 64})):
        model = build_model(name, input_shape=(LENGTH, BANDS), classes=CLASSES, seed=1, **kwargs)
        result = fit(model, *data, FitOptions.plain(epochs=6, batch_size=16))
        assert result.history["loss"][-1] < result.history["loss"][0], name


def test_more_segments_in_a_batch_than_there_are(data):
    few = tracks(3, 3)
    result = fit(small(), few, data[1], OPTIONS.model_copy(update={"epochs": 1, "batch_size": 4096}))
    assert np.isfinite(result.history["loss"][0])


def test_logits_follow_the_order_of_segments(data):
    model = small()
    whole = logits(model, data[0])
    assert whole.shape == (data[0].n_segments, CLASSES)
    np.testing.assert_allclose(whole[[40, 3]], model.predict_on_batch(data[0].segments([40, 3])), atol=1e-5)


def test_every_epoch_has_an_order_of_its_own_that_comes_again(data):
    def epochs():
        batches = TrainingBatches(data[0], OPTIONS, classes=CLASSES)
        return [[x.copy() for x, _ in batches.epoch(number, ready=tuple)] for number in range(3)]

    first, again = epochs(), epochs()
    assert len(first[0]) == data[0].n_segments // 16
    assert all((a == b).all() for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True))
    assert all((first[i][0] != first[j][0]).any() for i, j in ((0, 1), (1, 2), (0, 2)))


def test_memory_of_a_batch_is_used_again_only_when_nobody_has_it(data):
    batches = TrainingBatches(data[0], OPTIONS, classes=CLASSES)
    held = [batches.batch(0, index)[0] for index in range(4)]
    before = [x.copy() for x in held]
    views = [x[2:5] for x in held]
    places = {x.ctypes.data for x in held}
    assert len(places) == 4
    del held
    later = [batches.batch(1, index)[0] for index in range(4)]
    assert not places & {x.ctypes.data for x in later}  # a view is a reference as well
    assert all((view == x[2:5]).all() for view, x in zip(views, before, strict=True))
    del views
    assert batches.batch(2, 0)[0].ctypes.data in places


def test_a_mistake_in_the_thread_reaches_the_caller_and_no_thread_is_left(data):
    batches = TrainingBatches(data[0], OPTIONS, classes=CLASSES)

    def broken(batch):
        raise ArithmeticError("no tensor")

    with pytest.raises(ArithmeticError, match="no tensor"):
        list(batches.epoch(0, ready=broken))
    for _ in batches.epoch(0, ready=tuple):
        break
    assert not any(thread.name == "batches" for thread in threading.enumerate())


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_the_learning_rate_follows_its_schedule(data, schedule):
    train, valid = data
    options = FitOptions.plain(epochs=6, batch_size=8, learning_rate=0.01, optimiser="sgd", schedule=schedule)
    rates = np.array(fit(small(), train, valid, options).history["lr"])
    if schedule == "constant":
        np.testing.assert_allclose(rates, 0.01, rtol=1e-5)
    elif schedule == "step":
        np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rtol=1e-5)
    else:
        assert (np.diff(rates) < 0).all()
        assert rates[-1] < 1e-6


def test_class_weights_make_genres_count_the_same(data):
    train, _ = data
    lopsided = SegmentSet(train.pieces, [1] + [0] * (len(train.pieces) - 1), np.arange(len(train.pieces)), 10, 10)
    options = FitOptions.plain(batch_size=lopsided.n_segments, class_weights=True)
    _, y, weights = TrainingBatches(lopsided, options, classes=3).batch(0, 0)
    total = y.T @ weights
    assert total[0] == pytest.approx(total[1], rel=1e-5)
    assert total[2] == 0
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert len(TrainingBatches(lopsided, FitOptions.plain(batch_size=4), classes=3).batch(0, 0)) == 2


def test_short_epochs_go_on_where_the_last_one_stopped(data):
    train, _ = data
    options = OPTIONS.model_copy(update={"segments_per_epoch": 40, "batch_size": 16, "random_crop": False})
    batches = TrainingBatches(train, options, classes=CLASSES)
    assert (len(batches), batches.segments) == (2, 32)
    seen = []
    for epoch in range(train.n_segments // 32):
        seen += [x.copy() for x, _ in batches.epoch(epoch, ready=tuple)]
    whole = TrainingBatches(train, OPTIONS.model_copy(update={"random_crop": False}), classes=CLASSES)
    for i, x in enumerate(seen):
        np.testing.assert_array_equal(x, whole.batch(0, i)[0])


def test_a_rate_is_measured_in_the_time_that_is_given(data):
    begin = time.perf_counter()
    rate = segments_a_second(small(), data[0], OPTIONS, seconds=0.5)
    assert rate > 0
    assert 0.5 < time.perf_counter() - begin < 60


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_answers_are_never_rounded_to_bfloat16(data, precision):
    options = FitOptions.plain(epochs=2, batch_size=16, precision=precision)
    model = small(name="tiny_cnn")
    result = fit(model, *data, options)
    segments = data[1].segments(slice(0, 20))
    # What the epochs measured is what the model says when nothing of the fit is left.
    assert evaluate(model, data[1])["loss"] == pytest.approx(result.best["val_loss"], rel=1e-6)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    np.testing.assert_allclose(logits(model, data[1])[:20], fresh.predict_on_batch(segments), atol=1e-5)
    assert all(weights.dtype == np.float32 for weights in model.get_weights())


def test_precision_follows_the_row_and_the_processor(monkeypatch):
    for gains in (False, True):
        monkeypatch.setattr("genreflow.training.options.processor_gains", lambda gains=gains: gains)
        assert FitOptions().resolved("vgg_large").precision == ("bfloat16" if gains else "float32")
        assert FitOptions().resolved("parallel_cnn").precision == "float32"
        assert FitOptions(precision="bfloat16").resolved("parallel_cnn").precision == "bfloat16"


def test_short_recurrent_layers_are_written_out_for_the_fit_alone(data):
    model = small(name="cnn_gru")
    layers = [layer for layer in model.get_layer("body").layers if isinstance(layer, keras.layers.GRU)]
    assert len(layers) == 2
    with unrolled(model):
        assert all(layer.unroll for layer in layers)
    assert not any(layer.unroll for layer in layers)
    long = build_model("lstm", input_shape=(LENGTH, BANDS), classes=CLASSES)
    with unrolled(long):
        assert not any(layer.unroll for layer in long.get_layer("body").layers if isinstance(layer, keras.layers.LSTM))


def test_open_options_of_a_foreign_model_are_named(data):
    foreign = keras.Sequential([keras.Input((LENGTH, BANDS)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    with pytest.raises(ParameterError, match="learning_rate"):
        fit(foreign, *data, OPTIONS)
