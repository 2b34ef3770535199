"""Each part trains and is measured on its own segments, also where the segments of a track are dealt to all parts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genreflow.errors import GenreflowError
from genreflow.features import store as stores
from genreflow.features.spec import FeatureSpec
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
EXACT = (0.6, 0.2, 0.2)


def numbered(sizes: list[int]) -> list[np.ndarray]:
    """Pieces of a track in which the number of a frame, over all of them, can be read off every band."""
    frames = np.repeat(np.arange(sum(sizes), dtype="uint8")[:, None], BANDS, axis=1)
    return np.split(frames, np.cumsum(sizes)[:-1])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Eight tracks of 14 segments in two pieces, and one that is shorter than a segment."""
    directory = tmp_path_factory.mktemp("store")
    items = [(f"hash {number}", [80, 60]) for number in range(8)] + [("hash 8", [7])]
    stores.update(directory, SPEC, items, numbered, n_jobs=1, progress=False)
    return stores.FeatureStore.open(directory)


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


def frames_of(data, crops: bool = False) -> dict[int, set[int]]:
    """Which frames of each track a segment set can ever show."""
    seen = {track: set() for track in range(data.n_tracks)}
    rng, options = np.random.default_rng(0), FitOptions.unregularised(random_crop=True, stretch=0.3)
    for _ in range(30 if crops else 1):
        indices = np.arange(data.n_segments)
        x = data.augmented_batch(indices, rng, options, classes=8)[0] if crops else data.segments(indices)
        for track, frames in zip(data.track, np.rint(x[:, :, 0] * 255).astype(int), strict=True):
            seen[track] |= set(frames.tolist())
    return seen


def test_parts_by_group_have_all_segments_of_their_tracks(store, manifest):
    split = split_by(manifest, "group")
    data = load_training_data(store, manifest, split, SegmentParams(seconds=0.5, hop_seconds=0.5))
    assert (data.length, data.hop) == (LENGTH, HOP)
    heard = [track for track in split.train if track not in ("t8", "t9")]
    assert data.train.n_segments == 14 * len(heard) + ("t8" in split.train)


def test_dealt_segments_never_show_a_frame_of_another_part(store, manifest):
    split = split_by(manifest, "segment")
    sets = {part: load_segment_set(store, manifest, split, part, length=LENGTH, hop=HOP) for part in PARTS}
    assert sum(data.n_segments for data in sets.values()) == 8 * 14 + 1
    by_part = {}
    for part, data in sets.items():
        plain, cropped = frames_of(data), frames_of(data, crops=True)
        assert all(cropped[track] <= plain[track] for track in plain)
        by_part[part] = plain
    for track in range(8):
        frames = [by_part[part][track] for part in PARTS]
        assert sum(map(len, frames)) == len(set().union(*frames)) == 140


def test_statistics_are_of_the_training_segments_alone(store, manifest):
    split = split_by(manifest, "segment")
    train = load_segment_set(store, manifest, split, "train", length=LENGTH, hop=HOP)
    values = train.segments(np.arange(train.n_segments))
    short = train.track == 8
    np.testing.assert_allclose(
        train.band_statistics()[0],
        np.concatenate([*values[~short], *(v[:7] for v in values[short])]).mean(axis=0),
        rtol=1e-4,
    )


def test_a_part_without_any_segment_is_named(store, manifest):
    split = split_by(manifest, "segment")
    with pytest.raises(GenreflowError, match=r"split\.json: the test part"):
        load_segment_set(_Empty(store), manifest, split, "test", length=LENGTH, hop=HOP)


class _Empty:
    """A store that has nothing."""

    def __init__(self, store):
        self.spec = store.spec

    def __contains__(self, key):
        return False


@given(n=st.integers(0, 40), seed=st.integers(0, 99), key=st.text(max_size=8))
@settings(max_examples=200, deadline=None)
def test_parts_of_a_track_are_disjoint_complete_and_right_to_one_segment(n, seed, key):
    deal = SegmentParts(fractions=EXACT, seed=seed)
    masks = [deal.mask(part, key, n) for part in PARTS]
    assert (np.sum(masks, axis=0) == 1).all()
    for mask, share in zip(masks, EXACT, strict=True):
        assert abs(mask.sum() - share * n) < 1 + 1e-9


def test_shares_are_exact_over_many_tracks_and_chance_within_one():
    deal = SegmentParts(fractions=EXACT, seed=3)
    parts = np.array([[deal.mask(part, f"track {i}", 7) for part in PARTS] for i in range(3000)])
    np.testing.assert_allclose(parts.mean(axis=(0, 2)), EXACT, atol=0.005)
    # No place in the track belongs to a part more than another.
    np.testing.assert_allclose(parts.mean(axis=0), np.repeat(np.array(EXACT)[:, None], 7, axis=1), atol=0.035)
    # A single segment is in each part as often as its share says.
    alone = np.array([[deal.mask(part, f"track {i}", 1)[0] for part in PARTS] for i in range(3000)])
    np.testing.assert_allclose(alone.mean(axis=0), EXACT, atol=0.03)


def test_another_process_deals_the_same_and_another_seed_does_not():
    code = (
        "from genreflow.splits.segment_parts import SegmentParts\n"
        f"deal = SegmentParts(fractions={EXACT}, seed=5)\n"
        "print([int(i) for i in deal.mask('test', 'abc', 30).nonzero()[0]])\n"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = SegmentParts(fractions=EXACT, seed=5).mask("test", "abc", 30)
    assert there.strip() == str(here.nonzero()[0].tolist())
    # Written down, so that another release of NumPy or Python, or another machine, would be noticed.
    assert here.nonzero()[0].tolist() == [1, 2, 6, 16, 22, 23]
    assert (here != SegmentParts(fractions=EXACT, seed=6).mask("test", "abc", 30)).any()


def test_predictions_use_the_masked_segments_only(tmp_path):
    predictor = Predictor(write_toy_bundle(tmp_path / "bundle").directory)
    bundle = predictor.bundle
    rng = np.random.default_rng(0)
    frames = bundle.segment_frames + 5 * bundle.segment_hop
    tracks = {key: rng.integers(0, 256, (frames, TOY_SPEC.n_mels), dtype="uint8") for key in ("x", "y")}
    stores.update(tmp_path / "store", TOY_SPEC, tracks.items(), _alone, n_jobs=1, progress=False)
    store = stores.FeatureStore.open(tmp_path / "store")
    every = predict_tracks(predictor, store, ["x", "y"])
    deal = SegmentParts(fractions=EXACT, seed=1)
    some = predict_tracks(predictor, store, ["x", "y"], segment_mask=lambda key, n: deal.mask("train", key, n))
    mask = np.concatenate([deal.mask("train", key, 6) for key in ("x", "y")])
    np.testing.assert_array_equal(some.by_segment, every.by_segment[mask])
    np.testing.assert_array_equal(some.track_index, every.track_index[mask])
    np.testing.assert_allclose(some.by_track[1], every.by_segment[6:][mask[6:]].mean(axis=0))


def _alone(piece):
    return [piece]
