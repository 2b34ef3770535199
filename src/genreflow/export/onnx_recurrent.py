"""LSTM and GRU layers as the operators of ONNX that do the same, and run faster than the loops an exporter writes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
from keras import layers
from onnx import NodeProto, TensorProto, helper, numpy_helper

# What the operators do unless they are told otherwise.
_PLAIN = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "return_state": False}
# Gates in Keras' order (LSTM: input, forget, cell, output; GRU: update, reset, hidden), put in that of ONNX.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}


def recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model, and of models in it, that `as_operator` can write."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += recurrent_layers(layer)
        elif _has_operator(layer):
            found.append(layer)
    return found


def _directions(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]


def _has_operator(layer: keras.layers.Layer) -> bool:
    each = _directions(layer)
    first, last = each[0], each[-1]
    return (
        type(first) in (layers.LSTM, layers.GRU)
        and (type(last), last.units) == (type(first), first.units)
        and getattr(layer, "merge_mode", "concat") == "concat"
        and all(_PLAIN.items() <= direction.get_config().items() for direction in each)
        and [direction.go_backwards for direction in each] == [False, True][: len(each)]
    )


@contextmanager
def answered(recurrent: Sequence[keras.layers.Layer], answers: Sequence) -> Iterator[dict[int, object]]:
    """While it lasts, layers do not compute: they give what is given for them.

    Parameters
    ----------
    recurrent : sequence of keras.layers.Layer
    answers : sequence of tensor
        What each gives, in its shape.

    Yields
    ------
    dict of int to tensor
        What each was asked for, when it was, by its place among them.
    """
    asked = {}

    def answer(index: int):
        def call(sequences, *_: object, **__: object):
            asked[index] = sequences
            return answers[index]

        return call

    try:
        for index, layer in enumerate(recurrent):
            layer.call = answer(index)
        yield asked
    finally:
        for layer in recurrent:
            vars(layer).pop("call", None)


def as_operator(layer: keras.layers.Layer, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """A layer as nodes and initialisers of a graph.

    Formulas and the order of gates: https://onnx.ai/onnx/operators/onnx__LSTM.html and onnx__GRU.html; Keras' GRU with
    ``reset_after`` is ``linear_before_reset`` there.

    Parameters
    ----------
    layer : keras.layers.Layer
        One of `recurrent_layers`.
    source, target : str
        What it reads (batch, steps, features) and what it gives, (batch, steps, units) or (batch, units).

    Returns
    -------
    nodes : list of onnx.NodeProto
    initialisers : list of onnx.TensorProto
    """
    each = _directions(layer)
    first = each[0]
    operator = type(first).__name__
    arrays = [np.stack(part) for part in zip(*(_weights(direction, operator) for direction in each), strict=True)]
    name = f"{target}/{operator}"
    given = [f"{name}/{part}" for part in ("W", "R", "B")]
    options = {"hidden_size": first.units, "direction": "bidirectional" if len(each) == 2 else "forward"}
    if operator == "GRU":
        options["linear_before_reset"] = int(first.reset_after)
    # All states are (steps, directions, batch, units), the last ones (directions, batch, units).
    every = first.return_sequences
    results, order = ([f"{name}/Y"], (2, 0, 1, 3)) if every else (["", f"{name}/Y_h"], (1, 0, 2))
    shape = np.array([0] * (2 if every else 1) + [len(each) * first.units])
    nodes = [
        helper.make_node("Transpose", [source], [f"{name}/X"], perm=(1, 0, 2)),
        helper.make_node(operator, [f"{name}/X", *given], results, **options),
        helper.make_node("Transpose", results[-1:], [f"{name}/batch"], perm=order),
        helper.make_node("Reshape", [f"{name}/batch", f"{name}/shape"], [target]),
    ]
    named = zip([*given, f"{name}/shape"], [*arrays, shape], strict=True)
    return nodes, [numpy_helper.from_array(np.ascontiguousarray(array), label) for label, array in named]


def _weights(layer: keras.layers.Layer, operator: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the input and of the state (gates * units, features), and both biases one behind the other."""
    kernel, recurrent, bias = layer.get_weights()

    def gates(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(_GATES[operator]), axis=-1)
        return np.concatenate([parts[gate] for gate in _GATES[operator]], axis=-1)

    biases = gates(bias)
    if biases.ndim == 1:  # Keras has one for both
        biases = np.stack([biases, np.zeros_like(biases)])
    return gates(kernel).T, gates(recurrent).T, biases.reshape(-1)
