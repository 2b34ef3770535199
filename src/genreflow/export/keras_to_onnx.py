"""From a trained model to a file that ONNX Runtime serves, and the proof that both give the same answer."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime

from genreflow.errors import GenreflowError
from genreflow.export.onnx_recurrent import answered, as_operator, recurrent_layers

INPUT, OUTPUT = "segments", "logits"
# Segments a call when the two are compared: what a large net holds of 64 whole tracks is more than its fit took.
AGREEMENT_BATCH = 8
ROUNDING = 1e-6


def export_onnx(model: keras.Model, path: Path) -> None:
    """Write `model` as ONNX, with any number of segments a call.

    ONNX Runtime's portable optimisations are made here, once: batch normalisation is folded into the convolutions
    and constants are computed, so that the file is smaller and every service starts sooner. The graph stays within
    the standard operators.

    Parameters
    ----------
    model : keras.Model
        float32 (batch, frames, n_mels) to float32 (batch, classes).
    path : Path
        The file; appears complete or not at all. Its input is called ``segments``, its output ``logits``.
    """
    path = Path(path)
    signature = [keras.InputSpec(shape=model.inputs[0].shape, dtype="float32", name=INPUT)]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        raw, slim = Path(folder, "raw.onnx"), Path(folder, "slim.onnx")
        hollow = _Hollow(model)
        with warnings.catch_warnings():  # the exporter looks up names that NumPy has given up
            warnings.simplefilter("ignore", FutureWarning)
            hollow.export(raw, format="onnx", input_signature=[[*signature, *hollow.specs]], verbose=False)
        hollow.fill(raw)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(slim)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        proto = onnx.load(slim)
        _tidy(proto)
        onnx.checker.check_model(proto)
        onnx.save(proto, slim)
        os.replace(slim, path)


class _Hollow(keras.Model):
    """A model whose weights are inputs: the exporter makes some forty copies of every weight that it sees.

    Of 46 million parameters that were 10 GB; it is now half a GB, in a seventh of the time. The weights go into the
    file when it is there, and so do recurrent layers, of which the exporter would write loops: what they read is an
    output until then, and what they give an input.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(name="hollow")
        # Fixing the mode in the graph: with recurrent layers the exporter otherwise drags in the training branch.
        self._net = keras.Model(model.inputs, model(model.inputs[0], training=False))
        self._recurrent = recurrent_layers(self._net)
        self._all = [*self._net.trainable_variables, *self._net.non_trainable_variables]
        self.built = True

    @property
    def specs(self) -> list[keras.InputSpec]:
        """The inputs behind the segments: the weights, and what recurrent layers give."""
        states = [
            keras.InputSpec(layer.output.dtype, layer.output.shape, name=f"state_{i}")
            for i, layer in enumerate(self._recurrent)
        ]
        return [*(keras.InputSpec(w.dtype, w.shape, name=f"weight_{i}") for i, w in enumerate(self._all)), *states]

    def call(self, inputs):
        segments, *given = inputs
        values, states = given[: len(self._all)], given[len(self._all) :]
        trainable = len(self._net.trainable_variables)
        with answered(self._recurrent, states) as asked:
            logits, _ = self._net.stateless_call(values[:trainable], values[trainable:], segments, training=False)
        return [logits, *(asked[i] for i in range(len(states)))]

    def fill(self, path: Path) -> None:
        """Put weights and recurrent layers in the place of the inputs that stand for them."""
        proto = onnx.load(path)
        graph = proto.graph
        of_layers = {id(weight) for layer in self._recurrent for weight in layer.variables}
        for value in list(graph.input):
            kind, _, index = value.name.partition(":")[0].partition("_")
            if kind == "weight":
                if id(weight := self._all[int(index)]) not in of_layers:
                    array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
                    graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            elif kind == "state":
                source = graph.output[1 + int(index)].name
                nodes, weights = as_operator(self._recurrent[int(index)], source, value.name)
                graph.node.extend(nodes)
                graph.initializer.extend(weights)
            else:
                continue
            graph.input.remove(value)
        del graph.output[1:]
        onnx.save(proto, path)


def _tidy(proto: onnx.ModelProto) -> None:
    """Give input, output and batch dimension their names; drop what the optimiser left behind."""
    graph = proto.graph
    used = {node.domain for node in graph.node}
    opsets = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:], graph.value_info[:]
    proto.opset_import.extend(opsets)
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for value in (graph.input[0], graph.output[0]):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def onnx_logits(path: Path, segments: np.ndarray) -> np.ndarray:
    """Logits of `segments` [shape=(n, frames, n_mels)] by ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    blocks = (np.asarray(block, "float32") for block in _blocks(segments))
    return np.concatenate([session.run([OUTPUT], {INPUT: block})[0] for block in blocks])


def _blocks(segments: np.ndarray) -> Iterator[np.ndarray]:
    return (segments[first : first + AGREEMENT_BATCH] for first in range(0, len(segments), AGREEMENT_BATCH))


def check_agreement(model: keras.Model, onnx_path: Path, segments: np.ndarray, *, tolerance: float = 1e-4) -> float:
    """Compare the exported file with the model it was made from.

    Parameters
    ----------
    model : keras.Model
    onnx_path : Path
    segments : np.ndarray [shape=(n, frames, n_mels), range=[0, 1]]
        Real segments: agreement on noise says little about the values that matter.
    tolerance : float > 0
        Largest difference allowed between any two logits; of a net that was fitted so badly that they are in the
        thousands, a millionth of the largest more, which is some units in the last place of float32.

    Returns
    -------
    float
        The largest difference.

    Raises
    ------
    GenreflowError
        The answers differ by more than `tolerance`, or are no numbers.
    """
    segments = np.asarray(segments, "float32")
    expected = np.concatenate([np.asarray(model.predict_on_batch(block)) for block in _blocks(segments)])
    difference = float(np.max(np.abs(onnx_logits(onnx_path, segments) - expected)))
    allowed = tolerance + ROUNDING * float(np.max(np.abs(expected)))
    if not difference <= allowed:
        raise GenreflowError(
            f"{onnx_path} and the Keras model it was made from differ by {difference:.2g} in a logit; "
            f"at most {allowed:.2g} is right."
        )
    return difference
