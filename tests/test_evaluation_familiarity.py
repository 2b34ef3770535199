"""Distances to prototypes of the training music, and the threshold above which a track is refused."""

import numpy as np
import pytest

from genreflow.errors import ParameterError
from genreflow.evaluation.familiarity import fit_prototypes, refusal_threshold, unfamiliarity


def directions(n, size=24, seed=0):
    """Random orthonormal directions [shape=(n, size)]."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0][:n]


def tracks(centres, per_centre, *, spread=0.05, seed=1):
    rng = np.random.default_rng(seed)
    rows = np.repeat(centres, per_centre, axis=0)
    return (rows + spread * rng.standard_normal(rows.shape)) * rng.uniform(0.5, 20, (len(rows), 1))


def test_few_tracks_are_the_prototypes():
    rows = tracks(directions(4), 3)
    labels = np.repeat([1, 0, 1, 2], 3)
    prototypes = fit_prototypes(rows, labels)
    order = np.argsort(labels, kind="stable")
    np.testing.assert_allclose(prototypes, rows[order] / np.linalg.norm(rows[order], axis=1, keepdims=True), atol=1e-6)
    assert prototypes.dtype == np.float32
    np.testing.assert_allclose(unfamiliarity(rows, prototypes, nearest=1), 0, atol=1e-6)


def test_prototypes_are_the_centres_of_clusters_within_genres():
    centres = directions(6)
    rows, labels = tracks(centres, 40), np.repeat([0, 0, 0, 1, 1, 1], 40)
    prototypes = fit_prototypes(rows, labels, per_genre=3)
    assert prototypes.shape == (6, 24)
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1, atol=1e-6)
    cosine = centres @ prototypes.T
    assert (cosine.max(axis=1) > 0.99).all()
    assert (np.sort(cosine[:3].argmax(axis=1)) == [0, 1, 2]).all()  # of the first genre
    np.testing.assert_array_equal(prototypes, fit_prototypes(rows, labels, per_genre=3))


def test_equal_tracks_give_one_prototype():
    rows = np.tile(directions(1), (9, 1))
    assert len(fit_prototypes(rows, np.zeros(9, int), per_genre=4)) == 1


def test_unknown_directions_are_less_familiar():
    centres = directions(8)
    prototypes = fit_prototypes(tracks(centres[:6], 30), np.repeat(np.arange(6), 30), per_genre=5)
    known = unfamiliarity(tracks(centres[:6], 10, seed=2), prototypes)
    unknown = unfamiliarity(tracks(centres[6:], 10, seed=2), prototypes)
    assert known.max() < 0.3 < 0.7 < unknown.min()
    # The length of an embedding does not count.
    np.testing.assert_allclose(unfamiliarity(7 * centres, prototypes), unfamiliarity(centres, prototypes))


def test_distance_is_the_mean_over_the_nearest():
    prototypes = np.array([[1.0, 0], [0, 1], [-1, 0]])
    row = np.array([[2.0, 0]])
    assert unfamiliarity(row, prototypes, nearest=1) == pytest.approx(0)
    assert unfamiliarity(row, prototypes, nearest=2) == pytest.approx(0.5)
    assert unfamiliarity(row, prototypes, nearest=9) == pytest.approx(1)
    assert unfamiliarity(0 * row, prototypes) == pytest.approx(1)


@pytest.mark.parametrize(("share", "refused"), [(0.05, 5), (0.0, 0), (0.059, 5), (0.5, 50)])
def test_at_most_the_share_of_known_tracks_is_refused(share, refused):
    distances = np.random.default_rng(0).permutation(np.linspace(0.1, 0.9, 100))
    assert (distances > refusal_threshold(distances, share=share)).sum() == refused


def test_equal_distances_and_few_tracks_refuse_fewer():
    assert refusal_threshold(np.array([0.3])) == 0.3
    assert refusal_threshold(np.array([0.3, 0.7, 0.7, 0.7]), share=0.5) == 0.7


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fit_prototypes(np.ones(3), np.zeros(3, int)), "embeddings"),
        (lambda: fit_prototypes(np.full((2, 2), np.nan), np.zeros(2, int)), "embeddings"),
        (lambda: fit_prototypes(np.ones((2, 2)), np.zeros(3, int)), "labels"),
        (lambda: fit_prototypes(np.ones((0, 2)), np.zeros(0, int)), "labels"),
        (lambda: fit_prototypes(np.ones((2, 2)), np.zeros(2, int), per_genre=0), "per_genre"),
        (lambda: unfamiliarity(np.ones((2, 3)), np.ones((2, 2))), "prototypes"),
        (lambda: unfamiliarity(np.ones((2, 3)), np.ones((0, 3))), "prototypes"),
        (lambda: unfamiliarity(np.full((2, 3), np.inf), np.ones((2, 3))), "embeddings"),
        (lambda: unfamiliarity(np.ones((2, 3)), np.ones((2, 3)), nearest=0), "nearest"),
        (lambda: refusal_threshold(np.ones(0)), "unfamiliarities"),
        (lambda: refusal_threshold(np.array([0.1, np.nan])), "unfamiliarities"),
        (lambda: refusal_threshold(np.ones(3), share=1.0), "share"),
        (lambda: refusal_threshold(np.ones(3), share=-0.1), "share"),
    ],
)
def test_invalid_arguments_are_named(call, name):
    with pytest.raises(ParameterError, match=f"^{name} must be|^{name} must have"):
        call()
