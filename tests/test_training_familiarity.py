"""The reference of a bundle: prototypes of the training tracks, and the threshold from tracks of other artists."""

import numpy as np
import pytest

from genreflow.bundle import Bundle
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.errors import ParameterError
from genreflow.evaluation.familiarity import unfamiliarity
from genreflow.export.keras_to_onnx import onnx_outputs
from genreflow.features.spec import FeatureSpec
from genreflow.inference.predictor import Predictor
from genreflow.training.calibration import calibrate_and_export
from genreflow.training.data import TrainingData
from genreflow.training.familiarity_reference import TrackEmbeddings, familiarity_from_held_out, familiarity_out_of_fold
from training_toy import BANDS, CLASSES, LENGTH, make_model, make_segments


def make_tracks(n, seed, *, spread=0.4, size=16):
    """Tracks of three genres around three directions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return TrackEmbeddings(np.eye(size)[labels] + spread * rng.standard_normal((n, size)), labels)


@pytest.mark.parametrize(("n", "refused"), [(3, 0), (19, 0), (20, 1), (60, 3)])
def test_at_most_five_percent_of_held_out_tracks_are_refused(n, refused):
    """With fewer than 20 tracks the threshold is the largest distance."""
    train, held_out = make_tracks(60, 0), make_tracks(n, 1)
    reference = familiarity_from_held_out(train, held_out)
    distances = reference.unfamiliarity(held_out.values)
    assert (distances > reference.refuse_above).sum() == refused
    assert (reference.tracks, reference.share) == (n, pytest.approx(refused / n))
    assert reference.refuse_above - np.sort(distances)[n - 1 - refused] < 1e-4
    assert reference.prototypes.shape == (48, 16)
    noise = np.random.default_rng(2).standard_normal((50, 16))
    assert (reference.unfamiliarity(noise) > reference.refuse_above).mean() > 0.3


def test_a_given_threshold_is_kept_and_its_share_is_stated():
    train, held_out = make_tracks(60, 0), make_tracks(60, 1)
    reference = familiarity_from_held_out(train, held_out, refuse_above=0.2)
    distances = unfamiliarity(held_out.values, reference.prototypes)
    assert reference.refuse_above == 0.2
    assert reference.share == np.mean(distances > 0.2) > 0.1


def test_a_track_is_not_compared_with_its_own_artist():
    """Artists of four almost equal tracks, which are nearer to the prototypes of all tracks than to those of others."""
    artists = make_tracks(15, 0)
    groups = np.repeat(np.arange(15), 4)
    rows = artists.values[groups] + 0.01 * np.random.default_rng(1).standard_normal((60, 16))
    tracks = TrackEmbeddings(rows, artists.labels[groups])
    reference = familiarity_out_of_fold(tracks, groups)
    assert reference.tracks == 60
    assert reference.share <= 0.05
    assert unfamiliarity(rows, reference.prototypes).max() < reference.refuse_above
    assert familiarity_out_of_fold(tracks, groups).refuse_above == reference.refuse_above
    assert familiarity_out_of_fold(tracks, groups, refuse_above=0.0).share == 1
    with pytest.raises(ParameterError, match="artists"):
        familiarity_out_of_fold(tracks, np.zeros(60))


def test_an_exported_bundle_refuses_none_of_its_few_validation_tracks(tmp_path):
    """The threshold is from embeddings of Keras, the unfamiliarity of the predictor from those of ONNX Runtime."""
    spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=128, n_mels=BANDS, fmax=4000.0)
    valid = make_segments(9, 2)
    data = TrainingData(("a", "b", "c"), make_segments(24, 1), valid, valid, LENGTH, LENGTH // 2)
    bundle, facts = calibrate_and_export(
        make_model(),
        data,
        tmp_path / "bundle",
        spec=spec,
        bank=make_filter_bank(spec),
        abstain_below=None,
        refuse_above=None,
        lineage={},
    )
    assert bundle.hash == Bundle.load(tmp_path / "bundle").hash
    assert bundle.familiarity.tracks == 9
    assert facts["refuse_above"] == bundle.familiarity.refuse_above
    predictor = Predictor(tmp_path / "bundle")
    embeddings = [data.valid.segments(np.flatnonzero(data.valid.track == track)) for track in range(9)]
    found = [predictor.unfamiliarity(predictor.run(segments)[1]) for segments in embeddings]
    assert 0 < max(found) <= bundle.familiarity.refuse_above < max(found) + 2e-4
    assert len(bundle.familiarity.prototypes) == 24, "those of the training tracks"
    logits, values = onnx_outputs(bundle.onnx_path, embeddings[0], ["logits", "embeddings"])
    assert logits.shape[1] == CLASSES
    assert values.shape[1] == bundle.familiarity.prototypes.shape[1]
