"""Each part of a split has its own segments, even where the segments of one track are assigned to several parts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genreflow.errors import GenreflowError
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.segment_parts import SegmentParts
from genreflow.splits.split import Split
from genreflow.training.data import load_segment_set, load_training_data
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams
from serving_toy import SPEC as TOY_SPEC
from serving_toy import write_toy_bundle

BANDS = 4
SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=400, n_mels=BANDS, fmin=0.0, fmax=4000.0, clip_seconds=6.0)
LENGTH = HOP = 10
FRACTIONS = (0.6, 0.2, 0.2)


def numbered(sizes: list[int]) -> list[np.ndarray]:
    """Pieces of a track whose levels are the frame numbers, counted over all pieces."""
    frames = np.repeat(np.arange(sum(sizes), dtype="uint8")[:, None], BANDS, axis=1)
    return np.split(frames, np.cumsum(sizes)[:-1])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Eight tracks of 14 segments in two pieces, and one that is shorter than a segment."""
    directory = tmp_path_factory.mktemp("store")
    items = [(f"hash {number}", [80, 60]) for number in range(8)] + [("hash 8", [7])]
    update(directory, SPEC, items, numbered, n_jobs=1, progress=False)
    return FeatureStore.open(directory)


@pytest.fixture(scope="module")
def manifest():
    return Manifest.from_tracks(
        "folder",
        [
            Track(
                id=f"t{number}",
                genre="ab"[number % 2],
                path=f"{number}.wav",
                group=f"artist {number}",
                group_source="folder",
                hash=f"hash {number}",
            )
            for number in range(10)  # the last has no features
        ],
    )


def split_by(manifest: Manifest, method: str) -> Split:
    from genreflow.audit.faults import Audit

    return make_split(manifest, Audit((), {}, {}), SplitParams(method=method))


def frames_of(data, random_crop: bool = False) -> dict[int, set[int]]:
    """The frames of each track that a segment set gives to a model."""
    seen = {track: set() for track in range(data.n_tracks)}
    rng, options = np.random.default_rng(0), FitOptions.unregularised(random_crop=True, stretch=0.3)
    for _ in range(30 if random_crop else 1):
        indices = np.arange(data.n_segments)
        x = data.augmented_batch(indices, rng, options, classes=8)[0] if random_crop else data.segments(indices)
        for track, frames in zip(data.track, np.rint(x[:, :, 0] * 255).astype(int), strict=True):
            seen[track] |= set(frames.tolist())
    return seen


def test_a_group_split_has_all_segments_of_its_tracks(store, manifest):
    split = split_by(manifest, "group")
    data = load_training_data(store, manifest, split, SegmentParams(seconds=0.5, hop_seconds=0.5))
    assert (data.length, data.hop) == (LENGTH, HOP)
    whole = [track for track in split.train if track not in ("t8", "t9")]
    assert data.train.n_segments == 14 * len(whole) + ("t8" in split.train)


def test_a_segment_split_never_gives_frames_of_another_part(store, manifest):
    split = split_by(manifest, "segment")
    sets = {part: load_segment_set(store, manifest, split, part, length=LENGTH, hop=HOP) for part in PARTS}
    assert sum(data.n_segments for data in sets.values()) == 8 * 14 + 1
    by_part = {}
    for part, data in sets.items():
        plain, cropped = frames_of(data), frames_of(data, random_crop=True)
        assert all(cropped[track] <= plain[track] for track in plain)
        by_part[part] = plain
    for track in range(8):
        frames = [by_part[part][track] for part in PARTS]
        assert sum(map(len, frames)) == len(set().union(*frames)) == 140


def test_band_statistics_of_a_segment_split_use_training_segments_only(store, manifest):
    split = split_by(manifest, "segment")
    train = load_segment_set(store, manifest, split, "train", length=LENGTH, hop=HOP)
    values = train.segments(np.arange(train.n_segments))
    short = train.track == 8
    np.testing.assert_allclose(
        train.band_statistics()[0],
        np.concatenate([*values[~short], *(v[:7] for v in values[short])]).mean(axis=0),
        rtol=1e-4,
    )


@pytest.mark.parametrize(("reference", "peak"), [("max", None), ("full_scale", pytest.approx(139 / 255))])
def test_only_absolute_levels_are_shifted_to_a_peak(reference, peak, manifest, tmp_path):
    items = [(f"hash {number}", [80, 60]) for number in range(9)]
    update(tmp_path, SPEC.replace(level_reference=reference), items, numbered, n_jobs=1, progress=False)
    segments = SegmentParams(seconds=1.0, hop_seconds=0.5, coefficients=3)
    data = load_training_data(FeatureStore.open(tmp_path), manifest, split_by(manifest, "track"), segments)
    assert (data.front_end.peak, data.front_end.coefficients) == (peak, 3)


def test_a_part_without_features_is_named(tmp_path, manifest):
    update(tmp_path, SPEC, [], numbered, n_jobs=1, progress=False)
    with pytest.raises(GenreflowError, match="test"):
        load_segment_set(
            FeatureStore.open(tmp_path), manifest, split_by(manifest, "segment"), "test", length=LENGTH, hop=HOP
        )


@given(n=st.integers(0, 40), seed=st.integers(0, 99), key=st.text(max_size=8))
@settings(max_examples=200, deadline=None)
def test_parts_of_a_track_are_disjoint_and_complete_and_their_sizes_exact_to_one_segment(n, seed, key):
    parts = SegmentParts(fractions=FRACTIONS, seed=seed)
    masks = [parts.mask(part, key, n) for part in PARTS]
    assert (np.sum(masks, axis=0) == 1).all()
    for mask, share in zip(masks, FRACTIONS, strict=True):
        assert abs(mask.sum() - share * n) < 1 + 1e-9


def test_shares_are_exact_over_many_tracks_and_independent_of_the_position():
    parts = SegmentParts(fractions=FRACTIONS, seed=3)
    masks = np.array([[parts.mask(part, f"track {i}", 7) for part in PARTS] for i in range(3000)])
    np.testing.assert_allclose(masks.mean(axis=(0, 2)), FRACTIONS, atol=0.005)
    np.testing.assert_allclose(masks.mean(axis=0), np.repeat(np.array(FRACTIONS)[:, None], 7, axis=1), atol=0.035)
    # So are those of tracks with a single segment.
    single = np.array([[parts.mask(part, f"track {i}", 1)[0] for part in PARTS] for i in range(3000)])
    np.testing.assert_allclose(single.mean(axis=0), FRACTIONS, atol=0.03)


def test_the_assignment_depends_on_the_seed_and_not_on_the_process():
    code = (
        "from genreflow.splits.segment_parts import SegmentParts\n"
        f"parts = SegmentParts(fractions={FRACTIONS}, seed=5)\n"
        "print([int(i) for i in parts.mask('test', 'abc', 30).nonzero()[0]])\n"
    )
    other_process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    mask = SegmentParts(fractions=FRACTIONS, seed=5).mask("test", "abc", 30)
    assert other_process.strip() == str(mask.nonzero()[0].tolist())
    # Golden values: another release of NumPy or Python, or another machine, must not change them.
    assert mask.nonzero()[0].tolist() == [1, 2, 6, 16, 22, 23]
    assert (mask != SegmentParts(fractions=FRACTIONS, seed=6).mask("test", "abc", 30)).any()


def test_predictions_use_the_masked_segments_only(tmp_path):
    predictor = Predictor(write_toy_bundle(tmp_path / "bundle", refuse_above=1.0).directory)
    bundle = predictor.bundle
    rng = np.random.default_rng(0)
    frames = bundle.segment_frames + 5 * bundle.segment_hop
    tracks = {key: rng.integers(0, 256, (frames, TOY_SPEC.n_mels), dtype="uint8") for key in ("x", "y")}
    update(tmp_path / "store", TOY_SPEC, tracks.items(), as_single_piece, n_jobs=1, progress=False)
    store = FeatureStore.open(tmp_path / "store")
    all_segments = predict_tracks(predictor, store, ["x", "y"])
    parts = SegmentParts(fractions=FRACTIONS, seed=1)
    masked = predict_tracks(predictor, store, ["x", "y"], segment_mask=lambda key, n: parts.mask("train", key, n))
    mask = np.concatenate([parts.mask("train", key, 6) for key in ("x", "y")])
    np.testing.assert_array_equal(masked.by_segment, all_segments.by_segment[mask])
    np.testing.assert_array_equal(masked.track_index, all_segments.track_index[mask])
    assert masked.unfamiliarity != all_segments.unfamiliarity
    segments = np.stack([tracks["y"][n * bundle.segment_hop :][: bundle.segment_frames] / 255 for n in range(6)])
    embeddings = segments[mask[6:]].mean(axis=1)  # of the toy model
    assert masked.unfamiliarity[1] == pytest.approx(predictor.unfamiliarity(embeddings), abs=1e-5)
    np.testing.assert_allclose(masked.by_track[1], all_segments.by_segment[6:][mask[6:]].mean(axis=0))


def as_single_piece(piece):
    return [piece]
