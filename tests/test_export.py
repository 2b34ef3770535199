"""Every model of the registry leaves as ONNX and as Keras with the answers it had."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from architectures import TYPICAL_ELSE_SLOW
from genreflow.errors import GenreflowError
from genreflow.export.keras_to_onnx import check_agreement, export_onnx, onnx_logits
from genreflow.models import build_model

SHAPE = (52, 40)


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(0).random((14, *SHAPE), dtype="float32")


def worn(name, segments):
    """A model whose batch normalisation is not the identity any more."""
    mean, variance = segments.mean(axis=(0, 1)), segments.var(axis=(0, 1))
    model = build_model(name, input_shape=SHAPE, classes=6, mean=mean, variance=variance, seed=1)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(segments, np.arange(14) % 6, epochs=2, batch_size=7, verbose=0)
    return model


@pytest.fixture(scope="module", params=TYPICAL_ELSE_SLOW)
def model(request, segments):
    return worn(request.param, segments)


def test_exports_and_agrees(model, segments, tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    assert check_agreement(model, path, segments) < 1e-4
    assert check_agreement(model, path, segments[:1]) < 1e-4
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape, taken.type) == ("segments", ["batch", *SHAPE], "tensor(float)")
    assert (given.name, given.shape, given.type) == ("logits", ["batch", 6], "tensor(float)")
    operators = onnx.load(path)
    assert {node.op_type for node in operators.graph.node}.isdisjoint({"BatchNormalization", "Dropout"})
    assert [opset.domain for opset in operators.opset_import] == [""]  # any runtime reads it


def test_keras_file_comes_back(model, segments, tmp_path):
    model.save(tmp_path / "model.keras")
    # Nothing of genreflow is needed to read it: only layers that Keras knows.
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict_on_batch(segments), model.predict_on_batch(segments), atol=1e-6)


def test_disagreement_is_told(segments, tmp_path):
    model = worn("parallel_cnn", segments)
    export_onnx(model, tmp_path / "model.onnx")
    bias = model.get_layer("body").get_layer("logits").bias
    bias.assign(bias + 0.01)
    with pytest.raises(GenreflowError, match=r"model.onnx.*differ by 0.01"):
        check_agreement(model, tmp_path / "model.onnx", segments)
    assert check_agreement(model, tmp_path / "model.onnx", segments, tolerance=0.02) == pytest.approx(0.01, rel=0.01)
    bias.assign(bias * np.nan)
    with pytest.raises(GenreflowError, match="nan"):
        check_agreement(model, tmp_path / "model.onnx", segments)


def test_a_net_that_ran_away_may_differ_by_rounding(segments, tmp_path):
    """Logits in the hundred thousands, as of a learning rate that was far too high, have no digits for 1e-4."""
    model = worn("parallel_cnn", segments)
    layer = model.get_layer("body").get_layer("logits")
    layer.kernel.assign(layer.kernel * 1e5)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_agreement(model, tmp_path / "model.onnx", segments) > 1e-4
    layer.kernel.assign(layer.kernel * 1.0001)
    with pytest.raises(GenreflowError, match="differ by"):
        check_agreement(model, tmp_path / "model.onnx", segments)


def test_one_segment_is_answered_as_in_company(segments, tmp_path):
    model = worn("cnn_rnn", segments)
    export_onnx(model, tmp_path / "model.onnx")
    alone = np.concatenate([onnx_logits(tmp_path / "model.onnx", segments[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone, onnx_logits(tmp_path / "model.onnx", segments)[:3], atol=1e-5)
