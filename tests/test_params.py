"""params.yaml is validated as a whole: one line per fault, which names the parameter."""

import copy
import os
import re
import subprocess
import sys
import time

import pytest
import yaml

from conftest import ROOT
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


def test_the_shipped_file_is_valid(root):
    assert load_params(root / "params.yaml").tune.trials >= 1


# Each invalid value, and the words that its message must contain besides the parameter's name.
INVALID = [
    ("split.valid", 0.9, ["between 0.05 and 0.5", "0.9"]),
    ("split.test", "many", ["a number", '"many"']),
    ("split.folds", 2, ["between 3 and 100"]),
    ("split.fold", 5, []),
    ("features.hop_length", 0, []),
    ("features.hop_length", 512.5, ["an integer", "512.5"]),
    ("features.fmax", 20000.0, ["11025"]),
    ("features.window", "hann", ["n_mels"]),
    ("features.frames_kept", 5000, ["1292"]),
    ("segments.hop_seconds", 9.0, ["segments.seconds"]),
    ("segments.coefficients", 200, ["<= features.n_mels (128)", "200"]),
    ("segments.coefficients", -1, ["between 0 and 512"]),
    ("segments.image", [3, 80], ["[4, 4]", "parallel_cnn", "[3, 80]"]),
    ("segments.image", [80], ["[80]"]),
    ("segments.image", [0, 80], ["between 1 and 1024"]),
    ("tune.trials", 0, [">= 1|between 1 and", "null"]),
    ("tune.trials", None, ["tune.hours"]),
    ("tune.learning_rate", [0.1, 0.01], ["low <= high"]),
    ("tune.fixed", {"vgg_large": {}}, ["vgg_large", "tune.architectures"]),
    ("tune.fixed", {"efficient": {"widht": 8}}, ["widht", "width"]),
    ("tune.fixed", {"efficient": {"width": 7}}, ["7", "8, 16"]),
    ("tune.search", {"train.epochs": [1, 2]}, ["train.epochs", "train.mixup", "segments.seconds"]),
    ("tune.search", {"train.mixup": [0.1, -3]}, ["train.mixup", "-3", "0"]),
    ("tune.search", {"train.mixup": {"low": 0, "high": 99}}, ["train.mixup", "99", "10"]),
    ("tune.search", {"train.mixup": {"low": 0.5, "high": 0.1}}, ["train.mixup", "low <= high"]),
    ("tune.search", {"train.mixup": {"low": 0, "high": 1, "log": True}}, ["train.mixup", "low"]),
    ("tune.search", {"train.optimiser": []}, ["train.optimiser"]),
    ("tune.search", {"segments.seconds": [4, 900]}, ["segments.seconds", "900", "60"]),
    ("tune.objectives", ["parameters"], ["track_accuracy"]),
    ("tune.objectives", ["track_accuracy", "size"], ["size", "latency_ms"]),
    ("tune.max_memory_mb", 0, ["> 0"]),
    ("tune.pick", "smallest", ["smallest", "one_standard_error"]),
    ("compute.trial_workers", 0, ["between 1 and 256"]),
    ("compute.n_jobs", 0, ["-1"]),
    ("compute.storage", "mysql://u:secret@host/db", ["postgresql://", "mysql://u:***@host/db"]),
    ("compute.storage", "optuna.db", ["sqlite:///"]),
    ("compute.storage", "sqlite:///", ["sqlite:///optuna.db"]),
    ("train.optimiser", "adagrad", ["adagrad", "adamw"]),
    ("gate.min_probability", 1.5, ["between 0.5 and 1"]),
    ("bundle.abstain_below", -1, ["between 0 and 1"]),
    # Python takes True for 1, and YAML distinguishes them.
    ("tune.seed", True, ["an integer between", "true"]),
    ("train.epochs", True, ["an integer between", "true"]),
    ("train.epochs", "3", ["an integer between", '"3"']),
    ("gate.min_probability", True, ["a number between", "true"]),
    ("audit.near_duplicates", 1, ["true or false", "1"]),
    ("data.genres", [1, "rock"], ["a string", "1"]),
    ("segments.image", [80, "80"], ["an integer", '"80"']),
    ("tune.search", {"train.mixup": [0, True]}, ["train.mixup", "true"]),
    ("tune.search", {"train.mixup": {"low": False, "high": 1}}, ["train.mixup", "false"]),
    ("tune.search", {"train.optimiser": [1]}, ["train.optimiser", "1"]),
    ("tune.fixed", {"efficient": {"width": True}}, ["width"]),
    ("tune.seed", float("nan"), ["between", "NaN"]),
    ("train.learning_rate", float("inf"), ["Infinity"]),
    ("tuning", {}, ["tune"]),
    ("data.paht", "x", ["path"]),
]


@pytest.mark.parametrize(("path", "value", "words"), INVALID)
def test_a_message_names_the_parameter_and_what_it_must_be(content, path, value, words):
    with pytest.raises(ParameterError) as caught:
        parse_params(changed(content, path, value))
    message = str(caught.value)
    assert message.startswith("params.yaml: ")
    assert "\n" not in message
    assert path in message
    for word in words:
        assert re.search(word if "|" in word else re.escape(word), message), message


def test_a_missing_parameter_is_named(content):
    del content["data"]["path"]
    with pytest.raises(ParameterError, match=r"data\.path"):
        parse_params(content)


def test_each_fault_is_reported_on_a_line_of_its_own(content):
    content["split"]["valid"] = 7
    content["tune"]["trials"] = -1
    with pytest.raises(ParameterError) as caught:
        parse_params(content)
    first, second = str(caught.value).splitlines()
    assert "split.valid" in first
    assert "tune.trials" in second


@pytest.mark.parametrize("text", ["{", "- a\n- b\n", "", "\xff\xfe"])
def test_a_file_that_is_not_a_yaml_mapping_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ParameterError, match=r"params\.yaml must be"):
        load_params(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"params\.yaml does not exist"):
        load_params(tmp_path / "params.yaml")


def test_parameters_load_without_training_libraries():
    program = (
        "import sys; from genreflow.params import load_params; load_params(); "
        "print([name for name in ('tensorflow', 'keras', 'optuna', 'mlflow', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


NESTED, HUGE = "[" * 100_000, "9" * 5000
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("split:\n  seed: 1\n  valid: 0.2\n  seed: 2\n", ["seed", "2", "4"]),
        ("split: {seed: 1}\ntune: {}\nsplit: {seed: 2}\n", ["split", "1", "3"]),
        ("split: {seed: 1, seed: 1}\n", ["seed", "1"]),
        ('tune: {search: {"train.mixup": [0], train.mixup: [1]}}\n', ["train.mixup"]),
        ("data:\n  sources:\n  - {source: a, path: b, path: c}\n", ["path", "3"]),
        (NESTED, ["nesting"]),
        ("a: " * 1000, ["line"]),
        (ALIASES, ["aliases"]),
        ("a: &a [*a]\n", ["alias"]),
        (f"tune: {{seed: {HUGE}}}\n", ["line 1"]),
        (f"tune: {{seed: 0x{'f' * 9000}}}\n", ["tune"]),
        ("data: {path: 2026-02-30}\n", ["line 1"]),
        ("data: !!int x\n", ["line 1"]),
        ("data: !!bool x\n", ["line 1"]),
        ("data: !!timestamp x\n", ["line 1"]),
        ("data: !!python/object:os.system x\n", ["line 1"]),
        ("a: 1\n--- \nb: 2\n", ["line 2"]),
        ("x" * 2_000_000, ["1,000,000"]),
        ('data: {path: "\\ud800"}\n', ["data"]),
        ("a\0b", []),
    ],
)
def test_yaml_that_is_no_parameter_file_is_refused_at_once(tmp_path, text, named):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    begin = time.process_time()  # the machine may be busy
    with pytest.raises(ParameterError) as caught:
        load_params(path)
    assert time.process_time() - begin < 5
    message = str(caught.value)
    message.encode("utf-8", "backslashreplace")
    assert "params.yaml" in message.splitlines()[0]
    for word in named:
        assert word in message
    assert max(map(len, message.splitlines())) < 600


def test_anchors_and_merge_keys_are_allowed(root, tmp_path):
    text = (root / "params.yaml").read_text().replace("  seed: 1      ", "  seed: &seed 7", 1)
    text = re.sub(r"(  seed: )1( .*Optuna)", r"\1*seed\2", text)
    (tmp_path / "params.yaml").write_text(text)
    params = load_params(tmp_path / "params.yaml")
    assert params.split.seed == params.tune.seed == 7


def test_a_folder_or_a_pipe_is_no_parameter_file(tmp_path):
    path = tmp_path / "params.yaml"
    path.mkdir()
    with pytest.raises(ParameterError, match="folder"):
        load_params(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ParameterError, match=r"params\.yaml must be"):
        load_params(path)
