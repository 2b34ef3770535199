"""`genreflow retrain` in a real project beside a running service: promoted, refused, killed."""

import json
import os
import signal
import threading
import time

import httpx
import pytest

from genreflow.costs.service_process import served
from genreflow.stages.retrain import MARKER
from pipeline import quick_project, write_music
from test_pipeline_kills import PackagedProject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = quick_project(tmp_path_factory.mktemp("retrain"))
    project.set(gate={"min_probability": 0.5})
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
        with httpx.Client(base_url=self.url, timeout=60) as client:
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
        end = time.monotonic() + 60
        while "2" not in listener.versions[-8:] and time.monotonic() < end:
            time.sleep(0.2)
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


@pytest.mark.parametrize("stage", ["tune", "evaluate", "package"])
def test_a_killed_retraining_is_continued(project, music, stage):
    """At the beginning of a stage; the same command ends what was begun."""
    project.set(gate={"min_probability": 0.5})
    add_artist(music, {"tune": 8, "evaluate": 9, "package": 10}[stage])
    process = PackagedProject.start(project, "genreflow", "retrain")
    for line in process.stdout:
        if f"Running stage '{stage}'" in line:
            break
    else:
        pytest.fail(f"{stage} did not run")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (project.folder / MARKER).exists()
    found = retrain(project, code=0)
    assert "interrupted" in [reason["kind"] for reason in found["reasons"]]
    assert found["promoted"] or stage == "package"
    assert not (project.folder / MARKER).exists()
    assert "Nothing to do" in project.run("genreflow", "retrain").stdout


def test_a_failing_stage_is_one_sentence_and_the_champion_stays(project, music):
    add_artist(music, 11)
    project.set(train={"batch_size": -1})
    printed = project.run("genreflow", "retrain", ok=False).stdout
    assert [line for line in printed.splitlines() if line.startswith("genreflow: retrain:")]
    assert "is still the champion" in printed
    assert "Traceback" not in printed
