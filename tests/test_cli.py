"""The `genreflow` command: options, output, exit codes, and errors in one sentence."""

import json
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from conftest import ROOT
from genreflow import cli
from genreflow.audit.params import AuditParams
from genreflow.errors import GenreflowError

HEAVY = ("tensorflow", "keras", "mlflow", "optuna", "dvc", "librosa", "onnxruntime", "bentoml", "pandas", "numpy")


def run(*arguments: str):
    return CliRunner().invoke(cli.cli, arguments)


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from genreflow import cli; cli.cli(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1] == "[]"
    for command in ("audit", "classify", "models", "registry", "reproduce"):
        assert command in printed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["classify", "nowhere.wav"], "nowhere.wav"),
        (["classify", "."], "wav"),
        (["audit", "nowhere"], "nowhere"),
        (["audit", str(ROOT / "params.yaml")], "a folder of music"),
        (["models", "transformer"], "transformer"),
        (["models", "--shape", "80"], "--shape"),
        (["registry", "rollback"], "mlflow.db"),
        (["registry", "promote", "3"], "mlflow.db"),
    ],
)
def test_an_error_is_one_sentence_on_standard_error(arguments, named, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genreflow", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("genreflow: ")
    assert line.endswith(".")
    assert named in line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["audit", "--silence-db", "3", "."], "--silence-db"),
        (["audit", "--clipped-share", "1.5", "."], "--clipped-share"),
        (["audit", "--min-seconds", "-1", "."], "--min-seconds"),
        (["classify", "--jobs", "0", "."], "--jobs"),
        (["reproduce", "--minutes-per-system", "0"], "--minutes-per-system"),
        (["models", "--classes", "1"], "--classes"),
    ],
)
def test_an_option_out_of_range_is_named(arguments, named):
    result = run(*arguments)
    assert result.exit_code == 2
    assert named in result.stderr


def test_options_of_audit_are_those_of_its_parameter_model():
    options = {option.name: option for option in cli.cli.commands["audit"].params}
    for name, field in AuditParams.model_fields.items():
        assert options[name].default == field.default
        assert options[name].help.lower().startswith(field.description.lower())
    assert (options["clipped_share"].type.min, options["clipped_share"].type.max) == (0, 1)
    assert (options["min_seconds"].type.min, options["min_seconds"].type.max) == (0, None)
    assert options["near_duplicates"].secondary_opts == ["--no-near-duplicates"]


def commands(group=cli.cli, *names):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_option_is_described(command):
    found = cli.cli
    for name in command:
        found = found.commands[name]
    assert found.help
    assert [option.name for option in found.params if isinstance(option, click.Option) and not option.help] == []
    assert not found.get_short_help_str(limit=62).endswith("..."), "is cut in the list of commands"
    assert run(*command, "--help").exit_code == 0


def test_a_missing_bundle_is_reported_with_the_command_that_creates_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.wav").write_bytes(b"")
    result = run("classify", "song.wav")
    assert isinstance(result.exception, GenreflowError)
    assert "dvc pull" in str(result.exception)


def test_models_are_listed_with_their_parameters():
    rows = {row["name"]: row for row in json.loads(run("models", "--json").stdout)}
    published = {"parallel_cnn": 61_071, "cnn_rnn": 100_654, "cnn_gru": 3_179_720}
    assert {name: rows[name]["parameters"] for name in published} == published
    printed = run("models").stdout
    head, *lines = printed.splitlines()
    assert head.split() == ["name", "parameters", "input", "reported", "origin"]
    assert len(lines) == len(rows)
    assert all(len(line) > 80 for line in lines)
    for title, cells in (
        ("input", [row["image"] for row in rows.values()]),
        ("origin", [row["origin"] for row in rows.values()]),
    ):
        at = head.index(title)
        assert [line[at : at + len(cell)] for line, cell in zip(lines, cells, strict=True)] == cells
    assert "61,071" in printed
    assert rows["parallel_cnn"]["protocol"]["options"]["epochs"] == 50
    assert rows["cnn_gru"]["hyperparameters"]["dropout"] == {
        "kind": "float",
        "low": 0.0,
        "high": 0.6,
        "default": 0.4,
        "log": False,
    }


def test_one_model_is_described_for_a_given_shape():
    printed = run("models", "parallel_cnn", "--shape", "172x128", "--classes", "10").stdout
    assert "172, 128" in printed
    assert "8 genres, segments of 2 s every 2 s, 80 % of the segments train" in printed
    assert "epochs 50" in printed
    assert "optimiser sgd" in printed
    assert "dropout        0 to 0.7, default 0.0" in printed
    assert "conv2d" in printed


def test_audit_writes_nothing_into_the_folder(tmp_path, monkeypatch):
    import numpy as np
    import soundfile

    monkeypatch.chdir(tmp_path)
    for genre in ("a", "b"):
        for number in range(2):
            path = tmp_path / "music" / genre / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(10 * ord(genre) + number).uniform(-0.5, 0.5, 22050 * 2)
            soundfile.write(path, noise * (0 if (genre, number) == ("b", 1) else 1), 22050)
    (tmp_path / "music" / "a" / "broken.mp3").write_bytes(b"not audio")
    before = sorted(tmp_path.rglob("*"))
    report = json.loads(run("audit", "music", "--json").stdout)
    assert {fault["code"] for fault in report["faults"]} == {"undecodable", "silent"}
    assert sorted(tmp_path.rglob("*")) == before
    assert "Left out" in run("audit", "music").stdout


def test_the_list_of_versions_has_heads_and_aligned_columns(tmp_path, monkeypatch):
    from genreflow.registry.model_registry import Registry
    from serving_toy import write_toy_bundle

    monkeypatch.chdir(tmp_path)
    registry = Registry.open(tmp_path)
    metrics = {"test_track_accuracy": 0.5, "test_track_accuracy_low": 0.4, "test_track_accuracy_high": 0.6}
    baselines = {"test_baseline_svm_accuracy": 0.45, "test_baseline_majority_class_accuracy": 0.1}
    for name, temperature, measured in (("a", 1.0, {}), ("b", 1.1, metrics | baselines)):
        registry.register(write_toy_bundle(tmp_path / name, temperature=temperature).directory, metrics=measured)
    head, newest, older = run("registry", "list").stdout.splitlines()
    assert re.split(r" {2,}", head)[:3] == ["version", "track accuracy", "best baseline"]
    at = head.index("track accuracy")
    assert newest[at:].startswith("50.0% (95 %: 40.0% to 60.0%)  45.0% (SVM on summary statistics)")
    assert (older[at:].startswith("-"), newest.endswith("candidate")) == (True, True)
    assert head.index("aliases") == newest.index("candidate")


def test_an_empty_registry_is_listed_as_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "No model is registered yet" in run("registry", "list").stdout
    assert json.loads(run("registry", "list", "--json").stdout) == []
    assert list(tmp_path.iterdir()) == [], "a database was created"
