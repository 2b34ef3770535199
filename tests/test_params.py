"""params.yaml: every mistake in one sentence that names the parameter and what would be right."""

import copy

import pytest
import yaml

from genreflow.errors import ParameterError
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
