"""`POST /feedback` of a real service: what it takes and refuses, and that a full disk affects no answer."""

import asyncio
import contextlib
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from genreflow.costs.service_process import served
from genreflow.feedback.feedback_records import FeedbackRecord, FeedbackRecords, now
from genreflow.files import sha256
from genreflow.serving.feedback_route import feedback_endpoint
from genreflow.serving.middleware import AdmissionMiddleware
from genreflow.serving.openapi import describe
from genreflow.serving.service import GenreClassifier
from genreflow.serving.settings import Settings
from service_client import client_of
from serving_toy import LABELS, write_tone
from waiting import wait_for

TOKEN = "s3cret-T0ken"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return FeedbackRecords(tmp_path_factory.mktemp("service") / "feedback")


@pytest.fixture(scope="module")
def service(bento_home, records):
    environment = {
        "BENTOML_HOME": bento_home,
        "GENREFLOW_TOKEN": TOKEN,
        "GENREFLOW_FEEDBACK_DIR": str(records.folder),
        "GENREFLOW_FEEDBACK_AUDIO": "true",
    }
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service, headers=AUTHORIZED) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0)


def classify(client, song) -> str:
    answer = client.post("/classify", files={"audio": ("bass.wav", song.read_bytes())})
    assert answer.status_code == 200
    return answer.json()["prediction_id"]


def recorded(client, records, song) -> str:
    """Classify, and wait for the record; the service itself waits for it less than a second."""
    prediction_id = classify(client, song)
    wait_for(lambda: list(records.folder.glob(f"*/{prediction_id}.json")))
    return prediction_id


def feedback(client, prediction_id, genre, **other):
    return client.post("/feedback", json={"prediction_id": prediction_id, "genre": genre, **other})


def error_code(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_feedback_at_once_is_kept_with_the_audio(client, records, song):
    prediction_id = classify(client, song)
    answers = []

    def given_at_once() -> bool:  # the service waits for the record, but less than a second
        answers.append(feedback(client, prediction_id, "drone", comment="a bordun"))
        return answers[-1].status_code != 404

    wait_for(given_at_once)
    given = answers[-1]
    assert given.status_code == 200
    assert given.json().items() >= {"prediction_id": prediction_id, "genre": "drone", "comment": "a bordun"}.items()
    [entry] = [entry for entry in records.claimed() if entry.record.prediction_id == prediction_id]
    assert (entry.claim.genre, entry.record.genre) == ("drone", "bass")
    assert entry.record.audio_hash == sha256(song)
    wait_for(lambda: records.read(prediction_id).audio is not None)
    assert records.read(prediction_id).audio.read_bytes() == song.read_bytes()


def test_feedback_waits_for_a_record_that_is_being_written(tmp_path, monkeypatch):
    records, waits = FeedbackRecords(tmp_path), []
    probabilities, audio_hash = dict.fromkeys(LABELS, 1 / len(LABELS)), "0" * 64
    record = FeedbackRecord(
        prediction_id="ab" * 16, time=now(), model={}, genre="bass", probabilities=probabilities, duration=3.0,
        audio_hash=audio_hash,
    )  # fmt: skip

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if sum(waits) > 0.7:
            records.add(record)

    async def post(prediction_id: str) -> int:
        settings = Settings(feedback_dir=str(tmp_path))
        pages = Starlette(routes=[Route("/feedback", feedback_endpoint(settings), methods=["POST"])])
        app = AdmissionMiddleware(Starlette(), pages=pages, routes={}, settings=settings, posted_pages=["/feedback"])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            given = {"prediction_id": prediction_id, "genre": "drone"}
            return (await client.post("/feedback", json=given)).status_code

    monkeypatch.setattr("genreflow.serving.feedback_route.asyncio.sleep", wait)
    assert asyncio.run(post(record.prediction_id)) == 200
    assert sum(waits) < 2
    assert asyncio.run(post("cd" * 16)) == 404


def test_each_file_of_a_batch_can_be_corrected(client, records, song):
    files = [("audios", (f"{number}.wav", song.read_bytes())) for number in range(3)]
    results = client.post("/classify_batch", files=files).json()["results"]
    wait_for(lambda: all(list(records.folder.glob(f"*/{each['prediction_id']}.json")) for each in results))
    for result, genre in zip(results, LABELS, strict=True):
        assert feedback(client, result["prediction_id"], genre).status_code == 200
    assert [records.read(result["prediction_id"]).claim.genre for result in results] == list(LABELS)


def test_feedback_is_given_once_and_repeating_it_changes_nothing(client, records, song):
    prediction_id = recorded(client, records, song)
    first = feedback(client, prediction_id, None)
    assert first.status_code == 200
    assert feedback(client, prediction_id, None).json() == first.json()
    assert error_code(feedback(client, prediction_id, "drone")) == (409, "already_given")


def test_of_simultaneous_feedback_one_is_kept(client, records, song):
    prediction_id = recorded(client, records, song)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda genre: feedback(client, prediction_id, genre), LABELS * 2))
    kept = {answer.json()["genre"] for answer in answers if answer.status_code == 200}
    assert kept == {records.read(prediction_id).claim.genre}
    assert {answer.status_code for answer in answers} == {200, 409}


def test_an_unknown_genre_is_refused_with_the_list(client, records, song):
    refused = feedback(client, recorded(client, records, song), "polka")
    assert error_code(refused) == (422, "unknown_genre")
    assert ", ".join(LABELS) in refused.json()["error"]["message"]


def test_an_unknown_prediction_is_not_found(client):
    assert error_code(feedback(client, "0" * 32, "bass")) == (404, "unknown_prediction")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b'{"prediction_id": "%s"}' % (b"0" * 32),
        b'{"prediction_id": "../../etc/passwd", "genre": "bass"}',
        b'{"prediction_id": ["%s"], "genre": "bass"}' % (b"0" * 32),
        b'{"prediction_id": "%s", "genre": 3}' % (b"0" * 32),
        b'{"prediction_id": "%s", "genre": "\\ud800"}' % (b"0" * 32),
        b'{"prediction_id": "%s", "genre": "bass", "comment": "\\udfff"}' % (b"0" * 32),
        b'{"prediction_id": "%s", "genre": "bass", "comment": "%s"}' % (b"0" * 32, b"x" * 1001),
        b'{"prediction_id": "%s", "genre": "bass", "more": 1}' % (b"0" * 32),
    ],
)
def test_a_malformed_body_is_refused(client, body):
    refused = client.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert error_code(refused) == (400, "malformed_request")


def test_only_json_of_those_with_the_token_is_taken(client, records, song):
    prediction_id = recorded(client, records, song)
    given = {"prediction_id": prediction_id, "genre": "bass"}
    assert error_code(client.post("/feedback", data=given)) == (400, "malformed_request")
    assert error_code(client.post("/feedback", json=given, headers={"authorization": "Bearer no"})) == (
        401,
        "unauthorised",
    )
    assert error_code(client.get("/feedback")) == (405, "method_not_allowed")
    assert feedback(client, prediction_id, "bass").status_code == 200  # none of them was kept


def test_two_gigabytes_are_refused_before_they_are_sent(service):
    head = (
        f"POST /feedback HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2000000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(service.url).port), timeout=300) as connection:
        connection.sendall(head.encode())
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


def test_a_body_without_a_declared_size_is_cut_off(client):
    def content():
        for _ in range(100):
            yield b" " * 1000

    refused = client.post("/feedback", content=content(), headers={"content-type": "application/json"})
    assert error_code(refused) == (413, "too_large")


def test_the_page_is_told_about_feedback_and_the_document_describes_it(client):
    assert client.get("/ui/limits.json").json()["feedback"] == {"days": 30, "audio": True}
    document = client.get("/docs.json").json()
    operation = document["paths"]["/feedback"]["post"]
    assert operation["security"] == [{"token": []}]
    assert operation["responses"].keys() >= {"200", "400", "401", "404", "409", "413", "422"}
    assert "FeedbackOutput" in document["components"]["schemas"]


def test_without_a_folder_there_is_no_feedback():
    document = describe(GenreClassifier, Settings())
    assert "/feedback" not in document["paths"]
    assert "FeedbackOutput" not in document["components"]["schemas"]


def lost_predictions(client) -> float:
    found = re.search(r"^genreflow_unrecorded_predictions_total (\S+)", client.get("/metrics").text, re.M)
    return float(found[1]) if found else 0.0


@pytest.fixture
def small_disk(tmp_path):
    """An empty file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_full_disk_answers_go_on_feedback_is_refused_and_what_was_kept_stays(bento_home, song, small_disk):
    records = FeedbackRecords(small_disk / "feedback")
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_FEEDBACK_DIR": str(records.folder)}
    environment |= {"GENREFLOW_PROCESSES": "1", "GENREFLOW_FEEDBACK_AUDIO": "true"}
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        client_of(service) as client,
    ):
        kept, claimed = classify(client, song), classify(client, song)
        wait_for(lambda: len(list(records.folder.glob("*/*.audio.wav"))) == 2)
        given = feedback(client, claimed, "drone").json()
        before = {path: path.read_bytes() for path in records.folder.rglob("*") if path.is_file()}
        with contextlib.suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        unrecorded = [classify(client, song) for _ in range(3)]  # each is answered
        wait_for(lambda: lost_predictions(client) == 3)
        refused = feedback(client, kept, "bass")
        assert error_code(refused) == (507, "storage_full")
        assert "feedback" in refused.json()["error"]["message"]
        assert error_code(feedback(client, unrecorded[0], "bass")) == (404, "unknown_prediction")
        assert feedback(client, claimed, "drone").json() == given
        assert {path: path.read_bytes() for path in records.folder.rglob("*") if path.is_file()} == before
        assert client.get("/readyz").status_code == 200

        (small_disk / "fill").unlink()
        assert feedback(client, kept, "bass").status_code == 200
        assert feedback(client, recorded(client, records, song), "bass").status_code == 200
        assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_feedback_and_no_answer(bento_home, song, tmp_path):
    """The folder becomes a file after the start, as it is when its volume fails."""
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_FEEDBACK_DIR": str(tmp_path / "feedback")}
    environment |= {"GENREFLOW_PROCESSES": "1"}
    with (
        served("genre-classifier:latest", environment=environment, watch=False) as service,
        client_of(service) as client,
    ):
        wait_for((tmp_path / "feedback").exists)
        (tmp_path / "feedback").rmdir()
        (tmp_path / "feedback").write_text("")
        ids = [classify(client, song) for _ in range(3)]
        assert error_code(feedback(client, ids[0], "bass")) == (404, "unknown_prediction")
        wait_for(lambda: lost_predictions(client) == 3)
        assert client.get("/readyz").status_code == 200
