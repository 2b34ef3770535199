"""The split report names the track with the largest share of each genre's training segments."""

import json
import logging

import numpy as np
import pytest

from genreflow.audit.faults import Audit
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.stages.inputs import Data
from genreflow.stages.split import log_largest_track, make_report
from genreflow.training.data import load_training_data
from genreflow.training.params import SegmentParams

SPEC = FeatureSpec(n_mels=4)
SEGMENTS = SegmentParams(seconds=1.0, hop_seconds=1.0)
CLIP, MIX = 20, 900  # segments


def frames(segments: int) -> list[np.ndarray]:
    return [np.zeros((segments * SPEC.frames(1.0), 4), np.uint8)]


@pytest.fixture(scope="module", params=["group", "segment"])
def data(request, tmp_path_factory) -> Data:
    """Two genres of eight clips, and a mix in the training part of the second."""
    lengths = {f"{genre}/{number}": CLIP for genre in ("clips", "mixes") for number in range(8)}
    lengths["mixes/mix"] = MIX
    tracks = [
        Track(id=name, genre=name[:5], path=f"{name}.wav", group=name, group_source="folder", hash=name)
        for name in lengths
    ]
    manifest = Manifest.from_tracks("folder", tracks)
    audit = Audit((), {}, {})
    split = next(
        split
        for seed in range(1, 50)
        if "mixes/mix" in (split := make_split(manifest, audit, SplitParams(seed=seed, method=request.param))).train
    )
    directory = tmp_path_factory.mktemp("features")
    update(directory, SPEC, lengths.items(), frames, n_jobs=1, progress=False)
    return Data(manifest, split, FeatureStore.open(directory))


def test_the_report_has_the_largest_share_without_and_with_the_limit(data):
    report = make_report(data, SEGMENTS)
    assert json.loads(json.dumps(report))["largest_training_tracks"] == report["largest_training_tracks"]
    largest = report["largest_training_tracks"]
    assert largest["mixes"]["track"] == "mixes/mix"
    assert largest["mixes"]["share"] > 0.8
    n_clips = report["parts"]["train"]["mixes"]["tracks"] - 1
    assert largest["mixes"]["epoch_share"] == pytest.approx(2 / (n_clips + 2), abs=0.02)
    assert largest["clips"]["epoch_share"] == largest["clips"]["share"] <= 0.25
    unlimited = make_report(data, SEGMENTS.model_copy(update={"track_cap": None}))["largest_training_tracks"]
    assert unlimited["mixes"]["epoch_share"] == unlimited["mixes"]["share"] == largest["mixes"]["share"]


def test_the_report_counts_what_training_draws(data):
    """And validation has all segments."""
    largest = make_report(data, SEGMENTS)["largest_training_tracks"]
    training = load_training_data(data.store, data.manifest, data.split, SEGMENTS)
    drawn = np.bincount(training.train.track[training.train.draw(np.random.default_rng(0))])
    for genre, row in largest.items():
        of_genre = training.train.track_labels == training.genres.index(genre)
        assert drawn[of_genre].max() == row["epoch_segments"]
        assert drawn[of_genre].max() / drawn[of_genre].sum() == pytest.approx(row["epoch_share"], abs=1e-4)
    assert training.valid.n_drawn == training.valid.n_segments


def test_the_largest_share_is_logged(data, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("genreflow"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="genreflow"):
        log_largest_track(make_report(data, SEGMENTS)["largest_training_tracks"], SEGMENTS.track_cap)
        log_largest_track({}, None)
    (message,) = set(caplog.messages)  # a logger may have the handler twice, after other tests
    for word in ("mixes/mix", "segments.track_cap = 2", "%"):
        assert word in message
