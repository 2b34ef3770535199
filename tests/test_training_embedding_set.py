"""Embeddings as the training data of a classifier."""

import numpy as np
import pytest

from embedder_toy import SIZE, write_network
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.embedding.compute import update_embeddings
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.store import EmbeddingStore
from genreflow.errors import GenreflowError, ParameterError
from genreflow.export.embedder_graph import import_embedder
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.models import MODELS, build_model
from genreflow.models.default_architectures import searched_architectures, without_embeddings
from genreflow.training.calibration import calibrate_and_export
from genreflow.training.configuration import fit_configuration
from genreflow.training.data import TrainingData
from genreflow.training.embedding_set import EmbeddingSet
from genreflow.training.fit import predict_logits
from genreflow.training.options import SPECTROGRAM_AUGMENTATION, FitOptions
from genreflow.training.segment_set import SegmentSet
from genreflow.training.track_means import mean_over_segments
from genreflow.tuning.params import TuneParams
from genreflow.tuning.search_space import SearchSpace

LABELS = ("low", "middle", "high")


def make_set(**options) -> EmbeddingSet:
    values = np.random.default_rng(0).normal(3, 2, (12, 4)).astype("float16")
    return EmbeddingSet(values, [0] * 3 + [1] * 9, [0] * 3 + [1] * 3 + [2] * 6, **options)


def test_a_set_has_the_segments_and_tracks_that_it_is_given():
    own = make_set()
    assert (own.n_segments, own.n_tracks, own.n_drawn, own.segment_shape) == (12, 3, 12, (4,))
    assert own.track_labels.tolist() == [0, 1, 1]
    assert own.segments([3, 0]).dtype == np.float32
    assert sorted(own.draw(np.random.default_rng(0))) == list(range(12))
    capped = make_set(track_cap=1.0)
    assert np.bincount(capped.track[capped.draw(np.random.default_rng(0))]).tolist() == [3, 3, 3]
    with pytest.raises(GenreflowError, match="EmbeddingSet: each track must have"):
        EmbeddingSet(np.zeros((2, 4)), [0, 1], [0, 0])


def test_statistics_count_each_track_as_often_as_a_pass_draws_it():
    own = make_set(track_cap=1.0)
    rows = own.segments(slice(None)).astype("float64")
    weight = np.array([1] * 6 + [0.5] * 6)
    mean = (weight[:, None] * rows).sum(axis=0) / weight.sum()
    variance = (weight[:, None] * (rows - mean) ** 2).sum(axis=0) / weight.sum()
    np.testing.assert_allclose(own.band_statistics(), (mean, variance))
    constant = EmbeddingSet(np.tile([[1.0, 0.0], [1.0, 4.0]], (3, 1)), [0, 1] * 3, range(6))
    assert constant.band_statistics()[1].tolist() == [4 * 1e-4, 4]


def test_mixup_mixes_embeddings_and_labels_alike():
    values = np.eye(8, dtype="float32")
    own = EmbeddingSet(values, range(8), range(8))
    x, y = own.augmented_batch(np.arange(8), np.random.default_rng(1), FitOptions(mixup=1.0), 8)
    np.testing.assert_allclose(x, y, atol=1e-7)
    assert ((x > 0.01).sum(axis=1) == 2).any()
    out = np.empty_like(values)
    assert own.augmented_batch(np.arange(8), np.random.default_rng(1), FitOptions(mixup=1.0), 8, out=out)[0] is out
    np.testing.assert_array_equal(out, x)
    plain, _ = own.augmented_batch(np.arange(8), np.random.default_rng(1), FitOptions(mixup=0.0), 8)
    np.testing.assert_array_equal(plain, values)


@pytest.mark.parametrize(("values", "first", "last"), [("penultimate", 0, 2), ("max", 2, 5), ("both", 2, 7)])
def test_a_head_takes_the_chosen_values_standardised(values, first, last):
    columns = {"penultimate": (0, 2), "max": (2, 5), "mean": (5, 7), "both": (2, 7)}
    mean, variance = np.arange(7.0), np.arange(1, 8.0)
    model = build_model(
        "musicnn", input_shape=(7,), classes=3, columns=columns, mean=mean, variance=variance, seed=0, values=values
    )
    kernel, bias = model.get_layer("body").get_weights()
    assert kernel.shape == (last - first, 3)
    x = np.random.default_rng(0).standard_normal((4, 7)).astype("float32")
    expected = ((x - mean) / np.sqrt(variance))[:, first:last] @ kernel + bias
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": (187, 96)}, r"one size >= 1, that of an embedding; got \(187, 96\)"),
        ({"columns": None}, "columns must be given"),
        ({"mean": np.zeros(3), "variance": np.ones(3)}, "must both have 7 values, one per value of an embedding"),
    ],
)
def test_heads_that_cannot_be_built_are_refused(changes, message):
    given = {"input_shape": (7,), "classes": 3, "columns": {"both": (0, 7)}, **changes}
    with pytest.raises(ParameterError, match=message):
        build_model("musicnn", **given)


def test_a_head_keeps_the_weights_of_the_last_epoch_by_default():
    assert FitOptions().resolve("musicnn").keep == FitOptions().resolve("embedder").keep == "last"
    assert FitOptions().resolve("efficient").keep == "best"
    assert FitOptions(keep="best").resolve("musicnn").keep == "best"


def test_a_study_searches_what_has_an_effect_on_embeddings():
    tune = TuneParams(
        architectures=("musicnn", "efficient"),
        search={"train.mixup": {"low": 0, "high": 1}, "train.gain": [0.0, 0.1], "segments.seconds": [2.0, 4.0]},
    )
    from genreflow.training.params import SegmentParams

    space = SearchSpace.from_params(tune, FitOptions(), SegmentParams(), tune.architectures)
    assert set(space.dimensions_of(MODELS["efficient"])) == set(tune.search)
    assert set(space.dimensions_of(MODELS["musicnn"])) == {"train.mixup"}
    assert set(FitOptions.model_fields) > SPECTROGRAM_AUGMENTATION


@pytest.mark.parametrize(
    ("source", "own", "expected"),
    [
        ("demo", False, ("efficient", "parallel_cnn")),
        ("spectrograms", True, ("efficient", "parallel_cnn")),
        ("folder", False, ("musicnn", "efficient")),
        ("gtzan", True, ("embedder", "efficient")),
    ],
)
def test_by_default_music_is_classified_with_a_pretrained_network(source, own, expected):
    assert searched_architectures(None, source=source, own_embedder=own) == expected
    assert searched_architectures(["lstm"], source=source, own_embedder=own) == ("lstm",)
    assert without_embeddings(expected) == tuple(name for name in expected if name not in ("musicnn", "embedder"))


def pieces_of(seed: int) -> list[np.ndarray]:
    """Genres are louder in bands of their own."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(90, 25, (600, 96))
    frames[:, 32 * (seed % 3) : 32 * (seed % 3) + 32] += 60
    return [np.clip(frames, 0, 255).astype("uint8")]


def test_a_fitted_head_is_exported_with_its_embedder(tmp_path):
    bank = make_filter_bank(PATCH_SPEC)
    path = tmp_path / "embedder.onnx"
    import_embedder(write_network(tmp_path / "toy.onnx"), path, licence="MIT", spec=PATCH_SPEC)
    keys = [f"{seed:064x}" for seed in range(18)]
    update(tmp_path / "features", PATCH_SPEC, zip(keys, range(18), strict=True), pieces_of, n_jobs=1, progress=False)
    features = FeatureStore.open(tmp_path / "features")
    update_embeddings(tmp_path / "embeddings", features, path, n_jobs=1, progress=False)
    store = EmbeddingStore.open(tmp_path / "embeddings")

    def load(chosen, track_cap=None):
        rows = [np.concatenate(store.pieces(keys[i])) for i in chosen]
        tracks = np.repeat(np.arange(len(chosen)), [len(own) for own in rows])
        labels = np.array(chosen)[tracks] % 3
        groups = np.array([f"artist {i % 9}" for i in chosen])
        return EmbeddingSet(np.concatenate(rows), labels, tracks, track_cap=track_cap, track_groups=groups)

    valid = list(range(12, 18))
    valid_segments = SegmentSet(
        [features.pieces(keys[i])[0] for i in valid], [i % 3 for i in valid], range(6), length=187, hop=188
    )
    data = TrainingData(LABELS, load(range(12)), load(valid), valid_segments, 187, 188, embedder=Embedder(path))
    options = FitOptions(epochs=30, batch_size=8, learning_rate=0.03, mixup=0.0)
    model, result = fit_configuration(data, "embedder", {"dropout": 0.0}, options)
    assert result.best["val_track_accuracy"] == 1
    bundle, facts = calibrate_and_export(
        model, data, tmp_path / "bundle", spec=PATCH_SPEC, bank=bank, abstain_below=0.0, refuse_above=None, lineage={}
    )
    assert facts["onnx_difference"] < 1e-4
    assert (bundle.segment_frames, bundle.segment_hop, bundle.architecture) == (187, 188, "embedder")
    assert (bundle.embedder["name"], bundle.embedder["licence"]) == ("toy", "MIT")
    assert bundle.embedder["parameters"] >= 96 * SIZE
    assert (bundle.familiarity.tracks, bundle.familiarity.prototypes.shape) == (18, (18, SIZE))
    predicted = predict_tracks(Predictor(tmp_path / "bundle"), features, [keys[i] for i in valid])
    assert predicted.by_track.argmax(axis=1).tolist() == [i % 3 for i in valid]
    own = bundle.familiarity.unfamiliarity(mean_over_segments(lambda rows: rows, data.valid))
    np.testing.assert_allclose(predicted.unfamiliarity, own, atol=1e-5)
    assert 0 < max(predicted.unfamiliarity) <= bundle.familiarity.refuse_above
    logits = predict_logits(model, data.valid)
    np.testing.assert_array_equal(predicted.by_segment.argmax(axis=1), logits.argmax(axis=1))
