"""Segments are cut where they should be, and augmentation changes what it says, reproducibly."""

import numpy as np
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.training.batches import SMALLEST_DEVIATION, SegmentSet, augment, training_batch
from genreflow.training.options import FitOptions


def numbered(frames, bands=6, first=0):
    """A piece in which the frame number can be read off every band."""
    return np.repeat(np.arange(first, first + frames, dtype="uint8")[:, None], bands, axis=1)


@pytest.fixture
def data():
    return SegmentSet([numbered(25), numbered(7, first=100), numbered(20, first=200)], [2, 2, 0], [0, 0, 1], 10, 5)


def test_segments_in_evaluation_order(data):
    assert data.start.tolist() == [0, 5, 10, 15, 0, 0, 5, 10]
    assert data.track.tolist() == [0] * 5 + [1] * 3
    assert data.label.tolist() == [2] * 5 + [0] * 3
    assert data.track_labels.tolist() == [2, 0]
    assert (data.n_segments, data.n_tracks, data.n_mels) == (8, 2, 6)
    x = data.segments([1, 4, 7])
    assert x.dtype == np.float32
    frames = np.rint(x * 255)[:, :, 0]
    assert frames[0].tolist() == list(range(5, 15))
    assert frames[1].tolist() == [*range(100, 107), 0, 0, 0]  # shorter than a segment: padded at its end
    assert frames[2].tolist() == list(range(210, 220))
    np.testing.assert_array_equal(data.segments(slice(0, 8))[[1, 4, 7]], x)


def test_segments_are_what_the_service_sees(data):
    # The same rule as features.segments, the same scale: no skew.
    from genreflow.features.segments import iter_segments

    starts, segments, _ = next(iter(iter_segments([data.pieces[0]], length=10, hop=5)))
    np.testing.assert_array_equal(data.start[:4], starts)
    np.testing.assert_array_equal(data.segments(slice(0, 4)), segments)


def test_crops_start_anywhere_inside_their_own_piece(data):
    rng = np.random.default_rng(0)
    frames = np.rint(data.crops([0] * 300, rng) * 255)[:, :, 0]
    assert set(frames[:, 0].astype(int)) == set(range(16))
    assert (np.diff(frames, axis=1) == 1).all()
    padded = np.rint(data.crops([4] * 5, rng) * 255)[:, :, 0]
    assert (padded[:, :7] == np.arange(100, 107)).all()
    assert not padded[:, 7:].any()


def test_stretched_crops_change_the_tempo_only_so_far():
    data = SegmentSet([numbered(250)], [0], [0], length=101, hop=50)
    spans = np.ptp(np.rint(data.crops([0] * 200, np.random.default_rng(0), stretch=0.2) * 255)[:, :, 0], axis=1)
    assert 80 <= spans.min() < 85
    assert 115 < spans.max() <= 120


def test_a_crop_is_never_read_past_the_end_of_a_piece_that_holds_a_segment():
    data = SegmentSet([numbered(104)], [0], [0], length=101, hop=50)
    frames = np.rint(data.crops([0] * 200, np.random.default_rng(0), stretch=0.2) * 255)[:, :, 0]
    assert (np.diff(frames, axis=1) >= 0).all()  # padding would be 0, after the last frame
    assert frames.max() == 103
    assert np.ptp(frames, axis=1).max() == 103


def test_standardisation_is_exact_and_bounded():
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 256, (n, 5), dtype="uint8") for n in (30, 71)]
    for piece in pieces:
        piece[:, 3] = 17
    mean, variance = SegmentSet(pieces, [0, 1], [0, 1], 10, 5).standardisation()
    values = np.concatenate(pieces) / 255
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(variance[:3], values.var(axis=0)[:3], rtol=1e-9)
    assert variance[3] == SMALLEST_DEVIATION**2


def test_memory_mapped_pieces_are_not_copied(tmp_path):
    np.save(tmp_path / "shard.npy", np.vstack([numbered(40), numbered(40)]))
    shard = np.load(tmp_path / "shard.npy", mmap_mode="r")
    data = SegmentSet([shard[:40], shard[40:]], [0, 1], [0, 1], 10, 5)
    assert all(np.shares_memory(piece, shard) for piece in data.pieces)
    assert np.rint(data.segments([8]) * 255)[0, :, 0].tolist() == list(range(5, 15))


@pytest.mark.parametrize(
    ("pieces", "labels", "tracks", "says"),
    [
        ([], [], [], "0 pieces"),
        ([numbered(9)], [0, 1], [0], "2 labels"),
        ([numbered(9), numbered(9, bands=5)], [0, 1], [0, 1], r"\[5, 6\]"),
        ([numbered(9).astype("float32")], [0], [0], "uint8"),
        ([numbered(9), numbered(9)], [0, 1], [0, 0], "two labels"),
        ([numbered(9)], [0], [1], "without any piece"),
    ],
)
def test_what_does_not_fit_together_is_refused(pieces, labels, tracks, says):
    with pytest.raises(GenreflowError, match=says):
        SegmentSet(pieces, labels, tracks, 10, 5)


def test_batch_without_augmentation_is_the_segments(data):
    x, y = training_batch(data, np.array([6, 1]), np.random.default_rng(0), FitOptions.plain(), classes=4)
    np.testing.assert_array_equal(x, data.segments([6, 1]))
    assert y.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_same_chance_same_batch(data):
    everything = FitOptions(stretch=0.1, band_shift=1, gain=0.1, time_masks=1, band_masks=1, mixup=0.5)
    first, again, other = (
        training_batch(data, np.arange(8), np.random.default_rng(seed), everything, classes=3) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert first[0].dtype == first[1].dtype == np.float32
    assert first[0].min() >= 0
    assert first[0].max() <= 1


def test_mixup_mixes_labels_as_it_mixes_segments():
    pieces = [np.full((10, 4), level, "uint8") for level in (0, 255)]
    data = SegmentSet(pieces, [0, 1], [0, 1], 10, 5)
    x, y = training_batch(
        data, np.arange(2).repeat(100), np.random.default_rng(0), FitOptions.plain(mixup=1.0), classes=2
    )
    # The level says how much of label 1 is in the mixture.
    np.testing.assert_allclose(x[:, 0, 0], y[:, 1], atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert ((y[:, 1] > 0.1) & (y[:, 1] < 0.9)).sum() > 30
    assert (y.max(axis=1) >= 0.5).all()


def changed(rng_seed=0, n=200, **options):
    """Segments in which each cell differs, before and after."""
    before = np.random.default_rng(9).uniform(0.3, 0.7, (n, 20, 12)).astype("float32")
    after = before.copy()
    augment(after, np.random.default_rng(rng_seed), FitOptions.plain(**options))
    return before, after


def test_gain_moves_a_whole_segment():
    before, after = changed(gain=0.1)
    shift = after - before
    assert np.ptp(shift, axis=(1, 2)).max() < 1e-6
    assert 0.08 < np.abs(shift).max() <= 0.1 + 1e-6
    assert np.unique(np.sign(shift[:, 0, 0])).tolist() == [-1, 1]


def test_band_shift_moves_whole_bands():
    before, after = changed(band_shift=2)
    seen = set()
    for old, new in zip(before, after, strict=True):
        (shift,) = [s for s in range(-2, 3) if (new[:, 2:-2] == np.roll(old, s, axis=1)[:, 2:-2]).all()]
        seen.add(shift)
        if shift > 0:
            assert (new[:, :shift] == old[:, :1]).all()
    assert seen == {-2, -1, 0, 1, 2}


def test_translation_moves_both_axes_and_repeats_the_ends():
    before = np.add.outer(np.arange(40), 100 * np.arange(20)).astype("float32")[None] / 2000
    seen = set()
    for seed in range(40):
        x = before.copy()
        augment(x, np.random.default_rng(seed), FitOptions.plain(translation=0.1))
        rows, columns = np.divmod(np.rint(x[0] * 2000).astype(int), 100)[::-1]
        down, right = rows[20, 0] - 20, columns[0, 10] - 10
        np.testing.assert_array_equal(rows[:, 0], np.clip(np.arange(40) + down, 0, 39))
        np.testing.assert_array_equal(columns[0], np.clip(np.arange(20) + right, 0, 19))
        seen.add((down, right))
    assert max(abs(down) for down, _ in seen) == 4
    assert max(abs(right) for _, right in seen) == 2
    assert len({down * right > 0 for down, right in seen}) == 2  # the axes move apart from each other


def test_zoom_changes_the_size_about_the_middle():
    before = np.repeat(np.arange(101, dtype="float32")[:, None], 101, axis=1)[None] / 100
    spans = []
    for seed in range(60):
        x = before.copy()
        augment(x, np.random.default_rng(seed), FitOptions.plain(zoom=0.1))
        assert x[0, 50, 0] == pytest.approx(0.5, abs=1e-6)
        spans.append(float(x[0, 90, 0] - x[0, 10, 0]))
    assert 0.72 <= min(spans) < 0.75
    assert 0.85 < max(spans) <= 0.88


def test_contrast_and_noise_change_the_spread_and_nothing_else():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.4, 0.6, (200, 8, 8)).astype("float32")
    x = before.copy()
    augment(x, rng, FitOptions.plain(contrast=0.2))
    np.testing.assert_allclose(x.mean(axis=(1, 2)), before.mean(axis=(1, 2)), atol=1e-5)
    ratio = x.std(axis=(1, 2)) / before.std(axis=(1, 2))
    assert 0.8 <= ratio.min() < 0.83
    assert 1.17 < ratio.max() <= 1.2 + 1e-5
    x = before.copy()
    augment(x, rng, FitOptions.plain(noise=0.01))
    assert (x - before).std() == pytest.approx(0.01, rel=0.05)
    assert abs((x - before).mean()) < 1e-3


@pytest.mark.parametrize(("kind", "axis", "size"), [("time", 1, 20), ("band", 2, 12)])
def test_masks_blank_one_stretch_with_the_mean(kind, axis, size):
    before, after = changed(**{f"{kind}_masks": 1, f"{kind}_mask_width": 0.5})
    masked = (after != before).all(axis=3 - axis)
    assert ((after != before) == np.expand_dims(masked, 3 - axis)).all()  # whole frames, or whole bands
    widths = masked.sum(axis=1)
    assert widths.max() == size // 2
    assert widths.min() == 0
    edges = np.abs(np.diff(np.pad(masked, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1)
    assert set(edges) == {0, 2}
    fill = np.broadcast_to(before.mean(axis=1, keepdims=True), before.shape)
    np.testing.assert_allclose(after[after != before], fill[after != before], rtol=1e-5)


def test_options_know_their_ranges_and_take_the_rest_from_the_model():
    for wrong in ({"epochs": 0}, {"label_smoothing": 1.0}, {"optimiser": "lion"}, {"epoch": 3}, {"gain": -0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FitOptions(**wrong)
    assert FitOptions().resolved("cnn_gru").optimiser == "momentum"
    assert FitOptions(learning_rate=0.5).resolved("cnn_gru").learning_rate == 0.5
    assert FitOptions().resolved("mine").learning_rate is None


def test_hop_and_length_are_checked():
    with pytest.raises(ParameterError):
        SegmentSet([numbered(9)], [0], [0], length=10, hop=0)
