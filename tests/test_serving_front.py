"""The token, the ids, the limit of requests and the description of a real service."""

import asyncio
import json
import re
import socket
import time

import httpx
import pytest
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from genreflow.costs.service_process import served
from genreflow.errors import ParameterError
from genreflow.serving import asgi, front, schema
from genreflow.serving.front import Front
from genreflow.serving.prefork import Tally
from genreflow.serving.settings import Settings
from serving_toy import write_tone

TOKEN = "s3cret-T0ken"
ALLOWED = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded(bento_home):
    """A service with a token that takes on two requests at a time."""
    environment = {
        "BENTOML_HOME": bento_home,
        "GENREFLOW_TOKEN": TOKEN,
        "GENREFLOW_MAX_REQUESTS": "2",
        "GENREFLOW_MAX_WORK_SECONDS": "1e-9",
        "GENREFLOW_STALL_SECONDS": "60",
    }
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(guarded):
    with httpx.Client(base_url=guarded.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0).read_bytes()


def post(client, song, **headers):
    return client.post("/classify", files={"audio": ("bass.wav", song)}, headers=headers)


@pytest.mark.parametrize(
    "header",
    [
        None,
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        b"Bearer \xff\xfe",
    ],
)
def test_without_the_token_nothing_is_classified(client, song, header):
    headers = {} if header is None else {"authorization": header}
    for response in (post(client, song, **headers), client.post("/model", headers=headers)):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["error"]["code"] == "unauthorised"
        assert TOKEN not in response.text


def test_with_the_token_it_is(client, song):
    for scheme in ("Bearer", "bearer"):
        assert post(client, song, authorization=f"{scheme} {TOKEN}").json()["genre"] == "bass"
    assert client.post("/model", headers=ALLOWED).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz", "/metrics", "/docs.json", "/"])
def test_what_is_no_work_needs_no_token(client, path):
    assert client.get(path, follow_redirects=True).status_code == 200


def test_the_token_is_in_no_log(guarded, client, song):
    post(client, song, **ALLOWED)
    assert TOKEN not in guarded.log.read_text(errors="replace")
    assert TOKEN not in repr(Settings(token=TOKEN))


@pytest.mark.parametrize("token", ["two words", "ümlaut", "line\nend"])
def test_a_token_that_no_header_can_hold_is_told(token, monkeypatch):
    monkeypatch.setenv("GENREFLOW_TOKEN", token)
    with pytest.raises(ParameterError, match="GENREFLOW_TOKEN") as told:
        Settings.from_environment()
    assert token not in str(told.value)


@pytest.mark.parametrize("name", ["MAX_MINUTES", "MAX_REQUESTS", "MAX_WORK_SECONDS", "MAX_FILES"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf"])
def test_a_limit_that_is_none_is_told(name, value, monkeypatch):
    monkeypatch.setenv(f"GENREFLOW_{name}", value)
    with pytest.raises(ParameterError, match=f"GENREFLOW_{name}"):
        Settings.from_environment()


def test_a_request_keeps_its_id_in_answer_and_log(guarded, client, song):
    sends = (lambda id: post(client, song, **ALLOWED, **id), lambda id: client.get("/x", headers=id))
    for number, send in enumerate(sends):
        given = f"trace-{number}.A_b:9"
        assert send({"x-request-id": given}).headers["x-request-id"] == given
        end = time.monotonic() + 30  # it is logged behind the answer
        while f"id={given}" not in guarded.log.read_text() and time.monotonic() < end:
            time.sleep(0.05)
        [line] = [line for line in guarded.log.read_text().splitlines() if f"id={given}" in line]
        assert re.search(r"(POST /classify 200|GET /x 404) [0-9.]+ms", line)


@pytest.mark.parametrize("given", ["", "a" * 65, "with space", 'quote"', b"\xff"])
def test_an_id_that_could_harm_a_log_is_replaced(guarded, client, given):
    made = [client.get("/nowhere", headers={"x-request-id": given}).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)
    assert made[0] != made[1]


def begin_upload(guarded):
    connection = socket.create_connection(("127.0.0.1", guarded.port), timeout=60)
    lines = [
        "POST /classify HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100",
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n--x\r\n").encode())
    return connection


def under_way(client):
    figures = client.get("/metrics").text
    told = re.findall(r'^bentoml_service_request_in_progress\{endpoint="/classify",.*\} (\S+)$', figures, re.MULTILINE)
    return sum(map(float, told))


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_beyond_the_requests_it_takes_on_it_says_429_and_recovers(guarded, client, song):
    with begin_upload(guarded), begin_upload(guarded):
        wait_for(lambda: under_way(client) == 2)
        response = post(client, song, **ALLOWED)
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "overloaded"
        assert int(response.headers["retry-after"]) > 0
        assert client.get("/readyz").status_code == client.get("/metrics").status_code == 200
        assert client.post("/model", headers=ALLOWED).status_code == 429
        assert client.post("/model").status_code == 401  # who may not ask is not told how busy it is
    wait_for(lambda: under_way(client) == 0)
    assert post(client, song, **ALLOWED).json()["genre"] == "bass"


def test_a_batch_that_costs_too_much_is_answered_as_far_as_it_went(client, song):
    sent = [("audios", (f"{number}.wav", song)) for number in range(3)]
    results = client.post("/classify_batch", files=sent, headers=ALLOWED).json()["results"]
    assert [result["file"] for result in results] == ["0.wav", "1.wav", "2.wav"]
    assert results[0]["genre"] == "bass"
    assert [result["error"]["code"] for result in results[1:]] == ["too_much_work"] * 2


ANSWERS = {"/classify": schema.Answer, "/classify_batch": schema.BatchAnswer, "/model": schema.ModelCard}


@pytest.fixture(scope="module")
def document(client):
    return client.get("/docs.json").json()


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_of_the_openapi_has_an_example_of_its_kind(document, path):
    assert document["openapi"].startswith("3.1")
    operation = document["paths"][path]["post"]
    assert operation["security"] == [{"token": []}]
    assert {"200", "401", "429", "500"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        content = response["content"]["application/json"]
        kind = ANSWERS[path] if status == "200" else schema.ErrorAnswer
        assert content["schema"] == {"$ref": f"#/components/schemas/{kind.__name__}"}
        assert kind.__name__ in document["components"]["schemas"]
        assert content["examples"]
        for example in content["examples"].values():
            TypeAdapter(kind).validate_python(example["value"], extra="forbid")


def test_what_is_answered_is_what_the_openapi_says(client, song, document):
    TypeAdapter(schema.Answer).validate_python(post(client, song, **ALLOWED).json(), extra="forbid")
    TypeAdapter(schema.ModelCard).validate_python(client.post("/model", headers=ALLOWED).json(), extra="forbid")
    sent = [("audios", ("a.wav", song)), ("audios", ("b.wav", b"junk"))]
    results = client.post("/classify_batch", files=sent, headers=ALLOWED).json()
    TypeAdapter(schema.BatchAnswer).validate_python(results, extra="forbid")
    assert json.dumps(document).count("#/components/schemas/") == len(
        re.findall(
            "#/components/schemas/(?:" + "|".join(document["components"]["schemas"]) + ')"', json.dumps(document)
        )
    )


def in_front_of(app, requests, monkeypatch, *, seconds):
    """Statuses of posts to an application behind `Front`, and how many timers are left."""
    monkeypatch.setattr(front, "ANSWER_SECONDS", seconds)
    route = Route("/classify", app, methods=["POST"])
    guard = Front(Starlette(routes=[route]), routes=[route], limits=Settings(), under_way=Tally(1))

    async def ask():
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
            answers = [await client.post("/classify") for _ in range(requests)]
        timers = [each for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]
        return answers, len(timers)

    answers, timers = asyncio.run(ask())
    assert guard.under_way.total == 0
    return answers, timers


def test_a_request_that_waits_too_long_is_told(monkeypatch):
    async def never(request):
        await asyncio.sleep(3600)

    [answer], _ = in_front_of(never, 1, monkeypatch, seconds=0.1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "too_slow")


def test_an_answered_request_leaves_nothing_behind(monkeypatch):
    async def at_once(request):
        return JSONResponse({})

    answers, timers = in_front_of(at_once, 20, monkeypatch, seconds=300)
    assert {answer.status_code for answer in answers} == {200}
    assert timers == 0


def test_no_timer_of_bentoml_outlives_its_request(monkeypatch):
    # Each would hold some kilobytes for five minutes.
    from genreflow.serving.service import GenreClassifier

    monkeypatch.setattr(asgi, "settings", lambda: Settings(processes=1))
    names = {each.cls.__name__ for each in GenreClassifier.to_asgi().user_middleware}
    assert "Front" in names
    assert "TimeoutMiddleware" not in names
