"""Records of predictions, claims about them, their expiry, and the thread that writes them."""

import io
import os
import tempfile
from datetime import date, timedelta

import pytest

from genreflow.feedback import feedback_recorder
from genreflow.feedback.feedback_recorder import FeedbackRecorder
from genreflow.feedback.feedback_records import (
    ClaimedError,
    FeedbackRecord,
    FeedbackRecords,
    Review,
    UnknownGenreError,
    UnknownPredictionError,
)
from genreflow.feedback.feedback_retention import Retention, expire
from genreflow.files import sha256
from waiting import wait_for

RETENTION = Retention(days=30, max_bytes=10_000_000)


def identifier(number: int) -> str:
    return f"{number:032x}"


def record(number: int = 1, *, day: str = "2026-03-01", **other) -> FeedbackRecord:
    fields = {
        "prediction_id": identifier(number),
        "time": f"{day}T12:00:00+00:00",
        "model": {"name": "genreflow", "version": "3"},
        "genre": "rock",
        "probabilities": {"rock": 0.7, "jazz": 0.3},
        "duration": 3.0,
        "audio_hash": "ab" * 32,
        "audio_suffix": ".wav",
    }
    return FeedbackRecord(**fields | other)


def answer(number: int = 1) -> dict:
    return {
        "prediction_id": identifier(number),
        "model": {"name": "genreflow", "version": "3", "leaking": True},
        "genre": "rock",
        "probabilities": {"rock": 0.7, "jazz": 0.3},
        "duration": 3.0,
    }


@pytest.fixture
def records(tmp_path):
    return FeedbackRecords(tmp_path / "feedback")


def test_a_claim_is_kept_once(records):
    records.add(record())
    claim = records.claim(identifier(1), "jazz", "a trio")
    assert records.claim(identifier(1), "jazz", "a trio") == claim
    for other in (("rock", "a trio"), ("jazz", ""), (None, "")):
        with pytest.raises(ClaimedError):
            records.claim(identifier(1), *other)
    assert records.read(identifier(1)).claim == claim
    assert [entry.record for entry in records.claimed()] == [record()]


def test_of_claims_at_the_same_time_the_first_is_kept(records, monkeypatch):
    """Both processes have read that there is none yet."""
    records.add(record())
    stale = records.read(identifier(1))
    first = records.claim(identifier(1), "jazz")
    with monkeypatch.context() as patch:
        patch.setattr(FeedbackRecords, "read", lambda *_: stale)
        with pytest.raises(ClaimedError):
            records.claim(identifier(1), "rock")
        assert records.claim(identifier(1), "jazz") == first
    assert records.read(identifier(1)).claim == first


def test_none_of_the_genres_can_be_claimed(records):
    records.add(record())
    assert records.claim(identifier(1), None).genre is None


@pytest.mark.parametrize("genre", ["polka", "Rock", "", "x" * 1000])
def test_a_genre_that_the_model_does_not_know_is_refused_with_the_list(records, genre):
    records.add(record())
    with pytest.raises(UnknownGenreError, match="jazz, rock"):
        records.claim(identifier(1), genre)
    assert list(records.claimed()) == []


@pytest.mark.parametrize("prediction_id", [identifier(2), "", "..", "*", "../2026-03-01/" + identifier(1), "A" * 32])
def test_an_unknown_prediction_is_refused(records, prediction_id):
    records.add(record())
    with pytest.raises(UnknownPredictionError):
        records.claim(prediction_id, "jazz")
    assert records.delete(prediction_id) == []
    assert records.read(identifier(1)).record == record()


def test_a_damaged_file_is_no_record_and_no_claim(records):
    for number in (1, 2):
        records.add(record(number))
    records.claim(identifier(1), "jazz")
    records.path(record(2), ".json").write_text("")
    records.path(record(1), ".claim.json").write_text('{"genre"')
    with pytest.raises(UnknownPredictionError):
        records.read(identifier(2))
    assert list(records.claimed()) == []


def test_everything_about_a_prediction_is_deleted(records):
    for number in (1, 2):
        records.add(record(number))
        records.claim(identifier(number), "jazz")
        records.review(record(number), Review(verdict="accepted", genre="jazz"))
        records.path(record(number), ".audio.wav").write_bytes(b"sound")
    assert len(records.delete(identifier(1))) == 4
    assert [entry.record.prediction_id for entry in records.claimed()] == [identifier(2)]
    assert {path.name.split(".")[0] for day in records.days() for path in day.iterdir()} == {identifier(2)}


def test_records_expire_with_their_claims_before_the_days_are_over(records):
    for number, age in enumerate((0, 29, 30, 31)):
        day = date(2026, 3, 31) - timedelta(days=age)
        records.add(record(number, day=day.isoformat()))
        records.claim(identifier(number), "jazz")
    expire(records.folder, RETENTION, today=date(2026, 3, 31))
    assert {entry.record.prediction_id for entry in records.claimed()} == {identifier(0), identifier(1)}


def test_the_oldest_records_without_a_claim_go_first_when_all_are_too_large(records):
    for number in range(6):
        records.add(record(number))
        audio = records.path(record(number), ".audio.wav")
        audio.write_bytes(bytes(100_000))
        for path in (audio, records.path(record(number), ".json")):
            os.utime(path, (1000 + number, 1000 + number))
    records.claim(identifier(0), "jazz")
    left = expire(records.folder, Retention(days=30, max_bytes=400_000), today=date(2026, 3, 1))
    kept = {path.name.split(".")[0] for day in records.days() for path in day.glob("*.json")}
    assert kept == {identifier(0), identifier(4), identifier(5)}
    assert left <= 0.9 * 400_000


def recorder(folder, lost=None, **options) -> FeedbackRecorder:
    lost = [] if lost is None else lost
    return FeedbackRecorder(folder, RETENTION, count_lost=lambda: lost.append(1), **{"keep_audio": False} | options)


@pytest.mark.parametrize("size", [1000, feedback_recorder.MEMORY_BYTES + 1000], ids=["memory", "file"])
@pytest.mark.parametrize("keep_audio", [True, False])
def test_the_recorder_keeps_hash_and_audio_and_no_file_name(tmp_path, size, keep_audio):
    content = os.urandom(size)
    with tempfile.SpooledTemporaryFile(max_size=2_000_000) as upload:
        upload.write(content)
        upload.seek(10)
        running = recorder(tmp_path, keep_audio=keep_audio)
        running.record(answer(), upload, size=size, name="my secret song.MP3")
    running.close()  # after the upload was closed
    entry = FeedbackRecords(tmp_path).read(identifier(1))
    (tmp_path / "copy").write_bytes(content)
    assert entry.record.audio_hash == sha256(tmp_path / "copy")
    assert entry.record.audio_suffix == ".mp3"
    assert (entry.audio.read_bytes() if keep_audio else entry.audio) == (content if keep_audio else None)
    [day] = FeedbackRecords(tmp_path).days()
    assert not [path for path in day.iterdir() if "secret" in path.name + path.read_bytes().decode("latin-1")]


@pytest.mark.parametrize(
    "name", [None, "", "song", "song.", "a/../../x.w/v", "song.reallylongsuffix", "song.m\n3", "song.é3"]
)
def test_an_odd_file_name_gives_no_suffix(tmp_path, name):
    running = recorder(tmp_path)
    running.record(answer(), io.BytesIO(b"sound"), size=5, name=name)
    running.close()
    assert FeedbackRecords(tmp_path).read(identifier(1)).record.audio_suffix == ""


def test_a_disk_that_fails_loses_records_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    lost: list[int] = []
    running = recorder(tmp_path / "file", lost)
    for number in range(5):
        running.record(answer(number), io.BytesIO(b"sound"), size=5, name="a.wav")
    running.close()
    assert len(lost) == 5
    assert len([line for line in caplog.records if line.name == "genreflow.feedback.feedback_recorder"]) == 1


def test_a_slow_disk_delays_no_answer_and_memory_stays_bounded(tmp_path, monkeypatch):
    release: list[bool] = []
    monkeypatch.setattr(FeedbackRecords, "add", lambda *_: wait_for(lambda: release))
    lost: list[int] = []
    running = recorder(tmp_path, lost)
    data = bytes(1_000_000)
    for number in range(200):
        running.record(answer(number), io.BytesIO(data), size=len(data), name="a.wav")
    waiting = 200 - len(lost)
    assert waiting <= feedback_recorder.MAX_WAITING_BYTES / len(data) + 1
    release.append(True)
    running.close()
    lost.clear()
    running = recorder(tmp_path, lost)
    running.record(answer(), io.BytesIO(data), size=len(data), name="a.wav")
    running.close()
    assert lost == []
