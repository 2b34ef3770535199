"""`genreflow retrain` in a real project beside a running service: promoted, refused, killed."""

import io
import json
import threading
import time

import httpx
import numpy as np
import pytest
import soundfile

from genreflow.bundle import Bundle
from genreflow.costs.service_process import served
from genreflow.manifest.manifest import Manifest
from genreflow.stages.retrain import MARKER
from pipeline import RATE, quick_project, tone, write_music
from test_pipeline_kills import PackagedProject, kill
from waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = quick_project(tmp_path_factory.mktemp("retrain"))
    # enough epochs for all tones to be told apart; equal models have a probability of 0.5 of being better
    project.set(gate={"min_probability": 0.5, "min_tracks": 1}, train={"epochs": 16, "patience": 16})
    project.repro()
    return project


@pytest.fixture(scope="module")
def music(project):
    return project.folder.parent / "music"


def add_artist(music, number: int) -> None:
    """Add the tracks of one more artist of each genre."""
    everything = music.parent / f"artists {number}"
    write_music(everything, artists=number)
    for folder in everything.glob(f"*/* artist {number - 1}"):
        folder.rename(music / folder.relative_to(everything))


def wav_of(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def retrain(project, *arguments: str, code: int) -> dict:
    done = project.run("genreflow", "retrain", "--json", *arguments, ok=code == 0)
    assert done.returncode == code, done.stdout
    return json.loads(done.stdout[done.stdout.index("\n{\n") :] if "\n{\n" in done.stdout else done.stdout)


class Listener:
    """Sends requests to a service in a thread, and keeps statuses and versions of the answers."""

    def __init__(self, url: str, song: bytes) -> None:
        self.url, self.song, self.statuses, self.versions = url, song, set(), []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=300) as client:
            while not self.done.is_set():
                answer = client.post("/classify", files={"audio": ("song.wav", self.song)})
                self.statuses.add(answer.status_code)
                self.versions.append(answer.json()["model"]["version"])
                time.sleep(0.2)

    def stop(self) -> None:
        self.done.set()
        self.thread.join()


def test_nothing_is_done_without_a_reason(project):
    done = project.run("genreflow", "retrain").stdout
    assert "Nothing to do" in done
    assert retrain(project, code=0) == {"reasons": [], "trained": False, "promoted": False}


def test_new_tracks_make_a_new_champion_that_a_running_service_takes(project, music, tmp_path):
    song = next((music / "bass").rglob("*.wav")).read_bytes()
    add_artist(music, 6)
    with served(cwd=project.folder, environment={"GENREFLOW_RELOAD_SECONDS": "0.5"}, watch=False) as service:
        listener = Listener(service.url, song)
        found = retrain(project, code=0)
        try:
            wait_for(lambda: "2" in listener.versions[-8:])
        finally:
            listener.stop()
    assert [reason["kind"] for reason in found["reasons"]] == ["data"]
    assert (found["former"], found["champion"], found["promoted"]) == ("1", "2", True)
    assert found["gate"]["rule"] == "compared"
    assert listener.statuses == {200}
    assert {"1", "2"} == set(listener.versions)
    assert "start_from: previous" in (project.folder / "params.yaml").read_text()


def test_a_refusal_leaves_the_champion_and_says_why(project, music):
    add_artist(music, 7)
    project.set(gate={"min_probability": 1.0})
    found = retrain(project, code=3)
    assert (found["trained"], found["promoted"], found["champion"]) == (True, False, "2")
    assert "not promoted" in found["gate"]["reason"]
    assert "Nothing to do" in project.run("genreflow", "retrain").stdout


def test_a_correction_becomes_part_of_the_next_champion(project, music):
    """From an answer of the service to a model that was trained on the corrected track, and no other part has it."""
    project.set(gate={"min_probability": 0.5})
    song = wav_of(tone(1500.0, seed=99))
    records = str(project.folder / "feedback")
    environment = {"GENREFLOW_FEEDBACK_DIR": records, "GENREFLOW_FEEDBACK_AUDIO": "true"}
    with served(cwd=project.folder, environment=environment, watch=False) as service:
        answer = httpx.post(f"{service.url}/classify", files={"audio": ("song.wav", song)}, timeout=300).json()
        claim = {"prediction_id": answer["prediction_id"], "genre": "treble"}
        assert httpx.post(f"{service.url}/feedback", json=claim, timeout=300).status_code == 200
    project.run("genreflow", "feedback", "accept", answer["prediction_id"], "--genre", "treble")
    assert "Nothing to do" in project.run("genreflow", "retrain").stdout, "one correction is not enough"
    project.run("dvc", "repro", "split")  # as docs/how-to/feedback.md says, to see what becomes of it
    assert "Nothing to do" in project.run("genreflow", "retrain").stdout, "one correction is still not enough"
    found = retrain(project, "--min-corrections", "1", code=0)
    assert [reason["kind"] for reason in found["reasons"]] == ["corrections"]
    assert found["promoted"]
    split = json.loads((project.folder / "data/split.json").read_text())
    [track] = [track for track in split["train"] if answer["prediction_id"] in track]
    assert track not in split["valid"] + split["test"]
    [hash_of_track] = [
        row.hash for row in Manifest.load(project.folder / "data/manifest.json").tracks if row.id == track
    ]
    assert hash_of_track in Bundle.load(project.folder / "models/champion").lineage["train_tracks"]


@pytest.mark.parametrize("stage", ["tune", "register"])
def test_a_killed_retraining_is_continued(project, music, stage):
    """At the beginning of a stage; the same command ends what was begun."""
    project.set(gate={"min_probability": 0.5})
    add_artist(music, {"tune": 8, "register": 9}[stage])
    process = PackagedProject.start(project, "genreflow", "retrain")
    for line in process.stdout:
        if f"Running stage '{stage}'" in line:
            break
    else:
        pytest.fail(f"{stage} did not run")
    kill(process)
    assert (project.folder / MARKER).exists()
    versions = [row["version"] for row in json.loads(project.run("genreflow", "registry", "list", "--json").stdout)]
    process = PackagedProject.start(project, "genreflow", "retrain")
    printed, _ = process.communicate()
    assert process.returncode in (0, 3), printed  # 3: the gate refuses
    assert "a retraining was interrupted" in printed
    after = [row["version"] for row in json.loads(project.run("genreflow", "registry", "list", "--json").stdout)]
    assert len(after) == len(versions) + 1, "one version for each retraining"
    assert not (project.folder / MARKER).exists()
    assert "Nothing to do" in project.run("genreflow", "retrain").stdout


def test_a_failing_stage_is_one_sentence_and_the_champion_stays(project, music):
    add_artist(music, 10)
    (project.folder / "optuna.db").write_text("no database")
    printed = project.run("genreflow", "retrain", ok=False).stdout
    assert [line for line in printed.splitlines() if line.startswith("genreflow: retrain:")]
    assert "is the champion" in printed
    assert "Traceback" not in printed
