"""Baselines: features by hand, classifiers on learnable and on random labels, and the comparison with a model."""

import numpy as np
import pytest

from architectures import ON_SEGMENTS
from genreflow.baselines.classifiers import C_VALUES, Features, fit_and_predict, linear_probe, support_vector_machine
from genreflow.baselines.summary_statistics import summary_statistics
from genreflow.inference.tracks import TrackPredictions
from genreflow.models import MODELS, build_model
from genreflow.models.penultimate import penultimate_model
from genreflow.stages.evaluate import compare_with_baselines, count_abstentions, notes_on_baselines
from genreflow.training.segment_set import SegmentSet
from genreflow.training.track_means import mean_over_segments
from serving_toy import write_toy_bundle
from training_toy import make_model, make_segments


def test_summary_statistics_by_hand():
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 256, (frames, 4), dtype=np.uint8) for frames in (30, 7, 50)]
    segments = SegmentSet(pieces, [0, 0, 1], [0, 0, 1], length=10, hop=5)
    computed = summary_statistics(segments)
    assert computed.shape == (2, 12)
    for track, own in enumerate([pieces[:2], pieces[2:]]):
        frames = np.concatenate(own) / 255
        change = np.concatenate([np.abs(np.diff(piece / 255, axis=0)) for piece in own])  # none across two pieces
        expected = np.concatenate([frames.mean(axis=0) - frames.max(), frames.std(axis=0), change.mean(axis=0)])
        np.testing.assert_allclose(computed[track], expected, atol=1e-6)


def test_a_track_of_one_frame_has_finite_statistics():
    segments = SegmentSet([np.array([[51, 51, 51, 102]], np.uint8)], [0], [0], length=10, hop=5)
    np.testing.assert_allclose(summary_statistics(segments), [[-0.2] * 3 + [0] * 9], atol=1e-7)


@pytest.mark.parametrize("make", [support_vector_machine, linear_probe])
@pytest.mark.parametrize(("learnable", "low", "high"), [(True, 0.95, 1.0), (False, 0.0, 0.65)])
def test_classifiers_learn_what_can_be_learnt_and_nothing_else(make, learnable, low, high):
    parts = [make_segments(n, seed, learnable=learnable) for n, seed in [(60, 1), (30, 2), (60, 3)]]
    train, valid, test = (Features(summary_statistics(part), part.track_labels) for part in parts)
    accuracy = np.mean(fit_and_predict(make, train, valid, test.x) == test.labels)
    assert low <= accuracy <= high


def test_regularisation_is_chosen_on_validation():
    rng = np.random.default_rng(0)
    train, x = Features(rng.normal(size=(60, 40)), np.arange(60) % 3), rng.normal(size=(200, 40))
    by_c = {c: linear_probe(c).fit(train.x, train.labels).predict(x) for c in (C_VALUES[0], C_VALUES[-1])}
    assert not np.array_equal(*by_c.values())
    for predicted in by_c.values():  # as labels of validation tracks, only the same C predicts all of them
        np.testing.assert_array_equal(fit_and_predict(linear_probe, train, Features(x, predicted), x), predicted)


def test_a_single_genre_in_training_is_predicted_everywhere():
    x = np.random.default_rng(0).normal(size=(4, 3))
    one = Features(x, np.full(4, 2))
    np.testing.assert_array_equal(fit_and_predict(linear_probe, one, one, x[:3]), [2, 2, 2])


def test_features_of_an_untrained_network_are_means_over_segments():
    segments = make_segments(6, 1)
    model = penultimate_model(make_model())
    features = mean_over_segments(model.predict_on_batch, segments)
    assert features.shape == (6, model.output.shape[-1])
    own = segments.segments(np.flatnonzero(segments.track == 3))
    np.testing.assert_allclose(features[3], model.predict_on_batch(own).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_the_last_layer_of_a_network_follows_from_its_penultimate_values():
    model = make_model()
    x = make_segments(6, 1).segments(np.arange(10))
    body = model.get_layer("body")
    kernel, bias = next(layer for layer in body.layers if layer.output is body.output).get_weights()
    values = penultimate_model(model).predict_on_batch(x)
    np.testing.assert_allclose(values @ kernel + bias, model.predict_on_batch(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ON_SEGMENTS) - {"wide_parallel_cnn", "resnet50"}))
def test_every_architecture_has_penultimate_values(name):
    image = MODELS[name].image or (172, 128)
    model = penultimate_model(build_model(name, input_shape=(172, 128), classes=3, image=image, seed=0))
    values = model.predict_on_batch(np.random.default_rng(0).random((2, 172, 128), dtype=np.float32))
    assert values.shape == (2, model.output.shape[-1])
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 1


def test_a_model_is_compared_with_baselines_on_the_same_tracks():
    correct = np.array([True] * 8 + [False] * 2)
    baselines = {"worse": [True] * 4 + [False] * 6, "equal": [False] * 2 + [True] * 8, "better": [True] * 10}
    given = {name: np.array(own) for name, own in baselines.items()}
    rows = {row["baseline"]: row for row in compare_with_baselines(correct, given, None)}
    assert [rows[name]["accuracy"] for name in baselines] == [0.4, 0.8, 1.0]
    assert all(row["model_accuracy"] == 0.8 for row in rows.values())
    assert all(row["accuracy_low"] < row["accuracy"] <= row["accuracy_high"] for row in rows.values())
    better = [rows[name]["probability_model_better"] for name in ("worse", "equal", "better")]
    assert better[0] > 0.95
    assert abs(better[1] - 0.5) < 0.02
    assert better[2] < 0.1
    notes = notes_on_baselines(list(rows.values()), "test")
    assert [name for name in baselines if any(f" {name}:" in note for note in notes)] == ["equal", "better"]


def test_tracks_without_a_genre_are_counted_by_reason(tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle", abstain_below=0.5, refuse_above=0.3)
    by_track = np.array([[0.9, 0.1, 0], [0.4, 0.3, 0.3], [0.2, 0.8, 0], [0.4, 0.3, 0.3], [0, 0.4, 0.6]])
    predicted = TrackPredictions(by_track, np.arange(5), by_track, [0.1, 0.2, 0.31, 0.9, 0.3])
    labels = np.array([0, 0, 1, 0, 1])
    expected = {"abstained": 3, "unfamiliar": 2, "answered_accuracy": 0.5}
    assert count_abstentions(bundle, predicted, labels) == expected
    none = write_toy_bundle(tmp_path / "all", abstain_below=1.0)
    predicted = TrackPredictions(by_track, np.arange(5), by_track, [None] * 5)
    assert count_abstentions(none, predicted, labels) == {"abstained": 5, "unfamiliar": 0, "answered_accuracy": None}
