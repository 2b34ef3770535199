"""LSTM and GRU layers as ONNX operators, which run faster than the loops that exporters write for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers
from onnx import NodeProto, TensorProto, helper, numpy_helper

# The configuration that ONNX's operators have by default.
_OPERATOR_DEFAULTS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "return_state": False,
}
# ONNX's order of the gates, as indices into that of Keras (LSTM: input, forget, cell, output; GRU: update, reset,
# hidden).
_GATE_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}


def supported_recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model, and of models within it, that `convert_recurrent_layer` converts."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += supported_recurrent_layers(layer)
        elif _is_supported(layer):
            found.append(layer)
    return found


def _directions(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]


def _is_supported(layer: keras.layers.Layer) -> bool:
    directions = _directions(layer)
    first, last = directions[0], directions[-1]
    return (
        type(first) in (layers.LSTM, layers.GRU)
        and (type(last), last.units) == (type(first), first.units)
        and getattr(layer, "merge_mode", "concat") == "concat"
        and all(_OPERATOR_DEFAULTS.items() <= direction.get_config().items() for direction in directions)
        and [direction.go_backwards for direction in directions] == [False, True][: len(directions)]
    )


@contextmanager
def replace_outputs(recurrent: Sequence[keras.layers.Layer], outputs: Sequence[Any]) -> Iterator[dict[int, Any]]:
    """Make layers return given tensors instead of computing, and record their inputs.

    Parameters
    ----------
    recurrent : sequence of keras.layers.Layer
    outputs : sequence of tensor
        What each layer returns.

    Yields
    ------
    dict of int to tensor
        Input of each layer that was called, by its index in `recurrent`.
    """
    inputs: dict[int, Any] = {}

    def returning(index: int) -> Callable[..., Any]:
        def call(sequences: Any, *_: Any, **__: Any) -> Any:
            inputs[index] = sequences
            return outputs[index]

        return call

    try:
        for index, layer in enumerate(recurrent):
            layer.call = returning(index)
        yield inputs
    finally:
        for layer in recurrent:
            vars(layer).pop("call", None)


def convert_recurrent_layer(
    layer: keras.layers.Layer, source: str, target: str
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Convert a layer to nodes and initialisers of a graph.

    Formulas and order of the gates: https://onnx.ai/onnx/operators/onnx__LSTM.html and onnx__GRU.html; Keras' GRU with
    ``reset_after`` is ``linear_before_reset`` there.

    Parameters
    ----------
    layer : keras.layers.Layer
        One of `supported_recurrent_layers`.
    source, target : str
        Names of its input (batch, steps, features) and its output, (batch, steps, units) or (batch, units).

    Returns
    -------
    nodes : list of onnx.NodeProto
    initialisers : list of onnx.TensorProto
    """
    directions = _directions(layer)
    first = directions[0]
    operator = type(first).__name__
    per_direction = (_weights(direction, operator) for direction in directions)
    arrays = [np.stack(arrays) for arrays in zip(*per_direction, strict=True)]
    name = f"{target}/{operator}"
    weight_names = [f"{name}/{weight}" for weight in ("W", "R", "B")]
    options = {"hidden_size": first.units, "direction": "bidirectional" if len(directions) == 2 else "forward"}
    if operator == "GRU":
        options["linear_before_reset"] = int(first.reset_after)
    # The states at all steps are (steps, directions, batch, units), the last ones (directions, batch, units).
    batch_first: tuple[int, ...]
    if first.return_sequences:
        outputs, batch_first, leading_axes = [f"{name}/Y"], (2, 0, 1, 3), 2
    else:
        outputs, batch_first, leading_axes = ["", f"{name}/Y_h"], (1, 0, 2), 1
    shape = np.array([0] * leading_axes + [len(directions) * first.units])  # 0: as before
    nodes = [
        helper.make_node("Transpose", [source], [f"{name}/X"], perm=(1, 0, 2)),
        helper.make_node(operator, [f"{name}/X", *weight_names], outputs, **options),
        helper.make_node("Transpose", outputs[-1:], [f"{name}/batch"], perm=batch_first),
        helper.make_node("Reshape", [f"{name}/batch", f"{name}/shape"], [target]),
    ]
    named = zip([*weight_names, f"{name}/shape"], [*arrays, shape], strict=True)
    return nodes, [numpy_helper.from_array(np.ascontiguousarray(array), label) for label, array in named]


def _weights(layer: keras.layers.Layer, operator: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input and recurrent weights (gates * units, features), and both biases concatenated, in ONNX's order of gates."""
    kernel, recurrent_kernel, bias = layer.get_weights()

    def reorder(array: np.ndarray) -> np.ndarray:
        gates = np.split(array, len(_GATE_ORDER[operator]), axis=-1)
        return np.concatenate([gates[gate] for gate in _GATE_ORDER[operator]], axis=-1)

    biases = reorder(bias)
    if biases.ndim == 1:  # Keras has one bias for input and state
        biases = np.stack([biases, np.zeros_like(biases)])
    return reorder(kernel).T, reorder(recurrent_kernel).T, biases.reshape(-1)
