"""The `genreflow` command: quick where it can be, one sentence where something is wrong."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from genreflow import cli
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
    ("arguments", "words"),
    [
        (["classify", "nowhere.wav"], ["nowhere.wav", "does not exist"]),
        (["classify", "."], ["No audio", "wav"]),
        (["audit", "nowhere"], ["nowhere", "does not exist"]),
        (["models", "transformer"], ["transformer", "efficient"]),
        (["models", "--shape", "80"], ["--shape", "80x80"]),
        (["registry", "rollback"], ["no champion yet"]),
        (["registry", "promote", "3"], ["no version 3"]),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genreflow", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]


def test_a_missing_bundle_says_what_brings_it(tmp_path, monkeypatch):
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
        at = head.index(title)  # columns are aligned
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


def test_one_model_shows_its_layers_for_the_shape_asked_for():
    printed = run("models", "parallel_cnn", "--shape", "172x128", "--classes", "10").stdout
    assert "172, 128" in printed
    assert "8 genres, segments of 2 s every 2 s, 80 % of the segments train" in printed
    assert "epochs 50" in printed
    assert "optimiser sgd" in printed
    assert "dropout        0 to 0.7, default 0.0" in printed
    assert "conv2d" in printed


def test_a_folder_is_audited_without_writing_anything(tmp_path, monkeypatch):
    import numpy as np
    import soundfile

    monkeypatch.chdir(tmp_path)
    for genre in ("a", "b"):
        for number in range(2):
            path = tmp_path / "music" / genre / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(10 * ord(genre) + number).uniform(-0.5, 0.5, 22050 * 2)
            soundfile.write(path, noise * (0 if (genre, number) == ("b", 1) else 1), 22050)
    (tmp_path / "music" / "a" / "broken.mp3").write_bytes(b"not music")
    before = sorted(tmp_path.rglob("*"))
    report = json.loads(run("audit", "music", "--json").stdout)
    assert {fault["code"] for fault in report["faults"]} == {"undecodable", "silent"}
    assert sorted(tmp_path.rglob("*")) == before
    assert "Left out" in run("audit", "music").stdout


def test_an_empty_registry_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "No model is registered yet" in run("registry", "list").stdout
    assert json.loads(run("registry", "list", "--json").stdout) == []
