"""Recurrent layers leave as ONNX's operators, with the answers they had."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from genreflow.export.keras_to_onnx import check_agreement, export_onnx
from genreflow.export.onnx_recurrent import answered, recurrent_layers

FRAMES, BANDS = 13, 7


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(0).random((5, FRAMES, BANDS), dtype="float32")


def net(*recurrent):
    image = keras.Input((FRAMES, BANDS))
    x = image
    for layer in recurrent:
        x = layer(x)
    if x.ndim == 3:
        x = layers.Flatten()(x)
    model = keras.Model(image, layers.Dense(3)(x))
    rng = np.random.default_rng(1)
    for weight in model.weights:  # biases too, which are zero or one at first
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(layers.LSTM, {}), (layers.GRU, {}), (layers.GRU, {"reset_after": False})],
)
def test_an_operator_gives_what_the_layer_gives(kind, options, both, every, segments, tmp_path):
    def made(**more):
        layer = kind(4, **options, **more)
        return layers.Bidirectional(layer) if both else layer

    model = net(made(return_sequences=True), made(return_sequences=every))
    before = model.predict_on_batch(segments)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_agreement(model, tmp_path / "model.onnx", segments) < 1e-5
    assert check_agreement(model, tmp_path / "model.onnx", segments[:1]) < 1e-5
    found = operators(tmp_path / "model.onnx")
    assert kind.__name__ in found
    assert found.isdisjoint({"Loop", "Scan", "If"})
    np.testing.assert_array_equal(model.predict_on_batch(segments), before)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(4, activation="relu"),
        layers.GRU(4, recurrent_activation="tanh"),
        layers.LSTM(4, use_bias=False),
        layers.LSTM(4, go_backwards=True),
        layers.SimpleRNN(4),
        layers.Bidirectional(layers.GRU(4), merge_mode="sum"),
        layers.Bidirectional(layers.LSTM(4), backward_layer=layers.GRU(4, go_backwards=True)),
    ],
    ids=lambda layer: layer.name,
)
def test_what_no_operator_says_the_exporter_writes(layer, segments, tmp_path):
    model = net(layer)
    assert not recurrent_layers(model)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_agreement(model, tmp_path / "model.onnx", segments) < 1e-5


def test_layers_compute_again_after_an_error(segments):
    inner = net(layers.GRU(4))
    model = keras.Model(image := keras.Input((FRAMES, BANDS)), inner(image))
    (layer,) = recurrent_layers(model)  # found in the model inside
    before = model.predict_on_batch(segments)
    stand_in = keras.ops.ones((5, 4))

    def fails():
        with answered([layer], [stand_in]) as asked:
            np.testing.assert_array_equal(layer(segments), stand_in)
            np.testing.assert_array_equal(asked[0], segments)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    np.testing.assert_array_equal(model.predict_on_batch(segments), before)
