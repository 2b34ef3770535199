"""Every architecture is exported to ONNX and saved by Keras with the same logits."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from architectures import TYPICAL_ELSE_SLOW
from genreflow.errors import GenreflowError
from genreflow.export.export_model import export_with_embeddings, weights_hash
from genreflow.export.keras_to_onnx import check_parity, export_onnx, onnx_outputs
from genreflow.models import build_model

SHAPE = (52, 40)


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(0).random((14, *SHAPE), dtype="float32")


def make_fitted_model(name, segments):
    """A model whose batch normalisation is no longer the identity."""
    mean, variance = segments.mean(axis=(0, 1)), segments.var(axis=(0, 1))
    model = build_model(name, input_shape=SHAPE, classes=6, mean=mean, variance=variance, seed=1)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(segments, np.arange(14) % 6, epochs=2, batch_size=7, verbose=0)
    return model


@pytest.fixture(scope="module", params=TYPICAL_ELSE_SLOW)
def model(request, segments):
    return make_fitted_model(request.param, segments)


def test_the_exported_model_gives_the_same_logits(model, segments, tmp_path):
    path = tmp_path / "model.onnx"
    both = export_with_embeddings(model, path)
    assert check_parity(both, path, segments) < 1e-4
    assert check_parity(both, path, segments[:1]) < 1e-4
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (model_input,), (model_output, embeddings) = session.get_inputs(), session.get_outputs()
    assert (model_input.name, model_input.shape, model_input.type) == ("segments", ["batch", *SHAPE], "tensor(float)")
    assert (model_output.name, model_output.shape, model_output.type) == ("logits", ["batch", 6], "tensor(float)")
    size = both.outputs[1].shape[1]
    assert (embeddings.name, embeddings.shape, embeddings.type) == ("embeddings", ["batch", size], "tensor(float)")
    proto = onnx.load(path)
    assert {node.op_type for node in proto.graph.node}.isdisjoint({"BatchNormalization", "Dropout"})
    assert [opset.domain for opset in proto.opset_import] == [""]  # standard operators, for any runtime


def test_a_saved_model_can_be_loaded_without_genreflow(model, segments, tmp_path):
    model.save(tmp_path / "model.keras")
    # No custom objects: only layers of Keras.
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(segments), model.predict_on_batch(segments), atol=1e-6)


def test_different_logits_are_refused(segments, tmp_path):
    model = make_fitted_model("parallel_cnn", segments)
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    bias = model.get_layer("body").get_layer("logits").bias
    bias.assign(bias + 0.01)
    with pytest.raises(GenreflowError, match=r"model\.onnx"):
        check_parity(model, path, segments)
    assert check_parity(model, path, segments, tolerance=0.02) == pytest.approx(0.01, rel=0.01)
    bias.assign(bias * np.nan)
    with pytest.raises(GenreflowError, match="nan"):
        check_parity(model, path, segments)


def test_different_embeddings_are_refused(segments, tmp_path):
    model = make_fitted_model("parallel_cnn", segments)
    path = tmp_path / "model.onnx"
    both = export_with_embeddings(model, path)
    scaled = keras.Model(both.input, [both.outputs[0], both.outputs[1] * 1.001])
    with pytest.raises(GenreflowError, match="embeddings"):
        check_parity(scaled, path, segments)
    assert check_parity(scaled, path, segments, tolerance=0.01) < 1e-4


def test_the_tolerance_grows_with_the_logits(segments, tmp_path):
    """Logits in the hundred thousands, as of a fit that diverged, have no digits for 1e-4."""
    model = make_fitted_model("parallel_cnn", segments)
    path = tmp_path / "model.onnx"
    layer = model.get_layer("body").get_layer("logits")
    layer.kernel.assign(layer.kernel * 1e5)
    export_onnx(model, path)
    assert check_parity(model, path, segments) > 1e-4
    layer.kernel.assign(layer.kernel * 1.0001)
    with pytest.raises(GenreflowError):
        check_parity(model, path, segments)


def test_logits_do_not_depend_on_the_batch(segments, tmp_path):
    model = make_fitted_model("cnn_rnn", segments)
    export_onnx(model, tmp_path / "model.onnx")
    single = np.concatenate([onnx_outputs(tmp_path / "model.onnx", segments[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(single, onnx_outputs(tmp_path / "model.onnx", segments)[0][:3], atol=1e-5)


def test_the_hash_of_the_weights_depends_on_every_weight_and_on_nothing_else(segments):
    model, again = (make_fitted_model("parallel_cnn", segments) for _ in range(2))
    first = weights_hash(model)
    assert weights_hash(again) == first
    again.optimizer.learning_rate = 1.0
    again.get_layer("body").trainable = False
    assert weights_hash(again) == first
    hashes = {first}
    for index, weights in enumerate(model.get_weights()):
        changed = model.get_weights()
        changed[index] = np.nextafter(weights, np.float32(1))
        again.set_weights(changed)
        hashes.add(weights_hash(again))
    assert len(hashes) == 1 + len(model.get_weights())
