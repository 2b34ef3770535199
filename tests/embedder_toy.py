"""A small network on patches, in ONNX, for tests that need an embedder."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 6


def write_network(path: Path, *, size: int = SIZE, seed: int = 0) -> Path:
    """Write a network that gives means over time of some combinations of the bands of a patch."""
    kernel = np.abs(np.random.default_rng(seed).standard_normal((96, size))).astype("float32")
    centres = np.linspace(0, 95, size)
    kernel *= np.exp(-(((np.arange(96)[:, None] - centres) / 8) ** 2)).astype("float32")
    nodes = [
        helper.make_node("ReduceMean", ["patches"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "kernel"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["batch", 187, 96])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", size])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
