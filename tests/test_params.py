"""params.yaml: every mistake in one sentence that names the parameter and what would be right."""

import copy

import pytest
import yaml

from genreflow.errors import ParameterError
from genreflow.models import Choice, Float, Int
from genreflow.params import load_params, parse_params


@pytest.fixture
def content(root):
    return yaml.safe_load((root / "params.yaml").read_text())


def changed(content, path, value):
    content = copy.deepcopy(content)
    *sections, name = path.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    inner[name] = value
    return content


def test_the_file_of_this_checkout_is_valid(root):
    assert load_params(root / "params.yaml").tune.trials >= 1


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("split.valid", 0.9, ["split.valid", "0.9", "0.5"]),
        ("split.test", "many", ["split.test", "many", "number"]),
        ("split.folds", 2, ["split.folds", "2", "3"]),
        ("split.fold", 5, ["split.fold", "5", "from 0"]),
        ("features.hop_length", 0, ["features.hop_length", "greater than 0"]),
        ("features.hop_length", 512.5, ["features.hop_length", "512.5", "integer"]),
        ("features.fmax", 20000.0, ["features.fmax", "11025"]),
        ("features.window", "hann", ["unknown", "features.window", "n_mels"]),
        ("features.frames_kept", 5000, ["features.frames_kept", "1292"]),
        ("segments.hop_seconds", 9.0, ["segments.hop_seconds", "segments.seconds"]),
        ("segments.coefficients", 200, ["segments.coefficients", "200", "128 bands"]),
        ("segments.coefficients", -1, ["segments.coefficients", "-1", "0"]),
        ("segments.image", [3, 80], ["segments.image", "[3, 80]", "parallel_cnn", "[4, 4]"]),
        ("segments.image", [80], ["segments.image"]),
        ("segments.image", [0, 80], ["segments.image", "0", "1"]),
        ("tune.trials", 0, ["tune.trials", "0", "1"]),
        ("tune.learning_rate", [0.1, 0.01], ["tune.learning_rate", "low <= high"]),
        ("tune.fixed", {"vgg_large": {}}, ["tune.fixed", "vgg_large", "tune.architectures"]),
        ("tune.fixed", {"efficient": {"widht": 8}}, ["tune.fixed", "widht", "width"]),
        ("tune.fixed", {"efficient": {"width": 7}}, ["tune.fixed", "7", "8, 16"]),
        ("tune.trials", None, ["tune.trials", "tune.hours", "both null"]),
        ("tune.search", {"train.epochs": [1, 2]}, ["tune.search", "train.epochs", "train.mixup", "segments.seconds"]),
        ("tune.search", {"train.mixup": [0.1, -3]}, ["tune.search.train.mixup", "-3", "greater than or equal to 0"]),
        ("tune.search", {"train.mixup": {"low": 0, "high": 99}}, ["tune.search.train.mixup", "99", "10"]),
        ("tune.search", {"train.mixup": {"low": 0.5, "high": 0.1}}, ["train.mixup", "low <= high"]),
        ("tune.search", {"train.mixup": {"low": 0, "high": 1, "log": True}}, ["train.mixup", "above 0"]),
        ("tune.search", {"train.optimiser": []}, ["tune.search.train.optimiser", "empty"]),
        ("tune.search", {"segments.seconds": [4, 900]}, ["tune.search.segments.seconds", "900", "60"]),
        ("tune.objectives", ["parameters"], ["tune.objectives", "begin with track_accuracy"]),
        ("tune.objectives", ["track_accuracy", "size"], ["tune.objectives", "size", "latency_ms"]),
        ("tune.max_memory_mb", 0, ["tune.max_memory_mb", "greater than 0"]),
        ("tune.pick", "smallest", ["tune.pick", "smallest", "one_standard_error"]),
        ("compute.trial_workers", 0, ["compute.trial_workers", "0", "1"]),
        ("train.optimiser", "adagrad", ["train.optimiser", "adagrad", "adamw"]),
        ("gate.min_probability", 1.5, ["gate.min_probability", "1.5", "1"]),
        ("bundle.abstain_below", -1, ["bundle.abstain_below", "-1", "0"]),
        ("tuning", {}, ["unknown", "tuning", "tune"]),
        ("data.paht", "x", ["unknown", "data.paht", "path"]),
    ],
)
def test_a_mistake_names_the_parameter_and_what_would_be_right(content, path, value, words):
    with pytest.raises(ParameterError) as caught:
        parse_params(changed(content, path, value))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_what_is_searched_becomes_dimensions_around_the_present_values(content):
    search = {
        "train.mixup": {"low": 0.3, "high": 0.4},
        "train.band_shift": {"low": 0, "high": 4},
        "train.batch_size": {"low": 8, "high": 64, "log": True},
        "train.schedule": ["constant", "step"],
        "segments.coefficients": [None, 20],
    }
    knobs = parse_params(changed(content, "tune.search", search)).knobs
    assert knobs == {
        "train.mixup": Float(low=0.3, high=0.4, default=0.3),
        "train.band_shift": Int(low=0, high=4, default=2),
        "train.batch_size": Int(low=8, high=64, default=32, log=True),
        "train.schedule": Choice(values=("constant", "step"), default="constant"),
        "segments.coefficients": Choice(values=(None, 20), default=None),
    }


def test_a_missing_parameter_is_named(content):
    del content["data"]["path"]
    with pytest.raises(ParameterError, match=r"lacks the parameter data\.path"):
        parse_params(content)


def test_every_mistake_is_named_on_a_line_of_its_own(content):
    content["split"]["valid"] = 7
    content["tune"]["trials"] = -1
    with pytest.raises(ParameterError) as caught:
        parse_params(content)
    first, second = str(caught.value).splitlines()
    assert "split.valid" in first
    assert "tune.trials" in second


@pytest.mark.parametrize("text", ["{", "- a\n- b\n", ""])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=r"params\.yaml"):
        load_params(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"There is no .*params\.yaml"):
        load_params(tmp_path / "params.yaml")
