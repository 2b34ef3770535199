"""Recurrent layers are exported as ONNX operators, with the same outputs."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from genreflow.export.keras_to_onnx import check_parity, export_onnx
from genreflow.export.onnx_recurrent import replace_outputs, supported_recurrent_layers

FRAMES, BANDS = 13, 7


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(0).random((5, FRAMES, BANDS), dtype="float32")


def make_model(*stacks):
    """Stacks of layers beside each other, whose outputs a dense layer adds up."""
    inputs = keras.Input((FRAMES, BANDS))
    outputs = []
    for stack in stacks:
        x = inputs
        for layer in stack:
            x = layer(x)
        outputs.append(layers.Dense(3)(layers.Flatten()(x)))
    model = keras.Model(inputs, layers.add(outputs) if len(outputs) > 1 else outputs[0])
    rng = np.random.default_rng(1)
    for weight in model.weights:  # biases too, which are 0 or 1 initially
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize(
    ("layer_type", "options"),
    [(layers.LSTM, {}), (layers.GRU, {}), (layers.GRU, {"reset_after": False})],
)
def test_an_operator_gives_the_output_of_the_layer(layer_type, options, segments, tmp_path):
    """In both directions or one, with the outputs of all frames or of the last one: one export takes seconds."""

    def make_layer(bidirectional, return_sequences):
        layer = layer_type(4, **options, return_sequences=return_sequences)
        return layers.Bidirectional(layer) if bidirectional else layer

    stacks = [
        (make_layer(bidirectional, True), make_layer(bidirectional, return_sequences))
        for bidirectional in (True, False)
        for return_sequences in (True, False)
    ]
    model = make_model(*stacks)
    before = model.predict_on_batch(segments)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_parity(model, tmp_path / "model.onnx", segments) < 1e-5
    assert check_parity(model, tmp_path / "model.onnx", segments[:1]) < 1e-5
    found = operators(tmp_path / "model.onnx")
    assert found.count(layer_type.__name__) == 2 * len(stacks)
    assert {"Loop", "Scan", "If"}.isdisjoint(found)
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
def test_layers_without_an_operator_are_left_to_the_exporter(layer, segments, tmp_path):
    model = make_model([layer])
    assert not supported_recurrent_layers(model)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_parity(model, tmp_path / "model.onnx", segments) < 1e-5


def test_layers_compute_again_after_an_exception(segments):
    inner = make_model([layers.GRU(4)])
    model = keras.Model(inputs := keras.Input((FRAMES, BANDS)), inner(inputs))
    (layer,) = supported_recurrent_layers(model)  # found in the inner model
    before = model.predict_on_batch(segments)
    output = keras.ops.ones((5, 4))

    def fail():
        with replace_outputs([layer], [output]) as recorded:
            np.testing.assert_array_equal(layer(segments), output)
            np.testing.assert_array_equal(recorded[0], segments)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    np.testing.assert_array_equal(model.predict_on_batch(segments), before)
