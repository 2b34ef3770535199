"""Any network on patches as an embedder, and a classifier behind an embedder in one graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile as sf
from onnx import TensorProto, helper, numpy_helper

from genreflow.bundle import write_bundle
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.embedding.conversion import PATCH_SPEC, to_patches
from genreflow.embedding.embedder import Embedder
from genreflow.embedding.reference_values import reference_values
from genreflow.errors import GenreflowError, ParameterError
from genreflow.evaluation.calibration import softmax
from genreflow.export.embedder_graph import import_embedder, merge_head, save_embedder
from genreflow.features.logmel import LogMel
from genreflow.features.segments import segment_starts
from genreflow.inference.predictor import Predictor

SIZE, CLASSES = 5, 3
RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((96, SIZE)).astype("float32")
HEAD = RNG.standard_normal((SIZE, CLASSES)).astype("float32")


@pytest.fixture(scope="module")
def bank():
    return make_filter_bank(PATCH_SPEC)


@pytest.fixture(scope="module")
def segments():
    return np.random.default_rng(1).random((9, 187, 96), dtype="float32")


def network(
    path, *, shape=("n", 187, 96), source="serving_default_mel:0", version=13, kind=TensorProto.FLOAT, **changes
):
    """Write a network: the mean over time, times a matrix; the second output has another rank."""
    nodes = [
        helper.make_node("ReduceMean", [source], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "kernel"], ["product"]),
        helper.make_node("Identity", ["product"], ["embeddings:0"]),
        helper.make_node("Relu", [source], ["frames"]),
    ]
    outputs = [helper.make_tensor_value_info("embeddings:0", kind, changes.get("output", ["n", SIZE]))]
    if changes.get("several"):
        outputs.append(helper.make_tensor_value_info("frames", kind, list(shape)))
    inputs = [helper.make_tensor_value_info(source, kind, list(shape))]
    if changes.get("weights_are_inputs"):
        inputs.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, KERNEL.shape))
    if changes.get("second_input"):
        inputs.append(helper.make_tensor_value_info("other", kind, [1]))
    kernel = KERNEL * changes.get("factor", 1)
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(kernel, "kernel")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.save(proto, path)
    return path


def expected(segments):
    return to_patches(segments, PATCH_SPEC).mean(axis=1) @ KERNEL


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version": 11},
        {"version": 17},
        {"shape": ("batch", "frames", 96)},
        {"shape": (None, None, None)},
        {"source": "segments"},
        {"source": "patches"},
        {"weights_are_inputs": True},
        {"several": True},
    ],
    ids=str,
)
def test_a_network_on_patches_becomes_an_embedder(tmp_path, segments, changes):
    source = network(tmp_path / "effnet.onnx", **changes)
    output = "embeddings:0" if changes.get("several") else None
    path = tmp_path / "embedder.onnx"
    import_embedder(source, path, licence="CC BY-NC-SA 4.0", output=output, spec=PATCH_SPEC)
    embedder = Embedder(path)
    np.testing.assert_allclose(embedder.embed(segments), expected(segments), rtol=1e-4, atol=1e-4)
    assert (embedder.description["name"], embedder.description["licence"]) == ("effnet", "CC BY-NC-SA 4.0")
    assert embedder.columns == {"penultimate": (0, SIZE)}
    assert embedder.description["parameters"] >= KERNEL.size


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"shape": (64, 187, 96)}, GenreflowError, r"dynamic batch; got float32 of shape \(64, 187, 96\)"),
        ({"shape": ("n", 187, 128)}, GenreflowError, r"\(batch, frames, 96\)"),
        ({"shape": ("n", 187, 96, 1)}, GenreflowError, r"\(batch, frames, 96\)"),
        ({"second_input": True}, GenreflowError, "got 2 inputs"),
        ({"kind": TensorProto.DOUBLE}, GenreflowError, "."),
        ({"several": True}, ParameterError, r"^embedding\.output must be one of embeddings:0, frames "),
        ({"several": True, "chosen": "frames"}, GenreflowError, "frames must have shape"),
        ({"chosen": "other"}, ParameterError, r"^embedding\.output "),
        ({"factor": np.float32("nan")}, GenreflowError, "finite"),
    ],
    ids=str,
)
def test_other_networks_are_refused(tmp_path, changes, error, named):
    source = network(tmp_path / "net.onnx", **changes)
    path = tmp_path / "embedder.onnx"
    with pytest.raises(error, match=named):
        import_embedder(source, path, licence="", output=changes.get("chosen"), spec=PATCH_SPEC)
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]


def test_files_that_are_no_network_and_specs_of_others_are_refused(tmp_path):
    path = tmp_path / "embedder.onnx"
    (tmp_path / "text.onnx").write_bytes(b"something else")
    for name in ("text.onnx", "nowhere.onnx"):
        with pytest.raises(GenreflowError, match=name):
            import_embedder(tmp_path / name, path, licence="", spec=PATCH_SPEC)
    source = network(tmp_path / "net.onnx")
    with pytest.raises(ParameterError, match=r"^features\.n_mels "):
        import_embedder(source, path, licence="", spec=PATCH_SPEC.replace(n_mels=128))
    assert not path.exists()


def write_head(path, *, size=SIZE, version=15, source="embeddings", **changes):
    nodes = [helper.make_node("MatMul", [source, "kernel"], ["logits"])]
    inputs = [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["batch", size])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])]
    if changes.get("several"):
        outputs.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, ["batch", size]))
    kernel = numpy_helper.from_array(np.resize(HEAD, (size, CLASSES)), "kernel")
    proto = helper.make_model(
        helper.make_graph(nodes, "head", inputs, outputs, [kernel]),
        opset_imports=[helper.make_opsetid("", version)],
        ir_version=changes.get("ir_version", 8),
    )
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize(("version", "head_version"), [(13, 13), (11, 17), (17, 13)])
@pytest.mark.parametrize("source", ["embeddings", "segments"])
def test_a_classifier_is_merged_behind_an_embedder(tmp_path, segments, version, head_version, source):
    embedder, path = tmp_path / "embedder.onnx", tmp_path / "model.onnx"
    import_embedder(network(tmp_path / "net.onnx", version=version), embedder, licence="", spec=PATCH_SPEC)
    head = write_head(tmp_path / "head.onnx", version=head_version, source=source, ir_version=9)
    merge_head(embedder, head, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (model_input,), outputs = session.get_inputs(), session.get_outputs()
    assert (model_input.name, model_input.shape[1:]) == ("segments", [187, 96])
    assert [output.name for output in outputs] == ["logits", "embeddings"]
    assert isinstance(model_input.shape[0], str)
    for batch in (segments, segments[:1]):
        logits, embeddings = session.run(None, {"segments": batch})
        np.testing.assert_allclose(logits, expected(batch) @ HEAD, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(embeddings, expected(batch), rtol=1e-4, atol=1e-4)


def test_maxima_and_penultimate_values_tell_what_is_unfamiliar(tmp_path, segments):
    net, whole, path = tmp_path / "net.onnx", tmp_path / "whole.onnx", tmp_path / "model.onnx"
    import_embedder(network(net), whole, licence="", spec=PATCH_SPEC)
    embedder = tmp_path / "embedder.onnx"
    save_embedder(onnx.load(whole), embedder, {"columns": {"penultimate": [0, 2], "max": [2, 4], "mean": [4, 5]}})
    merge_head(embedder, write_head(tmp_path / "head.onnx"), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(["embeddings"], {"segments": segments})
    np.testing.assert_allclose(np.linalg.norm(embeddings[:, :2], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings[:, 2:], axis=1), 3, rtol=1e-5)
    values = expected(segments)
    np.testing.assert_allclose(embeddings, reference_values(values, Embedder(embedder).columns), rtol=1e-4, atol=1e-5)
    assert (reference_values(np.zeros((1, 5)), Embedder(embedder).columns) == 0).all()


def test_a_bundle_with_an_embedder_classifies_audio(tmp_path, bank):
    embedder, model = tmp_path / "embedder.onnx", tmp_path / "model.onnx"
    import_embedder(network(tmp_path / "net.onnx"), embedder, licence="", spec=PATCH_SPEC)
    merge_head(embedder, write_head(tmp_path / "head.onnx"), model)
    write_bundle(
        tmp_path / "bundle",
        onnx=model,
        labels=("a", "b", "c"),
        spec=PATCH_SPEC,
        bank=bank,
        segment_frames=187,
        segment_hop=188,
        temperature=20.0,
        abstain_below=0.0,
        architecture="embedder",
        lineage={},
    )
    t = np.arange(7 * 16000) / 16000
    y = (0.3 * np.sin(2 * np.pi * 440 * t) * np.exp(-(t % 0.5) * 6)).astype("float32")
    sf.write(tmp_path / "notes.wav", y, 16000, subtype="FLOAT")
    prediction = Predictor(tmp_path / "bundle").classify(tmp_path / "notes.wav")

    frames = LogMel(PATCH_SPEC, bank).clip(y)
    starts = segment_starts(len(frames), 187, 188)
    segments = np.stack([frames[start : start + 187] for start in starts]) / np.float32(255)
    by_segment = softmax(Embedder(embedder).embed(segments) @ HEAD, 20.0)
    assert len(prediction.segments) == len(segments) == 3
    found = [prediction.probabilities[label] for label in ("a", "b", "c")]
    np.testing.assert_allclose(found, by_segment.mean(axis=0), atol=1e-5)


def test_classifiers_that_do_not_match_are_refused(tmp_path):
    embedder, path = tmp_path / "embedder.onnx", tmp_path / "model.onnx"
    import_embedder(network(tmp_path / "net.onnx"), embedder, licence="", spec=PATCH_SPEC)
    with pytest.raises(GenreflowError, match="must take 5 values; got an input of 4"):
        merge_head(embedder, write_head(tmp_path / "head.onnx", size=4), path)
    with pytest.raises(GenreflowError, match="one output"):
        merge_head(embedder, write_head(tmp_path / "head.onnx", several=True), path)
    with pytest.raises(GenreflowError, match=r"net\.onnx"):
        merge_head(tmp_path / "net.onnx", tmp_path / "head.onnx", path)
    assert not path.exists()
