"""From base log-mel frames to the patches that musicnn, and embedders with the same input, take.

A patch holds ``log10(1 + 10000 * m)`` for the mel power m that librosa computes at 16 kHz with a window of 512 samples,
a hop of 256 and 96 bands. Base log-mel frames with these parameters, relative to full scale, hold the same levels in
steps of 0.4 dB. Levels at their floor become 0.

The level of a recording is no property of its music, but musicnn's values change with it: a classifier of them that
was right for 76 % of tracks was right for 41 % of the same tracks 20 dB softer (docs/experiments.md). So each segment
is shifted to a common peak first.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec

if TYPE_CHECKING:
    import onnx

# The feature spec of embedders.
PATCH_SPEC = FeatureSpec(
    sample_rate=16000,
    n_fft=512,
    hop_length=256,
    n_mels=96,
    fmin=0.0,
    fmax=8000.0,
    top_db=100.0,  # over 80 dB, quiet recordings would end at the floor
    level_reference="full_scale",
)
# Parameters that may differ from it.
_FREE = ("top_db", "clip_seconds")
_COMPRESSION = 10_000
# Level of the loudest cell of each patch: about the median over clips of published music [dB, relative to power 1].
PEAK_DB = 20.0


def check_patch_spec(spec: FeatureSpec) -> None:
    """Check that the frames of a feature spec can be converted to patches.

    Raises
    ------
    ParameterError
        A parameter differs from `PATCH_SPEC`.
    """
    for name, value in PATCH_SPEC.to_dict().items():
        if name not in _FREE and (found := getattr(spec, name)) != value:
            raise ParameterError(f"features.{name} must be {value} for an embedder; got {found}.")


def to_patches(segments: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Convert segments to patches.

    Parameters
    ----------
    segments : np.ndarray [shape=(n, frames, 96), range=[0, 1]]
        Base log-mel frames divided by 255.
    spec : FeatureSpec
        As `PATCH_SPEC`.

    Returns
    -------
    np.ndarray [shape=(n, frames, 96), dtype=float32]

    Raises
    ------
    ParameterError
        As `check_patch_spec`.
    """
    slope, offset = _exponent(spec)
    segments = np.asarray(segments, np.float64)
    shifted = segments - segments.max(axis=(1, 2), keepdims=True)
    power = np.exp(slope * shifted + offset) * np.sign(segments)
    return np.log10(1 + power).astype(np.float32)


def with_conversion(network: "onnx.ModelProto", spec: FeatureSpec) -> "onnx.ModelProto":
    """Put the conversion of `to_patches` in front of a network that takes patches.

    Parameters
    ----------
    network : onnx.ModelProto
        With one input [shape=(batch, frames, 96)].
    spec : FeatureSpec
        As in `to_patches`.

    Returns
    -------
    onnx.ModelProto
        The same network with the input ``segments`` [shape=(batch, frames, 96), range=[0, 1]].

    Raises
    ------
    ParameterError
        As `check_patch_spec`.
    """
    from onnx import compose, helper, numpy_helper

    slope, offset = _exponent(spec)
    constants = {"slope": slope, "offset": offset, "one": 1.0, "per_decade": 1 / math.log(10)}
    # ONNX made the axes of ReduceMax an input in version 18.
    as_input = max(opset.version for opset in network.opset_import if not opset.domain) >= 18
    axes: list[str] = ["axes"] if as_input else []
    attributes: dict[str, Any] = {} if as_input else {"axes": [1, 2]}
    nodes = [
        helper.make_node("ReduceMax", ["segments", *axes], ["peak"], keepdims=1, **attributes),
        helper.make_node("Sub", ["segments", "peak"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "slope"], ["decibels"]),
        helper.make_node("Add", ["decibels", "offset"], ["exponent"]),
        helper.make_node("Exp", ["exponent"], ["powers"]),
        helper.make_node("Sign", ["segments"], ["sounding"]),
        helper.make_node("Mul", ["powers", "sounding"], ["power"]),
        helper.make_node("Add", ["power", "one"], ["compressed"]),
        helper.make_node("Log", ["compressed"], ["logarithm"]),
        helper.make_node("Mul", ["logarithm", "per_decade"], ["patches"]),
    ]
    (source,) = network.graph.input
    types = source.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in types.shape.dim]
    graph = helper.make_graph(
        nodes,
        "conversion",
        [helper.make_tensor_value_info("segments", types.elem_type, shape)],
        [helper.make_tensor_value_info("patches", types.elem_type, shape)],
        [
            *(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()),
            *(numpy_helper.from_array(np.array([1, 2]), name) for name in axes),
        ],
    )
    conversion = helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)
    network = compose.add_prefix(network, "network/", rename_inputs=True, rename_outputs=False)
    merged = compose.merge_models(conversion, network, io_map=[("patches", f"network/{source.name}")])
    versions = {opset.domain: opset.version for opset in merged.opset_import}  # it lists each once per graph
    del merged.opset_import[:]
    merged.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    return merged


def _exponent(spec: FeatureSpec) -> tuple[float, float]:
    """Return a and b such that ``10000 * m`` is ``exp(a * x + b)`` for a value x of a segment less its largest one."""
    check_patch_spec(spec)
    per_decibel = math.log(10) / 10
    return per_decibel * spec.top_db, per_decibel * PEAK_DB + math.log(_COMPRESSION)
