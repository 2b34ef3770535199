"""Metrics, intervals and paired tests, against scikit-learn, SciPy and exact values."""

import json
import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import bootstrap_interval, wilson
from genreflow.evaluation.metrics import confusion_matrix, evaluate, per_class, per_class_intervals
from genreflow.evaluation.paired import probability_better

GENRES = ["blues", "jazz", "metal", "pop"]


def random_predictions(n=200, c=4, seed=1):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(c), n)
    labels = np.where(rng.random(n) < 0.5, probabilities.argmax(axis=1), rng.integers(c, size=n))
    return probabilities, labels


def test_metrics_by_hand():
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    confusion = confusion_matrix(labels, predicted, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    by_class = per_class(confusion)
    np.testing.assert_allclose(by_class["precision"], [1, 0.5, 0.5, 0])
    np.testing.assert_allclose(by_class["recall"], [2 / 3, 0.5, 1, 0])
    np.testing.assert_allclose(by_class["f1"], [0.8, 0.5, 2 / 3, 0])
    assert by_class["support"].tolist() == [3, 2, 1, 0]


def test_evaluate_agrees_with_scikit_learn():
    probabilities, labels = random_predictions()
    predicted = probabilities.argmax(axis=1)
    ours = evaluate(probabilities, labels, genres=GENRES)
    assert ours["n"] == 200
    assert ours["accuracy"] == sk.accuracy_score(labels, predicted)
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert ours["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert ours["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities, labels=range(4)))
    assert ours["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    theirs = sk.precision_recall_fscore_support(labels, predicted)
    for i, genre in enumerate(GENRES):
        measured = [ours["per_genre"][genre][name] for name in ("precision", "recall", "f1", "support")]
        assert measured == pytest.approx([column[i] for column in theirs])
    assert (ours["accuracy_low"], ours["accuracy_high"]) == wilson(round(200 * ours["accuracy"]), 200)


def test_means_are_over_the_genres_that_occur_and_the_result_is_json():
    probabilities = np.eye(4)[[0, 1, 1]]
    ours = evaluate(probabilities, np.array([0, 1, 0]), genres=GENRES)
    assert json.loads(json.dumps(ours, allow_nan=False)) == ours
    assert ours["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert ours["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    pop = ours["per_genre"]["pop"]
    assert [pop[name] for name in ("precision", "recall", "f1", "support")] == [0, 0, 0, 0]
    assert pop["recall_interval"] == [0, 1]


def test_segments_of_one_track_widen_the_interval():
    rng = np.random.default_rng(5)
    tracks = np.repeat(np.arange(40), 15)
    correct = (rng.random(40) < 0.7)[tracks]  # all segments of a track are correct, or none is
    probabilities = np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9])
    labels = np.zeros(600, int)
    independent = evaluate(probabilities, labels, genres=["a", "b"])
    clustered = evaluate(probabilities, labels, genres=["a", "b"], clusters=tracks)
    assert clustered["accuracy"] == independent["accuracy"]
    wide, narrow = (result["accuracy_high"] - result["accuracy_low"] for result in (clustered, independent))
    # Fifteen copies of forty predictions are as informative as forty predictions.
    assert wide / narrow == pytest.approx(math.sqrt(15), rel=0.1)


@pytest.mark.parametrize(
    ("probabilities", "labels", "genres"),
    [
        (np.full((2, 2), 0.5), [0, 2], ["a", "b"]),
        (np.full((2, 2), 0.5), [0], ["a", "b"]),
        (np.full((2, 2), 0.5), [0, 1], ["a", "b", "c"]),
        (np.array([[2.0, -1.0]]), [0], ["a", "b"]),
        (np.array([[3.0, 1.0]]), [0], ["a", "b"]),
        (np.array([[np.nan, 1.0]]), [0], ["a", "b"]),
        (np.zeros((0, 2)), [], ["a", "b"]),
    ],
)
def test_invalid_arguments_are_refused(probabilities, labels, genres):
    with pytest.raises(ParameterError):
        evaluate(probabilities, np.array(labels), genres=genres)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (7, 10), (190, 290), (1, 1)])
def test_wilson_agrees_with_scipy(k, n):
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_invalid_counts(k, n):
    with pytest.raises(ParameterError):
        wilson(k, n)


def test_bootstrap_of_independent_values_is_near_the_normal_interval():
    correct = np.arange(400) % 10 < 7
    half = 1.96 * math.sqrt(0.7 * 0.3 / 400)
    assert bootstrap_interval(correct) == pytest.approx((0.7 - half, 0.7 + half), abs=0.006)
    assert bootstrap_interval(correct) == bootstrap_interval(correct)


def test_clusters_are_weighted_by_their_size():
    # Two clusters of three correct values and of a wrong one: bootstrap samples have the means 1, 3/4 or 0.
    low, high = bootstrap_interval([1, 1, 1, 0], clusters=["x", "x", "x", "y"], confidence=0.4)
    assert (low, high) == (0.75, 0.75)


def exact(candidate, champion):
    """Return the probability over all possible bootstrap samples."""
    gains = np.array(candidate, int) - np.array(champion, int)
    signs = [np.sign(sum(gains[i] for i in drawn)) for drawn in product(range(len(gains)), repeat=len(gains))]
    return (np.mean(signs) + 1) / 2


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        ([1, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]),
        ([1, 0, 0, 0, 1], [0, 0, 0, 0, 1]),
        ([0, 0, 1, 0], [1, 1, 0, 0]),
    ],
)
def test_probability_better_is_close_to_the_exact_one(candidate, champion):
    assert probability_better(candidate, champion) == pytest.approx(exact(candidate, champion), abs=0.015)


def test_equal_classifiers_give_one_half_and_the_roles_are_symmetric():
    rng = np.random.default_rng(2)
    a, b = rng.random(290) < 0.8, rng.random(290) < 0.75
    assert probability_better(a, a) == 0.5
    assert probability_better(a, b) + probability_better(b, a) == 1
    assert probability_better(np.ones(30), np.zeros(30)) == 1
    assert probability_better(np.zeros(30), np.ones(30)) == 0


def test_gains_of_one_artist_are_weaker_evidence_than_those_of_many():
    candidate, champion = np.ones(60, bool), np.ones(60, bool)
    champion[:6] = False
    one_artist = np.concatenate([np.zeros(6, int), np.arange(1, 55)])
    assert probability_better(candidate, champion) > 0.99
    assert probability_better(candidate, champion, clusters=one_artist) < 0.85


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ParameterError, match="correct_candidate"):
        probability_better([1, 0], [1, 0, 1])


def test_intervals_of_a_genre_cover_the_true_recall():
    """Of 400 samples with a true recall of 0.7, about 95 % of the intervals contain it."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    covered = 0
    for _ in range(400):
        predicted = np.where(rng.random(120) < 0.7, labels, 1 - labels)
        (low, high), _ = per_class_intervals(labels, predicted, 2)["recall"]
        covered += low <= 0.7 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_intervals_of_a_genre_by_hand():
    labels, predicted = np.array([0] * 10 + [1] * 10), np.array([0] * 8 + [1] * 2 + [1] * 10)
    intervals = per_class_intervals(labels, predicted, 3)
    assert intervals["recall"][0] == pytest.approx(wilson(8, 10))
    assert intervals["precision"][0] == pytest.approx(wilson(8, 8))
    low, high = wilson(8, 10)  # tp / (tp + fp + fn)
    assert intervals["f1"][0] == pytest.approx([2 * low / (1 + low), 2 * high / (1 + high)])
    np.testing.assert_array_equal([pairs[2] for pairs in intervals.values()], [[0, 1]] * 3)


def test_clusters_widen_the_interval_of_a_genre():
    labels = np.repeat([0, 1], 40)
    predicted = np.where(np.arange(80) % 8 < 4, labels, 1 - labels)  # of every second artist all tracks are wrong
    alone = per_class_intervals(labels, predicted, 2)
    artists = per_class_intervals(labels, predicted, 2, clusters=np.arange(80) // 4)
    for name in ("precision", "recall", "f1"):
        assert (np.diff(artists[name]) > 1.3 * np.diff(alone[name])).all()


def test_an_accuracy_of_one_has_an_interval_of_some_width_with_clusters_too():
    measured = evaluate(
        np.eye(2)[[0] * 8 + [1] * 8], np.array([0] * 8 + [1] * 8), genres=["a", "b"], clusters=np.arange(16) // 4
    )
    assert measured["accuracy_low"] == pytest.approx(wilson(16, 16)[0])
    assert measured["per_genre"]["a"]["recall_interval"] == pytest.approx(list(wilson(8, 8)))
