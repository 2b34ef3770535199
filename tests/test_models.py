"""Architectures have their published parameter counts, take segments of any size, and validate their arguments."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.fft

from architectures import EACH, ON_SEGMENTS
from genreflow.errors import ParameterError
from genreflow.export.keras_to_onnx import check_parity, export_onnx
from genreflow.models import MODELS, Choice, File, Float, Int, body_parameters, build_model, describe
from genreflow.models.architecture import Architecture
from genreflow.models.frontend import cepstrum_matrix, resize_matrix
from genreflow.training.optimiser import OPTIMISERS
from genreflow.training.options import FitOptions

# Of the body, for the image and number of genres that it was published with.
PUBLISHED = {
    "parallel_cnn": 61_071,
    "cnn_rnn": 100_654,
    "wide_parallel_cnn": 46_046_904,
    "cnn_bilstm": 8_424_136,
    "cnn_gru": 3_179_720,
    "cnn_gru_augmented": 3_179_720,
    "vgg_large": 14_555_258,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_parameter_counts(name, count):
    # The front end standardises and resizes here; its parameters do not count.
    classes = MODELS[name].published_classes
    model = build_model(name, input_shape=(172, 96), classes=classes, mean=np.full(96, 0.4), variance=np.full(96, 0.05))
    assert body_parameters(model) == count == MODELS[name].parameters


def test_approximately_published_parameter_counts():
    assert body_parameters(build_model("tiny_cnn", input_shape=(172, 128), classes=10)) <= 11_402
    assert abs(body_parameters(build_model("cnn5", input_shape=(172, 128), classes=10)) - 370_000) < 5_000


@pytest.mark.parametrize("shape", [(172, 128), (52, 128), (80, 80)])
def test_efficient_has_at_most_150_000_parameters(shape):
    assert body_parameters(build_model("efficient", input_shape=shape, classes=10)) <= 150_000


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("shape", [(172, 128), (20, 40)])
def test_logits_of_segments_of_any_size(name, shape):
    model = build_model(name, input_shape=shape, classes=5, seed=1)
    x = np.random.default_rng(0).random((3, *shape), dtype="float32")
    logits = model.predict_on_batch(x)
    assert logits.shape == (3, 5)
    assert logits.dtype == np.float32
    # Logits, not probabilities: they do not sum to one.
    assert not np.allclose(logits.sum(axis=1), 1, atol=1e-3)
    # The logits of a segment do not depend on the other segments of the batch.
    np.testing.assert_allclose(model.predict_on_batch(x[1:2])[0], logits[1], atol=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_the_same_seed_gives_the_same_initial_weights(name):
    first, second, other = (build_model(name, input_shape=(80, 80), classes=8, seed=s).get_weights() for s in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_standardisation_is_part_of_the_graph():
    rng = np.random.default_rng(0)
    mean, variance = rng.uniform(0.2, 0.6, 80), rng.uniform(0.01, 0.1, 80)
    x = rng.random((4, 80, 80), dtype="float32")
    standardising = build_model("parallel_cnn", input_shape=(80, 80), classes=8, mean=mean, variance=variance, seed=1)
    plain = build_model("parallel_cnn", input_shape=(80, 80), classes=8, seed=1)
    standardised = ((x - mean) / np.sqrt(variance)).astype("float32")
    np.testing.assert_allclose(standardising.predict_on_batch(x), plain.predict_on_batch(standardised), atol=1e-4)


@pytest.mark.parametrize(("size", "new"), [(172, 80), (128, 80), (52, 80), (80, 210), (5, 80), (7, 1)])
def test_resizing_preserves_constants_and_linear_ramps(size, new):
    matrix = resize_matrix(size, new)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, rtol=1e-5)
    assert matrix.min() >= 0
    ramp = (np.arange(size) + 0.5) / size @ matrix
    inner = slice(new // 4, max(1, 3 * new // 4))
    np.testing.assert_allclose(ramp[inner], ((np.arange(new) + 0.5) / new)[inner], atol=0.5 / size)


def test_shrinking_is_antialiased():
    # Alternating frames, halved: without a low-pass filter one of the two would vanish.
    np.testing.assert_allclose((np.arange(160) % 2 @ resize_matrix(160, 80))[1:-1], 0.5, atol=1e-6)


def test_cepstral_coefficients_equal_those_of_scipy():
    levels = np.random.default_rng(0).random((4, 128))
    expected = scipy.fft.dct(levels, type=2, norm="ortho")[:, :20]
    np.testing.assert_allclose(levels @ cepstrum_matrix(128, 20), expected, atol=1e-5)
    assert cepstrum_matrix(12, 20).shape == (12, 12)


def test_a_whole_track_is_split_into_windows_in_order():
    # A change in the last window does not change the LSTM's states at the windows before.
    body = build_model("rnn", input_shape=(205, 32), classes=4, windows=10, seed=1).get_layer("body")
    states = keras.Model(body.inputs[0], next(layer for layer in body.layers if layer.name.startswith("lstm")).output)
    x = np.random.default_rng(0).random((1, 205, 32, 1), dtype="float32")
    before = np.asarray(states(x))[0]
    x[:, 180:200] += 1
    after = np.asarray(states(x))[0]
    assert before.shape == (10, 128)
    changed = np.abs(after - before).max(axis=1) > 1e-6
    assert changed.tolist() == [False] * 9 + [True]


def test_pretrained_weights_must_be_a_file(tmp_path):
    with pytest.raises(ParameterError, match=r"resnet50\.weights"):
        build_model("resnet50", input_shape=(80, 80), classes=8, weights=str(tmp_path / "none.h5"))


def test_resizing_equals_that_of_keras():
    from keras import ops

    x = np.random.default_rng(0).random((1, 52, 128, 1), dtype="float32")
    expected = np.asarray(ops.image.resize(x, (80, 80), interpolation="bilinear", antialias=True))[0, ..., 0]
    np.testing.assert_allclose(resize_matrix(52, 80).T @ x[0, ..., 0] @ resize_matrix(128, 80), expected, atol=1e-5)


def test_recurrent_layers_read_time_as_their_sequence():
    lengths = {}
    for name, layer in (("cnn_rnn", "lstm"), ("cnn_gru", "gru")):
        body = build_model(name, input_shape=(160, 40), classes=8).get_layer("body")
        recurrent = next(item for item in body.layers if item.name.startswith(layer))
        lengths[name] = recurrent.input.shape[1]
    assert lengths == {"cnn_rnn": 20, "cnn_gru": 10}
    # The first axis of the image is time: constantly loud bands are columns.
    model = build_model("cnn_gru", input_shape=(160, 40), classes=8)
    x = np.zeros((1, 160, 40), "float32")
    x[..., :20] = 1
    image = np.asarray(keras.Model(model.inputs[0], model.get_layer("add_channel").output)(x))[0, ..., 0]
    assert image.shape == (80, 80)
    assert image[:, :38].min() > 0.99
    assert image[:, 42:].max() < 0.01


@pytest.mark.parametrize("name", EACH)
def test_models_can_be_built_at_the_ends_of_their_search_space(name):
    row = MODELS[name]
    assert row.optimiser in OPTIMISERS
    assert row.learning_rate.low <= row.learning_rate.default <= row.learning_rate.high
    for key, dimension in row.space.items():
        dimension.check(key, dimension.default)
        if isinstance(dimension, File):
            continue
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        for value in ends:
            build_model(name, input_shape=(60, 40), classes=4, **{key: value})


@pytest.mark.parametrize(
    ("dimension", "good", "bad"),
    [
        (Float(low=0.0, high=0.5, default=0.1), 0.5, [0.6, -0.1, "0.1", None, True, float("nan")]),
        (Int(low=1, high=4, default=2), 4, [0, 5, 2.0, True]),
        (Choice(values=(64, 128), default=64), 128, [65, "64"]),
    ],
)
def test_dimensions_check_their_range(dimension, good, bad):
    dimension.check("model.width", good)
    for value in bad:
        with pytest.raises(ParameterError, match=r"model\.width"):
            dimension.check("model.width", value)


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("resnet", {}, "resnet"),
        ("cnn_gru", {"depth": 3}, "depth"),
        ("cnn_gru", {"dropout": 0.9}, r"cnn_gru\.dropout"),
        ("cnn_gru", {"classes": 1}, "classes"),
        ("cnn_gru", {"input_shape": (0, 80)}, "input_shape"),
        ("cnn_gru", {"mean": np.zeros(80)}, "variance"),
        ("cnn_gru", {"mean": np.zeros(64), "variance": np.ones(64)}, "mean"),
        ("cnn_gru", {"coefficients": 81}, "coefficients"),
        ("cnn_gru", {"coefficients": -1}, "coefficients"),
        ("cnn_gru", {"image": (80,)}, "image"),
    ],
)
def test_invalid_arguments_are_named(name, arguments, named):
    with pytest.raises(ParameterError, match=named):
        build_model(name, **{"input_shape": (80, 80), "classes": 8, **arguments})


def layer_names(model) -> set[str]:
    return {layer.name for layer in model.layers}


@pytest.mark.parametrize("name", EACH)
def test_image_and_coefficients_can_be_set_for_every_model(name):
    row = MODELS[name]
    given = (52, 40)
    own = build_model(name, input_shape=given, classes=4)
    bands = build_model(name, input_shape=given, classes=4, coefficients=0)
    cepstral = build_model(name, input_shape=given, classes=4, coefficients=13)
    small = (32, 32) if max(row.min_image) <= 32 else (112, 96)
    resized = build_model(name, input_shape=given, classes=4, image=small)
    seen = [model.get_layer("body").input.shape[1:3] for model in (own, bands, cepstral, resized)]
    assert seen[0] == (row.image or (52, row.coefficients or 40))
    assert seen[1] == (row.image or (52, 40))
    assert seen[2] == (row.image or (52, 13))
    assert seen[3] == small
    assert "cepstrum" not in layer_names(bands)
    assert "cepstrum" in layer_names(cepstral)
    assert ("cepstrum" in layer_names(own)) == (row.coefficients is not None)


def test_the_cepstrum_is_computed_before_resizing():
    x = np.random.default_rng(0).random((2, 80, 64), dtype="float32")
    model = build_model("parallel_cnn", input_shape=(80, 64), classes=4, coefficients=20, image=(40, 30))
    image = keras.Model(model.inputs[0], model.get_layer("add_channel").output).predict_on_batch(x)[..., 0]
    expected = resize_matrix(80, 40).T @ x @ cepstrum_matrix(64, 20) @ resize_matrix(20, 30)
    np.testing.assert_allclose(image, expected, atol=1e-4)


def test_with_a_peak_the_level_of_a_segment_does_not_matter():
    x = np.random.default_rng(0).uniform(0.3, 0.6, (3, 80, 80)).astype("float32")
    statistics = {"mean": np.full(80, 0.4), "variance": np.full(80, 0.01)}
    invariant, plain = (
        build_model("parallel_cnn", input_shape=(80, 80), classes=4, seed=1, peak=peak, **statistics)
        for peak in (x.max(), None)
    )
    expected = plain.predict_on_batch(x + (x.max() - x.max(axis=(1, 2), keepdims=True)))
    for softer in (0.0, 0.3):
        np.testing.assert_allclose(invariant.predict_on_batch(x - np.float32(softer)), expected, atol=1e-3)
    assert np.abs(plain.predict_on_batch(x - 0.3) - expected).max() > 0.1


@pytest.mark.parametrize(
    ("name", "front_end"),
    [
        ("parallel_cnn", {"coefficients": 20, "image": (40, 30)}),
        ("cnn1d_lstm", {"coefficients": 0}),
        ("efficient", {"peak": 0.9}),
    ],
)
def test_the_front_end_is_exported(name, front_end, tmp_path):
    x = np.random.default_rng(0).random((5, 52, 64), dtype="float32")
    model = build_model(name, input_shape=x.shape[1:], classes=4, seed=1, **front_end)
    model.predict_on_batch(x)
    export_onnx(model, tmp_path / "model.onnx")
    assert check_parity(model, tmp_path / "model.onnx", x) < 1e-4


@pytest.mark.parametrize("name", ON_SEGMENTS)
def test_no_image_smaller_than_min_image_can_be_built(name):
    row = MODELS[name]
    values = {key: dimension.default for key, dimension in row.space.items()}

    def build(size):
        with keras.StatelessScope(initialize_variables=False):
            inputs = keras.Input((*size, 1))
            return keras.Model(inputs, row.build(inputs, classes=4, **values))

    assert build(row.min_image).count_params() > 0
    for axis in (0, 1):
        if row.min_image[axis] == 1:
            continue
        size = [260, 260]
        size[axis] = row.min_image[axis] - 1
        with pytest.raises(ValueError, match=r"(?i)size"):
            build(size)
        with pytest.raises(ParameterError, match=f"at least {row.min_image[0]}x{row.min_image[1]}"):
            build_model(name, input_shape=(52, 64), classes=4, image=tuple(size))


def test_an_error_of_keras_becomes_one_line(monkeypatch):
    def pool_too_much(image, *, classes):
        return keras.layers.MaxPooling2D(64)(image)

    rate = MODELS["cnn_gru"].learning_rate
    row = Architecture(name="new", build=pool_too_much, origin="", reported="", learning_rate=rate, optimiser="adam")
    monkeypatch.setitem(MODELS, "new", row)
    with pytest.raises(ParameterError, match="52x40") as caught:
        build_model("new", input_shape=(52, 40), classes=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_protocols_have_valid_options(name):
    protocol = MODELS[name].protocol
    FitOptions.unregularised(**protocol.options)
    assert 0 < protocol.hop_seconds <= protocol.seconds
    assert protocol.by in ("segment", "track")
    # The systems on 8 genres have 15 segments per track.
    if MODELS[name].published and MODELS[name].published_classes == 8:
        assert (protocol.genres, 30 / protocol.hop_seconds) == (8, 15)
    else:
        assert protocol.genres == 10
    assert MODELS[name].published == (name not in ("efficient", "accurate", "musicnn", "embedder"))


def test_describe_counts_parameters_for_the_given_shape():
    rows = {row["name"]: row for row in describe(input_shape=(172, 128), classes=8)}
    assert list(rows) == list(MODELS)
    eight = {name: count for name, count in PUBLISHED.items() if MODELS[name].published_classes == 8}
    assert {name: rows[name]["parameters"] for name in eight} == eight
    (one,) = describe("cnn_rnn", input_shape=(80, 80), classes=10)
    assert one["parameters"] == 100_654 + 2 * 201  # two more outputs with 200 weights and a bias
    assert one["reported"]
    assert one["image"] == "80x80"
    assert rows["musicnn"]["parameters"] == 514 * 8 + 8  # the maxima and means of MSD_musicnn, and a bias
    assert rows["musicnn"]["image"] == "embeddings"


def test_importing_the_registry_does_not_import_keras():
    code = "import genreflow.models, genreflow.training.options, sys; print({'keras', 'tensorflow'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
