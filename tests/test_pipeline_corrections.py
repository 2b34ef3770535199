"""A correction by a listener, by real DVC: accepted, it is in train only; deleted, it is gone everywhere."""

import json
import shutil

import pytest
import soundfile

from genreflow.datasets.corrections import NAME
from genreflow.feedback.feedback_records import FeedbackRecord, FeedbackRecords
from genreflow.files import sha256
from pipeline import RATE, quick_project, tone

pytestmark = pytest.mark.slow

PREDICTION = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project after `dvc repro split`, in which a listener has corrected an answer."""
    project = quick_project(tmp_path_factory.mktemp("corrections"))
    project.repro("split")
    project.commit("without corrections")
    records = FeedbackRecords(project.folder / "feedback")
    sent = project.folder.parent / "sent.wav"
    soundfile.write(sent, tone(470.0, seed=99), RATE)
    record = FeedbackRecord(
        prediction_id=PREDICTION,
        time="2026-03-01T12:00:00+00:00",
        model={"name": "genreflow", "version": "1"},
        genre="bass",
        probabilities={"bass": 0.7, "middle": 0.2, "treble": 0.1},
        duration=2.5,
        audio_hash=sha256(sent),
        audio_suffix=".wav",
    )
    records.add(record)
    shutil.copy(sent, records.path(record, ".audio.wav"))
    records.claim(PREDICTION, "middle")
    return project


def read(project, name):
    return json.loads((project.folder / name).read_text())


def parts(project):
    return {part: set(read(project, "data/split.json")[part]) for part in ("train", "valid", "test")}


def cached(project) -> bool:
    """Whether DVC's cache has the audio that was sent."""
    digest = sha256(project.folder.parent / "sent.wav")
    files = [path for path in (project.folder / ".dvc/cache").rglob("*") if path.is_file()]
    return any(sha256(path) == digest for path in files)


def test_a_correction_is_in_train_only_until_it_is_deleted(project):
    before = {name: (project.folder / name).read_bytes() for name in ("data/manifest.json", "data/audit.json")}
    plain = parts(project)
    project.run("genreflow", "feedback", "accept", PREDICTION[:8], "--genre", "middle", "--artist", "Somebody")
    assert "data/corrections/tracks.csv" in project.git("status", "--short")
    assert "audio" not in project.git("status", "--short")  # is not in git
    project.repro("split")
    track = f"{NAME}/{PREDICTION}"
    assert parts(project) == plain | {"train": plain["train"] | {track}}
    report = read(project, "reports/split.json")
    assert report["train_only"]["tracks"] == 1
    assert (project.folder / "data/raw" / f"{track}.wav").is_file()
    project.commit("with a correction")
    assert "Stage 'ingest' didn't change" in project.repro("split")

    # A clone has the audio in the raw data, which DVC keeps.
    shutil.rmtree(project.folder / "data/corrections/audio")
    assert "Stage 'ingest' didn't change" in project.repro("split")
    project.run("dvc", "repro", "--force", "--single-item", "ingest")
    assert f"{track}.wav" in (project.folder / "data/manifest.json").read_text()

    assert cached(project)
    project.run("genreflow", "feedback", "delete", PREDICTION)
    project.repro("split")
    assert parts(project) == plain
    assert {name: (project.folder / name).read_bytes() for name in before} == before
    assert not (project.folder / "data/raw" / NAME).exists()
    project.commit("without it again")
    project.run("dvc", "gc", "--workspace", "--force")
    assert not cached(project)
