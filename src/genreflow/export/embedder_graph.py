"""Graphs with an embedder: any network on patches as an embedder, and an embedder with a classifier behind it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, utils, version_converter

from genreflow.embedding.conversion import check_patch_spec, with_conversion
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.musicnn import PATCH
from genreflow.embedding.reference_values import used
from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.files import atomic_file, sha256

# What ONNX raises for a file that is no model, and for one that it cannot change.
_ONNX_ERRORS = (ValueError, RuntimeError, TypeError, OSError, LookupError, onnx.checker.ValidationError)


def save_embedder(proto: onnx.ModelProto, path: Path, description: Mapping[str, Any]) -> None:
    """Write a graph from segments to embeddings as a file for `genreflow.embedding.embedder.Embedder`.

    Parameters
    ----------
    proto : onnx.ModelProto
    path : Path
    description : mapping
        ``name``, ``licence``, ``sha256`` of the weights, and ``columns``: first and last column of each choice of
        values. The number of parameters is added.
    """
    parameters = sum(math.prod(weight.dims) for weight in proto.graph.initializer)
    helper.set_model_props(proto, {"embedder": json.dumps({**description, "parameters": parameters})})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def import_embedder(source: Path, path: Path, *, licence: str, output: str | None = None, spec: FeatureSpec) -> None:
    """Make an embedder of any ONNX network that takes the patches of musicnn.

    Parameters
    ----------
    source : Path
        A network with one input [shape=(batch, frames, 96), dtype=float32] of ``log10(1 + 10000 * mel power)``. Its
        batch must be dynamic. Where the number of frames is dynamic, it gets the 187 of musicnn.
    path : Path
        Of the embedder, written atomically.
    licence : str
        Of the network, for the model card.
    output : str, optional
        Name of the output with the embeddings [shape=(batch, size)]; needed if there are several.
    spec : FeatureSpec
        Of the segments, as in `genreflow.embedding.conversion.to_patches`.

    Raises
    ------
    ParameterError
        The segments of `spec` cannot be converted, or the network has no such output.
    GenreflowError
        The file is no such network.
    """
    check_patch_spec(spec)
    network, where = _load(source), f"{source}"
    frames = _check_input(where, network)
    name = _choose_output(where, network, output)
    with atomic_file(path) as written:
        try:
            (taken,) = _inputs(network)
            network = utils.Extractor(network).extract_model([taken.name], [name])
            taken = network.graph.input[0]
            for dim, value in zip(taken.type.tensor_type.shape.dim, ("batch", frames, PATCH[1]), strict=True):
                setattr(dim, "dim_param" if isinstance(value, str) else "dim_value", value)
            proto = with_conversion(network, spec)
            size = network.graph.output[0].type.tensor_type.shape.dim[1].dim_value
            description = {"name": source.stem, "licence": licence, "columns": {"penultimate": [0, size]}}
            save_embedder(proto, written, description | {"sha256": sha256(source)})
        except _ONNX_ERRORS as error:
            raise _no_network(where, error) from error
        values = Embedder(written).embed(np.zeros((3, frames, PATCH[1]), np.float32))
        if not np.isfinite(values).all():
            raise GenreflowError(f"{where}: its embedding of silence must be finite; got {values.ravel()[0]:g}.")


def merge_head(embedder: Path, head: Path, path: Path) -> None:
    """Put a classifier of embeddings behind an embedder: the graph from segments to logits that a bundle contains.

    Parameters
    ----------
    embedder : Path
        A file for `Embedder`.
    head : Path
        ONNX network with one input [shape=(batch, size)], all values of the embedder, and one output [shape=(batch,
        classes)].
    path : Path
        Written atomically, with the input ``segments`` and the outputs ``logits`` and ``embeddings``, the
        `genreflow.embedding.reference_values.reference_values` of the segments.

    Raises
    ------
    GenreflowError
        A file is no network, or the sizes differ.
    """
    opened = Embedder(embedder)  # also checks the file
    first, last = _load(embedder), _load(head)
    inputs = _inputs(last)
    if len(inputs) != 1 or len(last.graph.output) != 1:
        got = f"{len(inputs)} and {len(last.graph.output)}"
        raise GenreflowError(f"{head}: must have one input and one output; got {got}.")
    if (size := inputs[0].type.tensor_type.shape.dim[-1].dim_value) != opened.size:
        raise GenreflowError(f"{head}: must take {opened.size} values; got an input of {size}.")
    first = compose.add_prefix(first, "embedder/", rename_inputs=False)
    values = first.graph.output[0].name
    _add_reference_values(first, values, opened.columns)
    try:
        first, last = _same_version(first, last)
        last = compose.add_prefix(last, "head/")
        io_map = [(values, f"head/{inputs[0].name}")]
        proto = compose.merge_models(first, last, io_map=io_map)
        logits = last.graph.output[0].name
        _rename_output(proto, logits, "logits")
        _order_outputs(proto, "logits", "embeddings")
        onnx.checker.check_model(proto)
    except _ONNX_ERRORS as error:
        raise _no_network(f"{embedder} and {head}", error) from error
    with atomic_file(path) as written:
        onnx.save(proto, written)


def _add_reference_values(proto: onnx.ModelProto, values: str, columns: Mapping[str, tuple[int, int]]) -> None:
    """Add the output ``embeddings``: `reference_values` of the values of an embedder."""
    chosen = used(columns)
    if len(chosen) == 1:
        _add_slice(proto, values, columns["penultimate"], "embeddings")
    else:
        for name, weight in chosen:
            _add_slice(proto, values, columns[name], f"{name}_values")
            proto.graph.initializer.append(numpy_helper.from_array(np.array(weight, np.float32), f"{name}_weight"))
            proto.graph.node.extend(
                [
                    helper.make_node("LpNormalization", [f"{name}_values"], [f"{name}_unit"], axis=1, p=2),
                    helper.make_node("Mul", [f"{name}_unit", f"{name}_weight"], [f"{name}_weighted"]),
                ]
            )
        weighted = [f"{name}_weighted" for name, _ in chosen]
        proto.graph.node.append(helper.make_node("Concat", weighted, ["embeddings"], axis=1))
    size = sum(columns[name][1] - columns[name][0] for name, _ in chosen)
    value = helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["batch", size])
    proto.graph.output.append(value)


def _add_slice(proto: onnx.ModelProto, values: str, columns: tuple[int, int], output: str) -> None:
    """Add some columns of a tensor."""
    bounds = {f"{output}_first": columns[0], f"{output}_last": columns[1], f"{output}_axis": 1}
    proto.graph.initializer.extend(numpy_helper.from_array(np.array([n]), name) for name, n in bounds.items())
    proto.graph.node.append(helper.make_node("Slice", [values, *bounds], [output]))


def _load(path: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf's exceptions are not public
        raise _no_network(f"{path}", error) from error
    return onnx.shape_inference.infer_shapes(proto)


def _no_network(where: str, error: Exception) -> GenreflowError:
    message = " ".join(str(error).split()).rstrip(".")[:300]
    return GenreflowError(f"{where}: must be a network in ONNX that can be merged; got {message}.")


def _inputs(network: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are no weights, which older files list among them."""
    weights = {weight.name for weight in network.graph.initializer}
    return [value for value in network.graph.input if value.name not in weights]


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """The dimensions of a value; None for dynamic ones."""
    return [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]


def _check_input(where: str, network: onnx.ModelProto) -> int:
    """Check the input of a network, and return its number of frames."""
    inputs = _inputs(network)
    expected = f"must have one float32 input of shape (batch, frames, {PATCH[1]}) with a dynamic batch"
    if len(inputs) != 1:
        raise GenreflowError(f"{where}: {expected}; got {len(inputs)} inputs.")
    shape = _shape(inputs[0])
    is_float = inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    if len(shape) != 3 or shape[0] is not None or shape[2] not in (None, PATCH[1]) or not is_float:
        kind = "float32" if is_float else "another type"
        raise GenreflowError(f"{where}: {expected}; got {kind} of shape {tuple(n or 'dynamic' for n in shape)}.")
    return shape[1] or PATCH[0]


def _choose_output(where: str, network: onnx.ModelProto, name: str | None) -> str:
    outputs = {value.name: _shape(value) for value in network.graph.output}
    chosen = next(iter(outputs)) if name is None and len(outputs) == 1 else name
    if chosen is None or chosen not in outputs:
        raise ParameterError(f"embedding.output must be one of {', '.join(outputs)} of {where}; got {name}.")
    if len(outputs[chosen]) != 2 or outputs[chosen][1] is None:
        raise GenreflowError(f"{where}: the output {chosen} must have shape (batch, size); got {outputs[chosen]}.")
    return chosen


def _same_version(first: onnx.ModelProto, last: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Convert the graph with the older version of ONNX's operators to that of the other one."""
    versions = [max(opset.version for opset in proto.opset_import if not opset.domain) for proto in (first, last)]
    newest = max(versions)
    protos = [
        proto if version == newest else version_converter.convert_version(proto, newest)
        for proto, version in zip((first, last), versions, strict=True)
    ]
    ir_version = max(proto.ir_version for proto in protos)
    for proto in protos:
        proto.ir_version = ir_version
    return protos[0], protos[1]


def _rename_output(proto: onnx.ModelProto, old: str, new: str) -> None:
    for node in proto.graph.node:
        node.output[:] = [new if value == old else value for value in node.output]
        node.input[:] = [new if value == old else value for value in node.input]
    for output in proto.graph.output:
        output.name = new if output.name == old else output.name


def _order_outputs(proto: onnx.ModelProto, *names: str) -> None:
    outputs = {output.name: output for output in proto.graph.output}
    del proto.graph.output[:]
    proto.graph.output.extend(outputs[name] for name in names)
