"""`genreflow feedback`: list, accept, reject and delete, in a project folder."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from genreflow import cli
from genreflow.datasets.corrections import Corrections
from genreflow.errors import GenreflowError, ParameterError
from genreflow.feedback.feedback_records import FeedbackRecord, FeedbackRecords
from genreflow.files import sha256
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.stages import CORRECTIONS

FIRST, SECOND = "a" * 31 + "1", "b" * 31 + "2"


def run(*arguments: str):
    ended = CliRunner().invoke(cli.cli, ["feedback", *arguments])
    if ended.exception and not isinstance(ended.exception, SystemExit | GenreflowError):
        raise ended.exception
    return ended


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with three genres, in which two predictions were corrected; of the first the audio is kept."""
    monkeypatch.chdir(tmp_path)
    for name in ("GENREFLOW_FEEDBACK_DIR", "GENREFLOW_PREDICTION_LOG"):
        monkeypatch.delenv(name, raising=False)
    tracks = [
        Track(id=genre, genre=genre, path=f"{genre}.wav", group=genre, group_source="folder")
        for genre in ("jazz", "polka", "rock")
    ]
    Manifest.from_tracks("folder", tracks).save(tmp_path / "data/manifest.json")
    records = FeedbackRecords(tmp_path / "feedback")
    for number, (prediction_id, claimed, comment) in enumerate(
        ((FIRST, "jazz", "swing\x1b[2J\nhot"), (SECOND, None, "")), start=1
    ):
        song = tmp_path / f"song {number}.wav"
        sf.write(song, np.random.default_rng(number).uniform(-0.3, 0.3, 8000), 8000)
        record = FeedbackRecord(
            prediction_id=prediction_id,
            time=f"2026-03-0{number}T12:00:00+00:00",
            model={"name": "genreflow", "version": "3"},
            genre="rock",
            probabilities={"rock": 0.8, "jazz": 0.2},
            duration=1.0,
            audio_hash=sha256(song),
            audio_suffix=".wav",
        )
        records.add(record)
        records.claim(prediction_id, claimed, comment)
        if number == 1:
            shutil.copy(song, records.path(record, ".audio.wav"))
    return tmp_path


def corrections() -> dict[str, str]:
    return {row.prediction_id: row.genre for row in Corrections(CORRECTIONS).read()}


def test_the_list_does_not_show_what_the_model_answered_unless_asked(project):
    lines = run("list").stdout.splitlines()
    assert len(lines) == 3  # comments are one line
    assert [line.split()[0] for line in lines[1:]] == [FIRST[:12], SECOND[:12]]
    assert ("jazz" in lines[1], "none of these" in lines[2], "kept" in lines[1], "kept" in lines[2]) == (
        (True,) * 3 + (False,)
    )
    assert not any("rock" in line for line in lines)
    assert "\x1b" not in "".join(lines)
    assert all("rock" in line for line in run("list", "--answers").stdout.splitlines()[1:])
    first, second = json.loads(run("list", "--json").stdout)
    assert (first["listener"], second["listener"], second["audio"]) == ("jazz", None, None)
    assert not {"answer", "probabilities"} & first.keys()


def test_the_reviewer_names_the_genre(project):
    assert run("accept", FIRST).exit_code == 2  # neither the answer nor the claim is a default
    assert corrections() == {}
    assert run("accept", FIRST[:8], "--genre", "polka", "--artist", "A Band").exit_code == 0
    assert corrections() == {FIRST: "polka"}
    [row] = Corrections(CORRECTIONS).read()
    assert row.group == "A Band"
    assert (project / "data/corrections/audio" / row.path).read_bytes() == (project / "song 1.wav").read_bytes()
    assert FeedbackRecords(project / "feedback").read(FIRST).audio is None  # there is one copy
    assert len(run("list").stdout.splitlines()) == 2
    assert "accepted as polka" in run("list", "--all").stdout
    assert run("accept", FIRST, "--genre", "jazz").exit_code == 0  # changes the decision
    assert corrections() == {FIRST: "jazz"}


def test_a_genre_without_data_is_refused(project):
    refused = run("accept", FIRST, "--genre", "Jazz")
    assert isinstance(refused.exception, ParameterError)
    assert "jazz, polka, rock" in str(refused.exception)
    assert corrections() == {}


def test_audio_that_was_not_kept_must_be_the_file_that_was_sent(project):
    for audio in ([], ["--audio", "song 1.wav"], ["--audio", "gone.wav"], ["--audio", "data"]):
        refused = run("accept", SECOND, "--genre", "polka", *audio)
        assert isinstance(refused.exception, ParameterError)
        assert "--audio" in str(refused.exception)
    assert corrections() == {}
    assert run("accept", SECOND, "--genre", "polka", "--audio", "song 2.wav", "--json").exit_code == 0
    assert corrections() == {SECOND: "polka"}


def test_rejected_feedback_leaves_the_data_and_loses_its_audio(project):
    assert run("accept", FIRST, "--genre", "jazz").exit_code == 0
    assert run("reject", FIRST[:8]).exit_code == 0
    assert corrections() == {}
    assert list((project / "data/corrections/audio").iterdir()) == []
    assert "rejected" in run("list", "--all").stdout
    assert run("reject", SECOND).exit_code == 0
    assert run("list").stdout == "No feedback waits for a review.\n"


@pytest.mark.parametrize("accepted", [True, False])
def test_delete_removes_everything_also_from_the_log_of_predictions(project, accepted):
    log = project / "monitoring" / "predictions.2026-03-01.0000abcd.jsonl"
    log.parent.mkdir()
    log.write_text("".join(json.dumps({"prediction_id": name}) + "\n" for name in (FIRST, SECOND)))
    if accepted:
        assert run("accept", FIRST, "--genre", "jazz").exit_code == 0
    ended = run("delete", FIRST)
    assert ended.exit_code == 0
    assert ("dvc gc" in ended.stderr) == accepted
    assert corrections() == {}
    left = [path for path in project.rglob("*") if FIRST in path.name]
    assert left == []
    assert FIRST not in "".join(path.read_text() for path in project.rglob("*.*") if path.suffix in (".jsonl", ".csv"))
    assert json.loads(run("list", "--json").stdout)[0]["prediction_id"] == SECOND
    assert isinstance(run("delete", FIRST).exception, ParameterError)
    assert run("delete", SECOND).exit_code == 0


@pytest.mark.parametrize("prediction_id", ["", "a", FIRST[:8] + "x", "c" * 32, "*", "../" + FIRST])
def test_an_unknown_id_is_refused(project, prediction_id):
    for command in (("accept", "--genre", "jazz"), ("reject",), ("delete",)):
        refused = run(command[0], prediction_id, *command[1:])
        assert isinstance(refused.exception, ParameterError)
        assert "ID" in str(refused.exception)


def test_without_a_folder_of_records_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENREFLOW_FEEDBACK_DIR", str(tmp_path / "nowhere"))
    refused = run("list")
    assert isinstance(refused.exception, ParameterError)
    assert "nowhere" in str(refused.exception)
