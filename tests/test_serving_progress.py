"""Lines of progress before the answer to a request that takes long."""

import asyncio
import json
import threading

import numpy as np
import pytest
import soundfile as sf
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from genreflow.costs.service_process import served
from genreflow.serving import progress
from genreflow.serving.progress import MEDIA_TYPE, accepts_progress, answer_with_progress, progress_report
from genreflow.serving.responses import RequestError
from service_client import client_of
from serving_toy import tone, write_toy_bundle


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """An hour, as 44.1 kHz stereo FLAC."""
    path = tmp_path_factory.mktemp("long") / "mix.flac"
    minute = tone("bass", 60.0, rate=44100, channels=2)
    with sf.SoundFile(path, "w", 44100, 2) as file:
        for _ in range(60):
            file.write(minute)
    return path


def test_the_service_answers_a_long_file_line_by_line_for_those_who_ask(long_file, tmp_path):
    environment = {"GENREFLOW_BUNDLE": str(write_toy_bundle(tmp_path / "bundle").directory)}
    with (
        served(environment=environment, watch=False) as service,
        client_of(service) as client,
    ):

        def post(accept):
            with long_file.open("rb") as file:
                return client.post("/classify", files={"audio": file}, headers={"accept": accept})

        response = post(f"{MEDIA_TYPE}, application/json")
        assert response.headers["content-type"] == MEDIA_TYPE
        *lines, last = [json.loads(line) for line in response.text.splitlines()]
        seconds = [line["progress"]["seconds"] for line in lines]
        assert seconds == sorted(seconds)
        assert 0 <= seconds[0] < seconds[-1] <= 3600
        assert last["status"] == 200
        plain = post("*/*").json()
        varying = {"prediction_id"}
        assert {name: value for name, value in last["body"].items() if name not in varying} == {
            name: value for name, value in plain.items() if name not in varying
        }
        assert plain["duration"] == 3600
        # A short request of such a client has its own status.
        response = client.post("/classify", files={"audio": b"words"}, headers={"accept": MEDIA_TYPE})
        assert (response.status_code, response.headers["content-type"]) == (415, "application/json")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", False),
        ("", False),
        ("application/json", False),
        (MEDIA_TYPE, True),
        (f"text/html, {MEDIA_TYPE.upper()};q=0.9", True),
    ],
)
def test_the_media_type_has_to_be_named(accept, expected):
    assert accepts_progress(Headers({"accept": accept})) == expected
    assert not accepts_progress(Headers({}))


def call(app, *, disconnect_after=None):
    """Call an application through `answer_with_progress`; return its messages and the state of the request."""
    scope, sent = {"type": "http", "state": {}}, []

    async def receive():
        await (asyncio.Event().wait() if disconnect_after is None else asyncio.sleep(disconnect_after))
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(answer_with_progress(app, scope, receive, send))
    return sent, scope["state"]


def lines_of(sent):
    return [json.loads(message["body"]) for message in sent[1:]]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)


def test_the_progress_of_a_thread_reaches_the_client(impatient):
    reported = threading.Event()

    async def app(scope, receive, send):
        def work():
            progress_report()(np.float32(30.0).item())
            reported.set()

        await to_thread.run_sync(work)
        await asyncio.sleep(0.1)
        await JSONResponse({"genre": "é"})(scope, receive, send)

    sent, _ = call(app)
    *lines, last = lines_of(sent)
    assert reported.is_set()
    assert lines[-1] == {"progress": {"seconds": 30.0}}
    assert last == {"status": 200, "body": {"genre": "é"}}
    assert [message.get("more_body") for message in sent[1:]] == [True] * len(lines) + [False]
    assert progress_report() is None


def test_an_error_of_a_library_has_the_format_of_the_service(impatient):
    async def app(scope, receive, send):
        await asyncio.sleep(0.1)
        await JSONResponse({"error": "timeout"}, 504)(scope, receive, send)

    sent, state = call(app)
    last = lines_of(sent)[-1]
    assert last["status"] == 504
    assert last["body"]["error"]["code"] == state["error_code"] == "too_slow"


def test_work_ends_when_the_client_has_gone(impatient):
    ended = []

    async def app(scope, receive, send):
        def work():
            for seconds in range(100_000):
                progress_report()(float(seconds))
                threading.Event().wait(0.001)

        try:
            await to_thread.run_sync(work)
        except RequestError as error:
            ended.append(error)
            raise

    call(app, disconnect_after=0.1)
    assert len(ended) == 1
