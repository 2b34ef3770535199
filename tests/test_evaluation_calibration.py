"""Temperature, calibration error and abstention, against known values, scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax
from sklearn.metrics import log_loss

from genreflow.errors import ParameterError
from genreflow.evaluation.calibration import (
    abstention_threshold,
    expected_calibration_error,
    fit_temperature,
    softmax,
    track_probabilities,
)


def draw_labels(n, n_classes=5, *, temperature=1.0, seed=0):
    """Return random logits, and labels drawn from their softmax at `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, n_classes))
    labels = (softmax(logits, temperature).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, np.minimum(labels, n_classes - 1)


def test_softmax_agrees_with_scipy():
    logits = np.array([[1.0, 2.0, 3.0], [1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], np.float32)
    for temperature in (0.05, 1.0, 7.5):
        ours = softmax(logits, temperature)
        np.testing.assert_allclose(ours, scipy_softmax(logits.astype(float) / temperature, axis=1), atol=1e-12)
        assert ours.dtype == np.float64
    np.testing.assert_allclose(softmax(np.log([1.0, 3.0])), [0.25, 0.75])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_softmax_refuses_an_invalid_temperature(temperature):
    with pytest.raises(ParameterError, match="temperature"):
        softmax(np.zeros((1, 2)), temperature)


def test_probabilities_of_a_track_are_the_mean_over_its_segments():
    probabilities = np.array([[0.2, 0.8], [1.0, 0.0], [0.6, 0.4], [0.4, 0.6]])
    np.testing.assert_allclose(track_probabilities(probabilities, np.array([1, 0, 1, 1]), 2), [[1, 0], [0.4, 0.6]])


@pytest.mark.parametrize(
    ("index", "n_tracks"), [([0, 0, 2], 3), ([0, 1, 3], 3), ([0, 1], 2)], ids=["missing track", "range", "shape"]
)
def test_an_invalid_track_index_is_refused(index, n_tracks):
    with pytest.raises(ParameterError, match="track_index"):
        track_probabilities(np.full((3, 2), 0.5), np.array(index), n_tracks)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_true_temperature_is_recovered(true):
    logits, labels = draw_labels(20_000, temperature=true)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.03)


def test_no_other_temperature_has_a_higher_likelihood():
    logits, labels = draw_labels(2_000, temperature=1.7)
    best = fit_temperature(logits, labels)

    def loss(temperature):
        return log_loss(labels, softmax(logits, temperature), labels=range(5))

    assert loss(best) <= min(loss(t) for t in np.geomspace(0.05, 20, 200)) + 1e-5


def test_tracks_are_calibrated_by_their_averaged_probabilities():
    rng = np.random.default_rng(3)
    n_tracks, per_track = 300, 8
    _, labels = draw_labels(n_tracks)
    index = np.repeat(np.arange(n_tracks), per_track)
    # Segments are confident, but those of a track disagree: their average is less confident.
    logits = rng.normal(0, 4, (n_tracks * per_track, 5))
    logits[np.arange(len(logits)), labels[index]] += 3
    order = rng.permutation(len(logits))
    found = fit_temperature(logits[order], labels, index[order])

    def loss(temperature):
        return log_loss(labels, track_probabilities(softmax(logits, temperature), index, n_tracks), labels=range(5))

    assert loss(found) <= min(loss(t) for t in np.geomspace(0.05, 20, 400)) + 1e-4
    assert found < 0.8 * fit_temperature(logits, labels[index])


def test_a_few_tracks_that_are_all_correct_do_not_make_probabilities_certain():
    labels = np.arange(12) % 3
    logits = 4.0 * np.eye(3)[labels]
    temperature = fit_temperature(logits, labels)
    assert temperature > 0.05
    assert softmax(logits, temperature).max() < 0.99


def test_the_temperature_is_bounded():
    labels = np.arange(200) % 4
    assert fit_temperature(100.0 * np.eye(4)[(labels + 1) % 4], labels) == pytest.approx(20, rel=1e-3)
    assert fit_temperature(1e-3 * np.eye(4)[labels], labels) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((3, 2)), [0, 1]),
        (np.zeros((3, 2)), [0, 1, 2]),
        (np.zeros((3, 2)), [0, 1, -1]),
        (np.zeros((3, 2)), [0.0, 1.0, 1.0]),
        (np.full((3, 2), np.nan), [0, 1, 1]),
        (np.zeros((0, 2)), []),
    ],
)
def test_invalid_logits_and_labels_are_refused(logits, labels):
    with pytest.raises(ParameterError):
        fit_temperature(logits, np.array(labels))


def test_calibration_error_by_hand():
    # Two of ten bins: (0.9, 1.0] with two correct predictions of three, and (0.6, 0.7] with a wrong one.
    confidence = np.array([0.95, 0.95, 1.0, 0.65])
    probabilities = np.column_stack([confidence, 1 - confidence])
    error = expected_calibration_error(probabilities, np.array([0, 0, 1, 1]), n_bins=10)
    assert error == pytest.approx(3 / 4 * abs(2 / 3 - 2.9 / 3) + 1 / 4 * 0.65)


def test_calibration_reduces_the_calibration_error():
    logits, labels = draw_labels(4_000, temperature=2.5)
    before = expected_calibration_error(softmax(logits), labels)
    after = expected_calibration_error(softmax(logits, fit_temperature(logits, labels)), labels)
    assert before > 0.1 > 0.03 > after


def two_genres(confidence, correct):
    """Return probabilities of two genres that all predict genre 0, and the labels that make them correct or wrong."""
    confidence = np.asarray(confidence)
    return np.column_stack([confidence, 1 - confidence]), 1 - np.asarray(correct)


@pytest.mark.parametrize(
    ("confidence", "correct", "threshold"),
    [
        ([0.5, 0.6, 0.7, 0.8], [1, 1, 1, 1], 0.0),
        ([0.8, 0.6, 0.9, 0.7], [1, 0, 1, 1], 0.65),
        # Rejecting two correct predictions with four wrong ones gains more than rejecting the first wrong one.
        ([0.51, 0.52, 0.53, 0.54, 0.55, 0.7, 0.8, 0.9], [0, 1, 0, 1, 0, 0, 1, 1], 0.75),
        # Equal confidences cannot be separated.
        ([0.6, 0.6, 0.6, 0.9], [0, 1, 1, 1], 0.0),
        ([0.9, 0.9], [0, 0], 0.0),
    ],
)
def test_the_threshold_maximises_the_gain(confidence, correct, threshold):
    assert abstention_threshold(*two_genres(confidence, correct), max_share=1) == pytest.approx(threshold)


def test_at_most_a_quarter_of_the_predictions_are_rejected():
    rng = np.random.default_rng(0)
    confidence = np.sort(rng.uniform(0.5, 1, 100))
    probabilities, labels = two_genres(confidence, rng.random(100) < 0.2)
    threshold = abstention_threshold(probabilities, labels)
    assert 0 < (confidence < threshold).sum() <= 25
