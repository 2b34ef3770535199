"""Segments are cut where they should be, and augmentation changes what it says, reproducibly."""

import numpy as np
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.training.augment import draw
from genreflow.training.batches import SMALLEST_DEVIATION, SegmentSet
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
    frames = data.crops([0] * 300, rng)
    assert set(frames[:, 0].astype(int)) == set(range(16))
    assert (np.diff(frames, axis=1) == 1).all()
    x, _ = data.batch([4] * 5, rng, FitOptions.plain(random_crop=True), 3)
    padded = np.rint(x * 255)[:, :, 0]
    assert (padded[:, :7] == np.arange(100, 107)).all()
    assert not padded[:, 7:].any()


def test_stretched_crops_change_the_tempo_only_so_far():
    data = SegmentSet([numbered(250)], [0], [0], length=101, hop=50)
    spans = np.ptp(data.crops([0] * 200, np.random.default_rng(0), stretch=0.2), axis=1)
    assert 80 <= spans.min() < 85
    assert 115 < spans.max() <= 120


def test_a_crop_is_never_read_past_the_end_of_a_piece_that_holds_a_segment():
    data = SegmentSet([numbered(104)], [0], [0], length=101, hop=50)
    frames = data.crops([0] * 200, np.random.default_rng(0), stretch=0.2)
    assert (np.diff(frames, axis=1) >= 0).all()
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
    x, y = data.batch(np.array([6, 1]), np.random.default_rng(0), FitOptions.plain(), classes=4)
    np.testing.assert_array_equal(x, data.segments([6, 1]))
    assert y.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_same_chance_same_batch(data):
    everything = FitOptions(stretch=0.1, band_shift=1, gain=0.1, time_masks=1, band_masks=1, mixup=0.5)
    first, again, other = (
        data.batch(np.arange(8), np.random.default_rng(seed), everything, classes=3) for seed in (1, 1, 2)
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
    x, y = data.batch(np.arange(2).repeat(100), np.random.default_rng(0), FitOptions.plain(mixup=1.0), classes=2)
    # The level says how much of label 1 is in the mixture.
    np.testing.assert_allclose(x[:, 0, 0], y[:, 1], atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert ((y[:, 1] > 0.1) & (y[:, 1] < 0.9)).sum() > 30
    assert (y.max(axis=1) >= 0.5).all()


def changed(pieces=None, *, rng_seed=0, **options):
    """Segments before and after augmentation; in 200 of 20 frames and 12 bands, where none are given."""
    if pieces is None:
        pieces = np.random.default_rng(9).integers(76, 179, (200, 20, 12), dtype="uint8")
    n, frames, _ = pieces.shape
    data = SegmentSet(list(pieces), [0] * n, range(n), frames, frames)
    after, _ = data.batch(np.arange(n), np.random.default_rng(rng_seed), FitOptions.plain(**options), classes=2)
    return data.segments(np.arange(n)), after


def test_every_byte_is_its_share_of_255_to_the_last_bit():
    before, _ = changed(np.arange(256, dtype="uint8").reshape(1, 2, 128))
    np.testing.assert_array_equal(before.ravel(), np.arange(256, dtype="float32") / np.float32(255))


def test_gain_moves_a_whole_segment():
    before, after = changed(gain=0.1)
    shift = after - before
    assert np.ptp(shift, axis=(1, 2)).max() < 1e-6
    assert 0.08 < np.abs(shift).max() <= 0.1 + 1e-6
    assert np.unique(np.sign(shift[:, 0, 0])).tolist() == [-1, 1]


def test_the_equaliser_raises_and_lowers_registers():
    pieces = np.full((200, 4, 51), 128, "uint8")  # a knot at every tenth band
    before, after = changed(pieces, equaliser=0.1)
    curve = (after - before)[:, 0]
    np.testing.assert_allclose(after - before, np.repeat(curve[:, None], 4, axis=1), atol=1e-6)
    assert 0.09 < np.abs(curve).max() <= 0.1 + 1e-6
    bends = np.abs(np.diff(curve, n=2, axis=1)) > 1e-5
    assert set(np.flatnonzero(bends.any(axis=0)) + 1) == {10, 20, 30, 40}
    assert abs(np.corrcoef(curve[:, 0], curve[:, 10])[0, 1]) < 0.3  # each register on its own


def test_levels_stay_within_their_range():
    pieces = np.random.default_rng(0).integers(0, 256, (50, 20, 12), dtype="uint8")
    for options in ({"gain": 0.5}, {"equaliser": 0.5}, {"contrast": 0.9}, {"noise": 0.5}):
        _, after = changed(pieces, **options)
        assert after.min() == 0, options
        assert after.max() == 1, options


def test_band_shift_moves_whole_bands():
    before, after = changed(band_shift=2)
    seen = set()
    for old, new in zip(before, after, strict=True):
        (shift,) = [s for s in range(-2, 3) if (new[:, 2:-2] == np.roll(old, s, axis=1)[:, 2:-2]).all()]
        seen.add(shift)
        np.testing.assert_array_equal(new, old[:, np.clip(np.arange(12) - shift, 0, 11)])
    assert seen == {-2, -1, 0, 1, 2}


def test_a_band_shift_wider_than_the_bands_leaves_one():
    before, after = changed(band_shift=64)
    for old, new in zip(before, after, strict=True):
        assert any((new == old[:, np.clip(np.arange(12) - shift, 0, 11)]).all() for shift in range(-11, 12))


def numbered_on_both_axes(frames, bands):
    """Segments numbered along their frames, and others along their bands; the same chance for both."""
    rows = np.repeat(np.arange(frames, dtype="uint8")[:, None], bands, axis=1)
    columns = np.repeat(np.arange(bands, dtype="uint8")[None], frames, axis=0)
    return rows[None].repeat(40, axis=0), columns[None].repeat(40, axis=0)


def test_translation_moves_both_axes_and_repeats_the_ends():
    rows, columns = (np.rint(changed(p, translation=0.1)[1] * 255) for p in numbered_on_both_axes(40, 20))
    down, right = rows[:, 20, 0] - 20, columns[:, 0, 10] - 10
    for i in range(40):
        np.testing.assert_array_equal(rows[i], np.clip(np.arange(40) + down[i], 0, 39)[:, None].repeat(20, axis=1))
        np.testing.assert_array_equal(columns[i], np.clip(np.arange(20) + right[i], 0, 19)[None].repeat(40, axis=0))
    assert np.abs(down).max() == 4
    assert np.abs(right).max() == 2
    assert len({*(down * right > 0)}) == 2  # the axes move apart from each other


def test_zoom_changes_the_size_about_the_middle():
    rows, columns = (np.rint(changed(p, zoom=0.1)[1] * 255) for p in numbered_on_both_axes(101, 51))
    assert (rows[:, 50] == 50).all()
    assert (columns[:, :, 25] == 25).all()
    spans = rows[:, 90, 0] - rows[:, 10, 0]
    assert 72 <= spans.min() < 76
    assert 84 < spans.max() <= 88


def test_contrast_and_noise_change_the_spread_and_nothing_else():
    pieces = np.random.default_rng(0).integers(102, 154, (200, 8, 8), dtype="uint8")
    before, after = changed(pieces, contrast=0.2)
    np.testing.assert_allclose(after.mean(axis=(1, 2)), before.mean(axis=(1, 2)), atol=1e-5)
    ratio = after.std(axis=(1, 2)) / before.std(axis=(1, 2))
    assert 0.8 - 1e-5 <= ratio.min() < 0.83
    assert 1.17 < ratio.max() <= 1.2 + 1e-5
    before, after = changed(pieces, noise=0.01)
    assert (after - before).std() == pytest.approx(0.01, rel=0.05)
    assert abs((after - before).mean()) < 1e-3


def test_changes_add_up_in_their_order():
    # The same chance, once by the compiled loops and once by NumPy, cell for cell.
    pieces = np.random.default_rng(3).integers(0, 256, (6, 30, 16), dtype="uint8")
    options = FitOptions.plain(
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
    got, labels = data.batch(np.arange(6), np.random.default_rng(4), options, classes=2)
    rows, did = draw(np.random.default_rng(4), options, np.tile(np.arange(30), (6, 1)), 16)
    x = pieces / np.float32(255)
    for i in range(6):
        x[i] = x[i][:, np.clip(np.arange(16) - did.shift[i], 0, 15)][rows[i]][:, did.columns[i].astype(int)]
        middle = x[i].mean()
        x[i] = np.clip((x[i] - middle) * did.contrast[i] + middle, 0, 1)
        x[i] = np.clip(np.clip(x[i] + did.noise[i], 0, 1) + did.level[i], 0, 1)
        mean = x[i].mean(axis=0)
        for low, high in did.frame_masks[i]:
            x[i, low:high] = mean
        for low, high in did.band_masks[i]:
            x[i, :, low:high] = mean[low:high]
    share = did.share[:, None, None]
    np.testing.assert_allclose(got, share * x + (1 - share) * x[did.partner], atol=2e-6)
    of_second = np.where(np.arange(6) % 2, did.share, 0) + np.where(did.partner % 2, 1 - did.share, 0)
    np.testing.assert_allclose(labels[:, 1], of_second, atol=1e-6)


@pytest.mark.parametrize(("kind", "axis", "size"), [("time", 1, 20), ("band", 2, 12)])
def test_masks_blank_one_stretch_with_the_mean(kind, axis, size):
    before, after = changed(**{f"{kind}_masks": 1, f"{kind}_mask_width": 0.5})
    # Whole frames, or whole bands; a cell may be the mean by chance.
    masked = (after != before).mean(axis=3 - axis) > 0.5
    assert ((after != before) <= np.expand_dims(masked, 3 - axis)).all()
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
