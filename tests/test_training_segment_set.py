"""Segments start where they should, and each augmentation changes what it says, reproducibly."""

import numpy as np
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.training.augment import draw_augmentation
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import MIN_DEVIATION, SegmentSet


def numbered(frames, bands=6, first=0):
    """A piece whose levels are the frame numbers."""
    return np.repeat(np.arange(first, first + frames, dtype="uint8")[:, None], bands, axis=1)


@pytest.fixture
def data():
    return SegmentSet([numbered(25), numbered(7, first=100), numbered(20, first=200)], [2, 2, 0], [0, 0, 1], 10, 5)


def test_segments_come_in_the_order_of_pieces_and_starts(data):
    assert data.start.tolist() == [0, 5, 10, 15, 0, 0, 5, 10]
    assert data.track.tolist() == [0] * 5 + [1] * 3
    assert data.label.tolist() == [2] * 5 + [0] * 3
    assert data.track_labels.tolist() == [2, 0]
    assert (data.n_segments, data.n_tracks, data.n_mels) == (8, 2, 6)
    x = data.segments([1, 4, 7])
    assert x.dtype == np.float32
    frames = np.rint(x * 255)[:, :, 0]
    assert frames[0].tolist() == list(range(5, 15))
    assert frames[1].tolist() == [*range(100, 107), 0, 0, 0]  # shorter than a segment: padded at the end
    assert frames[2].tolist() == list(range(210, 220))
    np.testing.assert_array_equal(data.segments(slice(0, 8))[[1, 4, 7]], x)


def test_segments_equal_those_of_the_service(data):
    from genreflow.features.segments import iter_segments

    starts, segments, _ = next(iter(iter_segments([data.pieces[0]], length=10, hop=5)))
    np.testing.assert_array_equal(data.start[:4], starts)
    np.testing.assert_array_equal(data.segments(slice(0, 4)), segments)


def test_random_crops_start_anywhere_in_their_piece(data):
    rng = np.random.default_rng(0)
    frames = data.random_crops([0] * 300, rng)
    assert set(frames[:, 0].astype(int)) == set(range(16))
    assert (np.diff(frames, axis=1) == 1).all()
    x, _ = data.augmented_batch([4] * 5, rng, FitOptions.unregularised(random_crop=True), 3)
    padded = np.rint(x * 255)[:, :, 0]
    assert (padded[:, :7] == np.arange(100, 107)).all()
    assert not padded[:, 7:].any()


def test_stretch_limits_the_change_of_tempo():
    data = SegmentSet([numbered(250)], [0], [0], length=101, hop=50)
    spans = np.ptp(data.random_crops([0] * 200, np.random.default_rng(0), stretch=0.2), axis=1)
    assert 80 <= spans.min() < 85
    assert 115 < spans.max() <= 120


def test_a_stretched_crop_never_ends_after_a_piece_that_holds_a_segment():
    data = SegmentSet([numbered(104)], [0], [0], length=101, hop=50)
    frames = data.random_crops([0] * 200, np.random.default_rng(0), stretch=0.2)
    assert (np.diff(frames, axis=1) >= 0).all()
    assert frames.max() == 103
    assert np.ptp(frames, axis=1).max() == 103


def test_band_statistics_are_exact_and_bounded():
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 256, (n, 5), dtype="uint8") for n in (30, 71)]
    for piece in pieces:
        piece[:, 3] = 17
    mean, variance = SegmentSet(pieces, [0, 1], [0, 1], 10, 5).band_statistics()
    values = np.concatenate(pieces) / 255
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(variance[:3], values.var(axis=0)[:3], rtol=1e-9)
    assert variance[3] == MIN_DEVIATION**2


def test_the_mean_peak_counts_each_track_once():
    pieces = [np.full((n, 2), level, "uint8") for n, level in ((30, 51), (12, 255), (9, 102))]
    assert SegmentSet(pieces, [0, 0, 1], [0, 0, 1], 10, 5).mean_peak() == pytest.approx((1.0 + 0.4) / 2)


def test_memory_mapped_pieces_are_not_copied(tmp_path):
    np.save(tmp_path / "shard.npy", np.vstack([numbered(40), numbered(40)]))
    shard = np.load(tmp_path / "shard.npy", mmap_mode="r")
    data = SegmentSet([shard[:40], shard[40:]], [0, 1], [0, 1], 10, 5)
    assert all(np.shares_memory(piece, shard) for piece in data.pieces)
    assert np.rint(data.segments([8]) * 255)[0, :, 0].tolist() == list(range(5, 15))


def test_the_kernels_read_the_pieces_themselves():
    piece = numbered(10)
    data = SegmentSet([piece], [0], [0], 10, 5)
    piece[3] = 77
    assert np.rint(data.segments([0]) * 255)[0, 3].tolist() == [77] * 6


@pytest.mark.parametrize(
    ("pieces", "labels", "tracks", "named"),
    [
        ([], [], [], "pieces"),
        ([numbered(9)], [0, 1], [0], "labels"),
        ([numbered(9), numbered(9, bands=5)], [0, 1], [0, 1], "bands"),
        ([numbered(9).astype("float32")], [0], [0], "float32"),
        ([numbered(9), numbered(9)], [0, 1], [0, 0], "label"),
        ([numbered(9)], [0], [1], "segment"),
    ],
)
def test_arguments_that_do_not_match_are_refused(pieces, labels, tracks, named):
    with pytest.raises(GenreflowError, match=named):
        SegmentSet(pieces, labels, tracks, 10, 5)


def test_length_and_hop_must_be_positive():
    with pytest.raises(ParameterError):
        SegmentSet([numbered(9)], [0], [0], length=10, hop=0)


def test_without_augmentation_a_batch_is_the_segments(data):
    x, y = data.augmented_batch(np.array([6, 1]), np.random.default_rng(0), FitOptions.unregularised(), classes=4)
    np.testing.assert_array_equal(x, data.segments([6, 1]))
    assert y.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_the_same_random_state_gives_the_same_batch(data):
    options = FitOptions(stretch=0.1, band_shift=1, gain=0.1, time_masks=1, band_masks=1, mixup=0.5)
    first, again, other = (
        data.augmented_batch(np.arange(8), np.random.default_rng(seed), options, classes=3) for seed in (1, 1, 2)
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
    options = FitOptions.unregularised(mixup=1.0)
    x, y = data.augmented_batch(np.arange(2).repeat(100), np.random.default_rng(0), options, classes=2)
    # The level is the weight of label 1 in the mixture.
    np.testing.assert_allclose(x[:, 0, 0], y[:, 1], atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert ((y[:, 1] > 0.1) & (y[:, 1] < 0.9)).sum() > 30
    assert (y.max(axis=1) >= 0.5).all()


def augmented(pieces=None, *, rng_seed=0, **options):
    """Segments before and after augmentation; by default 200 of 20 frames and 12 bands."""
    if pieces is None:
        pieces = np.random.default_rng(9).integers(76, 179, (200, 20, 12), dtype="uint8")
    n, frames, _ = pieces.shape
    data = SegmentSet(list(pieces), [0] * n, range(n), frames, frames)
    rng, fit_options = np.random.default_rng(rng_seed), FitOptions.unregularised(**options)
    after, _ = data.augmented_batch(np.arange(n), rng, fit_options, classes=2)
    return data.segments(np.arange(n)), after


def test_every_byte_is_divided_by_255_exactly():
    before, _ = augmented(np.arange(256, dtype="uint8").reshape(1, 2, 128))
    np.testing.assert_array_equal(before.ravel(), np.arange(256, dtype="float32") / np.float32(255))


def test_gain_shifts_the_level_of_a_whole_segment():
    before, after = augmented(gain=0.1)
    shift = after - before
    assert np.ptp(shift, axis=(1, 2)).max() < 1e-6
    assert 0.08 < np.abs(shift).max() <= 0.1 + 1e-6
    assert np.unique(np.sign(shift[:, 0, 0])).tolist() == [-1, 1]


def test_the_equaliser_is_a_piecewise_linear_curve_over_the_bands():
    pieces = np.full((200, 4, 51), 128, "uint8")  # a knot at every tenth band
    before, after = augmented(pieces, equaliser=0.1)
    curve = (after - before)[:, 0]
    np.testing.assert_allclose(after - before, np.repeat(curve[:, None], 4, axis=1), atol=1e-6)
    assert 0.09 < np.abs(curve).max() <= 0.1 + 1e-6
    bends = np.abs(np.diff(curve, n=2, axis=1)) > 1e-5
    assert set(np.flatnonzero(bends.any(axis=0)) + 1) == {10, 20, 30, 40}
    assert abs(np.corrcoef(curve[:, 0], curve[:, 10])[0, 1]) < 0.3  # knots are independent


def test_levels_are_clipped_to_their_range():
    pieces = np.random.default_rng(0).integers(0, 256, (50, 20, 12), dtype="uint8")
    for options in ({"gain": 0.5}, {"equaliser": 0.5}, {"contrast": 0.9}, {"noise": 0.5}):
        _, after = augmented(pieces, **options)
        assert after.min() == 0, options
        assert after.max() == 1, options


def test_band_shift_moves_by_whole_bands():
    before, after = augmented(band_shift=2)
    seen = set()
    for old, new in zip(before, after, strict=True):
        (shift,) = [s for s in range(-2, 3) if (new[:, 2:-2] == np.roll(old, s, axis=1)[:, 2:-2]).all()]
        seen.add(shift)
        np.testing.assert_array_equal(new, old[:, np.clip(np.arange(12) - shift, 0, 11)])
    assert seen == {-2, -1, 0, 1, 2}


def test_a_band_shift_larger_than_the_number_of_bands_keeps_one_band():
    before, after = augmented(band_shift=64)
    for old, new in zip(before, after, strict=True):
        assert any((new == old[:, np.clip(np.arange(12) - shift, 0, 11)]).all() for shift in range(-11, 12))


def numbered_along_each_axis(frames, bands):
    """40 segments whose levels are frame numbers, and 40 whose levels are band numbers."""
    rows = np.repeat(np.arange(frames, dtype="uint8")[:, None], bands, axis=1)
    columns = np.repeat(np.arange(bands, dtype="uint8")[None], frames, axis=0)
    return rows[None].repeat(40, axis=0), columns[None].repeat(40, axis=0)


def test_translation_moves_both_axes_and_repeats_the_ends():
    rows, columns = (np.rint(augmented(p, translation=0.1)[1] * 255) for p in numbered_along_each_axis(40, 20))
    in_time, in_frequency = rows[:, 20, 0] - 20, columns[:, 0, 10] - 10
    for i in range(40):
        np.testing.assert_array_equal(rows[i], np.clip(np.arange(40) + in_time[i], 0, 39)[:, None].repeat(20, axis=1))
        np.testing.assert_array_equal(
            columns[i], np.clip(np.arange(20) + in_frequency[i], 0, 19)[None].repeat(40, axis=0)
        )
    assert np.abs(in_time).max() == 4
    assert np.abs(in_frequency).max() == 2
    assert len({*(in_time * in_frequency > 0)}) == 2  # the axes are translated independently


def test_zoom_scales_about_the_centre():
    rows, columns = (np.rint(augmented(p, zoom=0.1)[1] * 255) for p in numbered_along_each_axis(101, 51))
    assert (rows[:, 50] == 50).all()
    assert (columns[:, :, 25] == 25).all()
    spans = rows[:, 90, 0] - rows[:, 10, 0]
    assert 72 <= spans.min() < 76
    assert 84 < spans.max() <= 88


def test_contrast_and_noise_change_the_deviation_and_not_the_mean():
    pieces = np.random.default_rng(0).integers(102, 154, (200, 8, 8), dtype="uint8")
    before, after = augmented(pieces, contrast=0.2)
    np.testing.assert_allclose(after.mean(axis=(1, 2)), before.mean(axis=(1, 2)), atol=1e-5)
    ratio = after.std(axis=(1, 2)) / before.std(axis=(1, 2))
    assert 0.8 - 1e-5 <= ratio.min() < 0.83
    assert 1.17 < ratio.max() <= 1.2 + 1e-5
    before, after = augmented(pieces, noise=0.01)
    assert (after - before).std() == pytest.approx(0.01, rel=0.05)
    assert abs((after - before).mean()) < 1e-3


def test_the_compiled_augmentation_equals_a_numpy_implementation():
    pieces = np.random.default_rng(3).integers(0, 256, (6, 30, 16), dtype="uint8")
    options = FitOptions.unregularised(
        band_shift=2,
        translation=0.1,
        zoom=0.1,
        contrast=0.3,
        noise=0.05,
        gain=0.1,
        equaliser=0.1,
        time_masks=2,
        band_masks=1,
        mixup=0.4,
    )
    data = SegmentSet(list(pieces), [0, 1] * 3, range(6), 30, 30)
    got, labels = data.augmented_batch(np.arange(6), np.random.default_rng(4), options, classes=2)
    rows, drawn = draw_augmentation(np.random.default_rng(4), options, np.tile(np.arange(30), (6, 1)), 16)
    x = pieces / np.float32(255)
    for i in range(6):
        shifted = x[i][:, np.clip(np.arange(16) - drawn.band_shift[i], 0, 15)]
        x[i] = shifted[rows[i]][:, drawn.source_bands[i].astype(int)]
        mean = x[i].mean()
        x[i] = np.clip((x[i] - mean) * drawn.contrast[i] + mean, 0, 1)
        x[i] = np.clip(np.clip(x[i] + drawn.noise[i], 0, 1) + drawn.level_offset[i], 0, 1)
        band_means = x[i].mean(axis=0)
        for low, high in drawn.time_masks[i]:
            x[i, low:high] = band_means
        for low, high in drawn.band_masks[i]:
            x[i, :, low:high] = band_means[low:high]
    weight, partner = drawn.mixup_weight, drawn.mixup_partner
    np.testing.assert_allclose(got, weight[:, None, None] * x + (1 - weight)[:, None, None] * x[partner], atol=2e-6)
    of_label_1 = np.where(np.arange(6) % 2, weight, 0) + np.where(partner % 2, 1 - weight, 0)
    np.testing.assert_allclose(labels[:, 1], of_label_1, atol=1e-6)


@pytest.mark.parametrize(("kind", "axis", "size"), [("time", 1, 20), ("band", 2, 12)])
def test_a_mask_replaces_one_range_by_the_mean(kind, axis, size):
    before, after = augmented(**{f"{kind}_masks": 1, f"{kind}_mask_width": 0.5})
    # Whole frames, or whole bands; single cells may equal the mean already.
    masked = (after != before).mean(axis=3 - axis) > 0.5
    assert ((after != before) <= np.expand_dims(masked, 3 - axis)).all()
    widths = masked.sum(axis=1)
    assert widths.max() == size // 2
    assert widths.min() == 0
    edges = np.abs(np.diff(np.pad(masked, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1)
    assert set(edges) == {0, 2}
    fill = np.broadcast_to(before.mean(axis=1, keepdims=True), before.shape)
    np.testing.assert_allclose(after[after != before], fill[after != before], rtol=1e-5)
