"""The costs of a model are measured before it is fitted, and the measurement changes nothing."""

import numpy as np
import pytest

from genreflow.features.spec import FilterBank
from genreflow.inference.predictor import Predictor
from genreflow.models import build_model
from genreflow.training.data import TrainingData
from genreflow.training.fit import fit
from genreflow.training.options import FitOptions
from genreflow.training.segment_set import SegmentSet
from genreflow.tuning import model_costs
from genreflow.tuning.model_costs import measure_costs
from serving_toy import LABELS, SEGMENT_SECONDS, SPEC

LENGTH = SPEC.frames(SEGMENT_SECONDS)
BANK = FilterBank(
    mel=np.random.default_rng(0).random((SPEC.n_mels, 1 + SPEC.n_fft // 2), "float32"),
    window=np.hanning(SPEC.n_fft).astype("float32"),
)


def part(tracks, seed):
    rng = np.random.default_rng(seed)
    pieces = [rng.integers(0, 256, (2 * LENGTH, SPEC.n_mels), "uint8") for _ in range(tracks)]
    return SegmentSet(pieces, np.arange(tracks) % len(LABELS), range(tracks), LENGTH, LENGTH // 2)


@pytest.fixture(scope="module")
def data():
    valid = part(6, 2)
    return TrainingData(
        genres=LABELS, train=part(12, 1), valid=valid, valid_segments=valid, length=LENGTH, hop=LENGTH // 2
    )


def small(data, name="efficient"):
    mean, variance = data.train.band_statistics()
    return build_model(name, input_shape=data.input_shape, classes=len(LABELS), mean=mean, variance=variance, seed=3)


def costs_of(model, data, **asked):
    return measure_costs(model, data, spec=SPEC, bank=BANK, **{"latency": False, "memory": False, **asked})


def test_counting_parameters_needs_no_export(data, monkeypatch):
    monkeypatch.delattr(model_costs, "export_with_embeddings")
    model = small(data)
    assert costs_of(model, data) == {"parameters": model.count_params()}


def test_the_measured_bundle_holds_this_model(data, monkeypatch):
    measured_on = []
    monkeypatch.setattr("genreflow.costs.memory.LOAD_SECONDS", 0.5)

    def also(function):
        def call(directory):
            predictor = Predictor(directory)
            measured_on.append((predictor.bundle, predictor.run(segments)[0]))
            return function(directory)

        return call

    for name in ("latency_ms", "memory_mib"):
        monkeypatch.setattr(model_costs, name, also(getattr(model_costs, name)))
    model, segments = small(data), data.valid.segments(slice(0, 3))
    costs = costs_of(model, data, latency=True, memory=True)
    assert costs["parameters"] == model.count_params()
    assert costs["latency_ms"] > 0
    assert costs["memory_mb"] > 0
    assert len(measured_on) == 2
    for bundle, logits in measured_on:
        np.testing.assert_allclose(logits, model.predict_on_batch(segments), atol=1e-4)
        assert (bundle.labels, bundle.spec, bundle.segment_frames, bundle.segment_hop) == (
            LABELS,
            SPEC,
            data.length,
            data.hop,
        )
        assert not bundle.directory.exists()


def test_only_the_costs_that_are_needed_are_measured(data, monkeypatch):
    monkeypatch.delattr(model_costs, "memory_mib")
    costs = costs_of(small(data), data, latency=True)
    assert costs["latency_ms"] > 0
    assert costs.keys() == {"parameters", "latency_ms"}


@pytest.mark.parametrize(
    "name", ["tiny_cnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("efficient", "cnn_gru"))]
)
def test_a_fit_after_the_measurement_gives_the_same_curves(name, data):
    options = FitOptions(epochs=2, batch_size=8, patience=2, learning_rate=1e-3, precision="float32")
    curves = []
    for measured_before in (False, True):
        model = small(data, name)
        if measured_before:
            costs_of(model, data, latency=True)
        history = fit(model, data.train, data.valid, options).history
        curves.append((history["loss"], history["val_loss"]))
    np.testing.assert_array_equal(curves[0], curves[1])
