"""Export a Keras model to ONNX, and compare the outputs of both."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime

from genreflow.embedding.embedder import Embedder
from genreflow.embedding.reference_values import reference_values
from genreflow.errors import GenreflowError
from genreflow.export.onnx_recurrent import convert_recurrent_layer, replace_outputs, supported_recurrent_layers
from genreflow.files import atomic_file, temporary_path

INPUT = "segments"
# Outputs of an exported model: the logits and, in a bundle, what the familiarity of a track is measured with.
LOGITS, EMBEDDINGS = "logits", "embeddings"
# Segments per call when outputs are compared. A large network takes more memory for 64 whole tracks than for its fit.
PARITY_BATCH = 8
# Relative part of the tolerance: some units in the last place of float32.
RELATIVE_TOLERANCE = 1e-6


def export_onnx(
    model: keras.Model, path: Path, *, input_name: str = INPUT, output_names: Sequence[str] = (LOGITS,)
) -> None:
    """Write `model` as ONNX, with a dynamic batch size.

    ONNX Runtime's basic graph optimisations are applied once, here: batch normalisation is folded into convolutions and
    constants are folded, so that the file is smaller and loads faster. The graph contains standard operators only.

    Parameters
    ----------
    model : keras.Model
        From float32 (batch, frames, n_mels) to one or several outputs float32 (batch, size).
    path : Path
        Written atomically.
    input_name : str
        Name of the graph's input.
    output_names : sequence of str
        Names of the graph's outputs.
    """
    path = Path(path)
    segments = keras.InputSpec(shape=model.inputs[0].shape, dtype="float32", name=input_name)
    with atomic_file(path) as optimised, temporary_path(path) as exported:
        stand_in = _WeightsAsInputs(model)
        with warnings.catch_warnings():  # tf2onnx uses names that NumPy deprecates
            warnings.simplefilter("ignore", FutureWarning)
            signature = [[segments, *stand_in.input_specs]]
            stand_in.export(exported, format="onnx", input_signature=signature, verbose=False)
        stand_in.insert_weights(exported)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
        proto = onnx.load(optimised)
        _name_inputs_and_outputs(proto, [input_name], output_names)
        onnx.checker.check_model(proto)
        onnx.save(proto, optimised)


class _WeightsAsInputs(keras.Model):
    """A model that takes its weights as inputs, for the exporter.

    tf2onnx makes some forty copies of each weight that it sees: 10 GB for a model of 46 million parameters. Given the
    weights as inputs it takes half a GB, and a seventh of the time; they are inserted into the exported file instead.
    So are recurrent layers, which tf2onnx would export as loops: until then the input of such a layer is an output of
    the graph, and the output of the layer an input.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(name="weights_as_inputs")
        # Fixes training=False in the graph; with recurrent layers the exporter would include the training branch too.
        self._inference_model = keras.Model(model.inputs, model(model.inputs[0], training=False))
        self._recurrent = supported_recurrent_layers(self._inference_model)
        trainable = self._inference_model.trainable_variables
        self._n_trainable, self._n_outputs = len(trainable), len(model.outputs)
        self._variables = [*trainable, *self._inference_model.non_trainable_variables]
        self.built = True

    @property
    def input_specs(self) -> list[keras.InputSpec]:
        """Specs of the inputs after the segments: weights, and outputs of recurrent layers."""
        weights = [keras.InputSpec(v.dtype, v.shape, name=f"weight_{i}") for i, v in enumerate(self._variables)]
        outputs = [
            keras.InputSpec(layer.output.dtype, layer.output.shape, name=f"recurrent_{i}")
            for i, layer in enumerate(self._recurrent)
        ]
        return [*weights, *outputs]

    def call(self, inputs: Sequence[Any]) -> list[Any]:
        """Outputs of the model, and the inputs of the recurrent layers."""
        segments, *others = inputs
        weights, recurrent_outputs = others[: len(self._variables)], others[len(self._variables) :]
        n = self._n_trainable
        with replace_outputs(self._recurrent, recurrent_outputs) as recurrent_inputs:
            outputs, _ = self._inference_model.stateless_call(weights[:n], weights[n:], segments, training=False)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [*outputs, *(recurrent_inputs[i] for i in range(len(self._recurrent)))]

    def insert_weights(self, path: Path) -> None:
        """Replace the inputs of an exported file by initialisers and recurrent operators."""
        proto = onnx.load(path)
        graph = proto.graph
        recurrent_weights = {id(weight) for layer in self._recurrent for weight in layer.variables}
        for value in list(graph.input):
            kind, _, index = value.name.partition(":")[0].partition("_")
            if kind == "weight":
                variable = self._variables[int(index)]
                if id(variable) not in recurrent_weights:
                    array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
                    graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            elif kind == "recurrent":
                source = graph.output[self._n_outputs + int(index)].name
                nodes, weights = convert_recurrent_layer(self._recurrent[int(index)], source, value.name)
                graph.node.extend(nodes)
                graph.initializer.extend(weights)
            else:
                continue
            graph.input.remove(value)
        del graph.output[self._n_outputs :]
        onnx.save(proto, path)


def _name_inputs_and_outputs(proto: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name inputs, outputs and batch dimension, and remove what the optimiser left unused."""
    graph = proto.graph
    used = {node.domain for node in graph.node}
    opsets = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:], graph.value_info[:]
    proto.opset_import.extend(opsets)
    values = [*graph.input, *graph.output]
    names = {value.name: name for value, name in zip(values, [*inputs, *outputs], strict=True)}
    for value in values:
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def onnx_outputs(path: Path, segments: np.ndarray, names: Sequence[str] = (LOGITS,)) -> list[np.ndarray]:
    """Outputs of an exported model, by ONNX Runtime on one thread.

    Parameters
    ----------
    path : Path
    segments : np.ndarray [shape=(n, frames, n_mels), range=[0, 1]]
    names : sequence of str

    Returns
    -------
    list of np.ndarray [shape=(n, size), dtype=float32]
        In the order of `names`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batches = (np.asarray(batch, "float32") for batch in _batches(segments))
    by_batch = [session.run(list(names), {INPUT: batch}) for batch in batches]
    return [np.concatenate(parts) for parts in zip(*by_batch, strict=True)]


def _batches(segments: np.ndarray) -> Iterator[np.ndarray]:
    return (segments[first : first + PARITY_BATCH] for first in range(0, len(segments), PARITY_BATCH))


def check_parity(
    model: keras.Model,
    onnx_path: Path,
    segments: np.ndarray,
    *,
    embedder: Embedder | None = None,
    tolerance: float = 1e-4,
) -> float:
    """Check that an exported file gives the outputs of the model that it was made from.

    Parameters
    ----------
    model : keras.Model
        Its outputs are logits or, if there are two, logits and embeddings.
    onnx_path : Path
    segments : np.ndarray [shape=(n, frames, n_mels), range=[0, 1]]
        Real segments: noise does not exercise the activations that occur in use.
    embedder : Embedder or None
        What computes the values that the model takes, from which the embeddings are computed; None: the model
        takes segments.
    tolerance : float > 0
        Largest allowed difference of a logit, plus `RELATIVE_TOLERANCE` of the largest logit: those of a model whose
        fit diverged are in the thousands, where float32 is coarser than 1e-4. Of an embedding, whose direction alone
        counts, it is relative to the largest value.

    Returns
    -------
    float >= 0
        The largest difference of a logit.

    Raises
    ------
    GenreflowError
        A difference is larger than allowed, or not a number.
    """
    segments = np.asarray(segments, "float32")
    expected = _expected_outputs(model, segments, embedder)
    found = dict(zip(expected, onnx_outputs(onnx_path, segments, list(expected)), strict=True))
    differences = {name: float(np.max(np.abs(found[name] - expected[name]))) for name in expected}
    for name, difference in differences.items():
        largest = float(np.max(np.abs(expected[name])))
        allowed = tolerance + RELATIVE_TOLERANCE * largest if name == LOGITS else tolerance * max(1.0, largest)
        if not difference <= allowed:
            raise GenreflowError(
                f"{onnx_path}: its {name} must differ from those of the Keras model by at most {allowed:.2g}; got "
                f"{difference:.2g}."
            )
    return differences[LOGITS]


def _expected_outputs(model: keras.Model, segments: np.ndarray, embedder: Embedder | None) -> dict[str, np.ndarray]:
    inputs = segments if embedder is None else embedder.embed(segments)
    by_batch = [model.predict_on_batch(batch) for batch in _batches(inputs)]
    by_batch = [outputs if isinstance(outputs, list) else [outputs] for outputs in by_batch]
    outputs = [np.concatenate(parts) for parts in zip(*by_batch, strict=True)]
    if embedder is not None:
        outputs.append(reference_values(inputs, embedder.columns))
    return dict(zip((LOGITS, EMBEDDINGS), outputs, strict=False))
