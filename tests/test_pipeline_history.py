"""A project over time, in real DVC: former parameters, rollback, a clone, new and broken files."""

import json
import os
import subprocess

import httpx
import pytest
import soundfile

from pipeline import RATE, Project, quick_project, tone
from ports import free_port
from waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose gate promotes every candidate that is not worse, so that champions change."""
    project = quick_project(tmp_path_factory.mktemp("history"))
    project.set(gate={"min_probability": 0.5}, bundle={"abstain_below": 0.1})
    project.repro()
    project.commit("A")
    return project


def load(project: Project, name: str):
    return json.loads((project.folder / name).read_text())


def versions(project: Project) -> list[dict]:
    return json.loads(project.run("genreflow", "registry", "list", "--json").stdout)


def champion_threshold(project: Project) -> float:
    return load(project, "models/champion/bundle.json")["abstain_below"]


def test_former_parameters_register_again_without_a_new_version(project):
    assert champion_threshold(project) == 0.1
    project.set(bundle={"abstain_below": 0.2})
    changed = project.repro()
    assert "Running stage 'register'" in changed
    assert load(project, "models/champion.json")["version"] == "2"
    assert champion_threshold(project) == 0.2

    project.set(bundle={"abstain_below": 0.1})
    restored = project.repro()
    assert "Running stage 'register'" in restored, "DVC's run cache must not skip the registry"
    assert "Stage 'train' is cached - skipping run" in restored
    assert sorted(version["version"] for version in versions(project)) == ["1", "2"]
    assert load(project, "models/champion.json")["version"] == "1"
    assert champion_threshold(project) == 0.1
    assert [entry["version"] for entry in load(project, "models/champion.json")["previous"]] == ["1", "2"]
    assert load(project, "reports/gate.json")["times_test_split_used"] == 2
    project.commit("A again")


def test_a_rollback_packages_the_previous_champion(project):
    """Runs after the test above, which makes the champions."""
    bento = load(project, "reports/package.json")["bento"]
    assert "Version 2 is the champion" in project.run("genreflow", "registry", "rollback").stdout
    printed = project.repro()
    assert "Running stage 'package'" in printed
    assert "Running stage 'register'" not in printed
    assert champion_threshold(project) == 0.2
    assert load(project, "models/champion/bundle.json")["version"] == "2"
    assert load(project, "reports/package.json")["bento"] != bento

    project.run("genreflow", "registry", "rollback")
    project.repro()
    assert champion_threshold(project) == 0.1
    refused = project.run("genreflow", "registry", "rollback", ok=False).stdout
    assert "version 1 is the first one" in refused
    assert "Data and pipelines are up to date." in project.repro()


def test_a_champion_with_other_features_is_compared(project):
    """It classifies the audio files, so that a candidate must be better than it and not just than the baseline."""
    project.set(features={"n_mels": 64})
    project.repro()
    gate = load(project, "reports/gate.json")
    assert gate["rule"] == "compared"
    assert gate["champion_accuracy"] > 0.5
    assert load(project, "models/candidate/bundle.json")["spec"]["n_mels"] == 64


def test_a_clone_serves_after_a_pull_without_a_registry(project, tmp_path):
    remote = tmp_path / "remote"
    project.run("dvc", "remote", "add", "--default", "--local", "origin", str(remote))
    project.commit("to be cloned")
    project.run("dvc", "push")
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", str(project.folder), str(clone))
    project.run("dvc", "remote", "add", "--default", "--local", "origin", str(remote), cwd=clone)
    project.run("dvc", "pull", "models/champion", cwd=clone)
    assert not (clone / "mlflow.db").exists()

    audio = tmp_path / "treble.wav"
    soundfile.write(audio, tone(1000, seed=5), RATE)
    local = json.loads(project.run("genreflow", "classify", str(audio), "--json", cwd=clone).stdout)
    port = free_port()
    environment = {**project.environment, "PYTHONPATH": str(clone / "src")}
    command = ["bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, cwd=clone, env=environment, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"

        def is_ready() -> bool:
            assert server.poll() is None
            try:
                return httpx.get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(is_ready, 300)
        answer = httpx.post(f"{url}/classify", files={"audio": audio.open("rb")}, timeout=300)
    finally:
        os.killpg(server.pid, 15)
        server.wait(120)
    assert answer.status_code == 200
    assert answer.json()["probabilities"] == pytest.approx(local["probabilities"], abs=1e-6)
    assert answer.json()["model"]["version"] == load(project, "models/champion.json")["version"]
    assert max(answer.json()["probabilities"], key=answer.json()["probabilities"].get) == "treble"


def test_new_and_broken_files_are_handled_one_by_one(project):
    """A new track, one that no decoder reads, and an empty file."""
    music = project.folder.parent / "music"
    before = len(load(project, "data/manifest.json")["tracks"])
    soundfile.write(music / "bass" / "bass artist 0" / "new.wav", tone(111, seed=77), RATE)
    (music / "bass" / "bass artist 1" / "broken.wav").write_bytes(b"RIFF and nothing behind it")
    (music / "treble" / "treble artist 1" / "empty.wav").write_bytes(b"")
    printed = project.repro("audit-report")
    assert "1 track computed" in printed
    assert f"{before} reused" in printed
    left_out = {fault["track"] for fault in load(project, "data/audit.json")["faults"] if fault["leave_out"]}
    assert left_out == {"bass/bass artist 1/broken", "treble/treble artist 1/empty"}
    for name in ("broken.wav", "empty.wav"):
        assert name in printed
        assert name in (project.folder / "reports" / "audit.html").read_text()
    assert len(load(project, "data/manifest.json")["tracks"]) == before + 3


def test_the_users_files_are_copied_once(project):
    """A file in data/raw is no link to the user's file, and shares its disk space with DVC's cache."""
    music = project.folder.parent / "music"
    source = next(music.rglob("track 0.wav"))
    raw = project.folder / "data" / "raw" / source.relative_to(music)
    assert not raw.is_symlink()
    assert source.stat().st_ino != raw.stat().st_ino
    assert os.access(source, os.W_OK)
    cached = {path.stat().st_ino for path in (project.folder / ".dvc" / "cache").rglob("*") if path.is_file()}
    assert raw.stat().st_ino in cached


def test_an_unreadable_source_leaves_the_data_unchanged(project):
    empty = project.folder.parent / "empty"
    empty.mkdir()
    before = load(project, "data/manifest.json")
    files = sorted(path for path in (project.folder / "data" / "raw").rglob("*.wav"))
    music = project.folder.parent / "music"
    project.set(data={"path": str(empty)})
    printed = project.repro("ingest", ok=False)
    project.set(data={"path": str(music)})
    messages = [line for line in printed.splitlines() if line.startswith("genreflow: ")]
    assert len(messages) == 1
    assert str(empty) in messages[0]
    assert load(project, "data/manifest.json") == before
    assert sorted(path for path in (project.folder / "data" / "raw").rglob("*.wav")) == files
