"""One track that is much longer than the others dominates neither training nor what is fitted to validation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genreflow.features.segments import limit_per_track
from genreflow.training.batches import TrainingBatches
from genreflow.training.calibration import calibrate
from genreflow.training.fit import evaluate
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet
from training_toy import BANDS, LENGTH, make_model

HOP = LENGTH // 2
SHORT, MIX = 15 * HOP, 3600 * HOP  # 14 and 3,599 segments: 30 s and two hours
CAP = 2.0


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, BANDS), dtype=np.uint8)


@pytest.fixture(scope="module")
def pieces() -> list[np.ndarray]:
    """Two genres of eight clips; the last track is a mix of two hours, in two pieces, and belongs to the second."""
    return [*(noise(SHORT, seed) for seed in range(16)), noise(MIX // 2, 16), noise(MIX // 2, 17)]


def with_mix(pieces: list[np.ndarray], cap: float | None = CAP) -> SegmentSet:
    labels, tracks = [*[0] * 8, *[1] * 10], [*range(17), 16]
    return SegmentSet(pieces, labels, tracks, LENGTH, HOP, track_cap=cap)


def test_no_track_has_more_than_its_share_of_a_pass(pieces):
    data = with_mix(pieces)
    assert np.bincount(data.track).tolist() == [14] * 16 + [3598]
    drawn = data.draw(np.random.default_rng(0))
    assert np.bincount(data.track[drawn]).tolist() == data.drawn_per_track.tolist() == [14] * 16 + [28]
    assert len(drawn) == len(set(drawn.tolist())) == data.n_drawn
    second_genre = data.label[drawn] == 1
    assert (data.track[drawn] == 16).sum() / second_genre.sum() == 28 / (8 * 14 + 28)  # 0.2 instead of 0.97


def test_each_pass_draws_other_segments_until_all_were_drawn(pieces):
    data = with_mix(pieces)
    passes = [data.draw(np.random.default_rng(number)) for number in range(600)]
    times = np.bincount(np.concatenate(passes), minlength=data.n_segments)
    assert (times[data.track < 16] == 600).all()
    of_mix = times[data.track == 16]
    assert of_mix.mean() == pytest.approx(600 * 28 / 3598)
    assert (of_mix > 0).mean() > 0.98  # 1 - exp(-4.7) = 0.99
    assert np.ptp([half.mean() for half in np.array_split(of_mix, 2)]) < 0.3
    again = data.draw(np.random.default_rng(7))
    np.testing.assert_array_equal(passes[7], again)


@pytest.mark.parametrize("cap", [None, 1.0, 300.0])
def test_tracks_within_the_limit_are_shuffled_as_without_one(pieces, cap):
    chosen = pieces if cap != 1.0 else pieces[:16]
    labels, tracks = [*[0] * 8, *[1] * 10][: len(chosen)], [*range(17), 16][: len(chosen)]
    data = SegmentSet(chosen, labels, tracks, LENGTH, HOP, track_cap=cap)
    expected = np.random.default_rng([3, 5]).permutation(data.n_segments)
    np.testing.assert_array_equal(data.draw(np.random.default_rng([3, 5])), expected)


@given(
    counts=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    cap=st.one_of(st.none(), st.floats(1, 50)),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_pass_has_of_each_track_what_the_limit_allows(counts, cap, seed):
    limited = limit_per_track(counts, cap)
    assert (limited >= 1).all()
    assert (limited <= counts).all()
    if cap is not None:
        assert limited.max() < cap * np.median(counts) + 1
    frames = [LENGTH + (count - 1) * HOP for count in counts]
    data = SegmentSet([noise(n) for n in frames], [0] * len(counts), range(len(counts)), LENGTH, HOP, track_cap=cap)
    drawn = data.draw(np.random.default_rng(seed))
    assert np.bincount(data.track[drawn], minlength=len(counts)).tolist() == limited.tolist()
    assert len(set(drawn.tolist())) == data.n_drawn == limited.sum()


def test_epochs_and_class_weights_are_those_of_a_pass(pieces):
    data = with_mix(pieces)
    options = FitOptions.unregularised(batch_size=data.n_drawn, class_weights=True)
    batches = TrainingBatches(data, options, classes=2)
    assert batches.segments_per_epoch == data.n_drawn == 16 * 14 + 28
    _, y, weights = batches.batch(0, 0)
    assert y.sum(axis=0).tolist() == [8 * 14, 8 * 14 + 28]
    np.testing.assert_allclose(y.T @ weights, data.n_drawn / 2, rtol=1e-5)

    small = FitOptions.unregularised(batch_size=21, segments_per_epoch=42)
    batches = TrainingBatches(data, small, classes=2)
    assert (len(batches), batches.segments_per_epoch) == (2, 42)
    whole = TrainingBatches(data, FitOptions.unregularised(batch_size=21), classes=2)
    assert len(whole) == data.n_drawn // 21 == 12
    for epoch in range(7):  # the seventh begins the second pass
        for index in range(2):
            expected = whole.batch(*divmod(2 * epoch + index, 12))
            np.testing.assert_array_equal(batches.batch(epoch, index)[0], expected[0])


def test_a_track_counts_in_the_statistics_as_much_as_in_a_pass():
    quiet, loud = np.full((14 * HOP + LENGTH, BANDS), 51, np.uint8), np.full((MIX, BANDS), 255, np.uint8)
    pieces = [quiet, quiet, quiet, loud]
    data = SegmentSet(pieces, [0] * 4, range(4), LENGTH, HOP, track_cap=CAP)
    share = data.drawn_per_track[3] / len(data.start[data.track == 3])
    frames = np.array([3 * len(quiet), share * MIX])
    mean = frames @ [0.2, 1.0] / frames.sum()
    assert mean < 0.6
    np.testing.assert_allclose(data.band_statistics()[0], mean)
    np.testing.assert_allclose(data.band_statistics()[1], frames @ [0.04, 1.0] / frames.sum() - mean**2)
    plain = SegmentSet(pieces, [0] * 4, range(4), LENGTH, HOP)
    assert plain.band_statistics()[0].min() > 0.97


@pytest.fixture(scope="module")
def model():
    return make_model()


def test_what_is_fitted_to_validation_depends_on_tracks_not_on_their_lengths(model):
    """A track that repeats itself fifty times is worth one that does not."""
    clips = [noise(LENGTH, seed) for seed in range(12)]
    labels = np.arange(12) % 3
    plain = SegmentSet(clips, labels, range(12), LENGTH, LENGTH)
    repeated = [*clips[:11], np.tile(clips[11], (50, 1))]
    long = SegmentSet(repeated, labels, range(12), LENGTH, LENGTH)
    assert long.n_segments == 61
    expected, found = evaluate(model, plain), evaluate(model, long)
    assert found["track_accuracy"] == expected["track_accuracy"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)  # decides between equal accuracies
    expected, found = calibrate(model, plain, abstain_below=None), calibrate(model, long, abstain_below=None)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert found.abstain_below == pytest.approx(expected.abstain_below, rel=1e-3)
