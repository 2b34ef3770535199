"""Admission to a real service: token, request IDs, limits of concurrency; and its OpenAPI document."""

import asyncio
import contextlib
import io
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import soundfile as sf
from bentoml._internal.server.http.traffic import TimeoutMiddleware as LeakingTimeoutMiddleware
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from genreflow.costs.service_process import served
from genreflow.errors import ParameterError
from genreflow.serving import messages, schema, upload
from genreflow.serving.bentoml_patches import TimeoutMiddleware
from genreflow.serving.middleware import AdmissionMiddleware
from genreflow.serving.settings import Settings
from genreflow.serving.upload import UploadForm
from service_client import client_of
from serving_toy import write_tone
from waiting import wait_for

TOKEN = "s3cret-T0ken"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service(bento_home):
    """A service with one process, a token, and limits of two concurrent requests and eight uploads."""
    environment = {
        "BENTOML_HOME": bento_home,
        "GENREFLOW_PROCESSES": "1",
        "GENREFLOW_TOKEN": TOKEN,
        "GENREFLOW_MAX_REQUESTS": "2",
        "GENREFLOW_MAX_UPLOADS": "8",
        "GENREFLOW_MAX_WORK_SECONDS": "1e-9",
        "GENREFLOW_STALL_SECONDS": "300",
    }
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0).read_bytes()


def classify(client, song, **headers):
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
def test_requests_without_the_token_are_unauthorised(client, song, header):
    headers = {} if header is None else {"authorization": header}
    for response in (classify(client, song, **headers), client.post("/model", headers=headers)):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["error"]["code"] == "unauthorised"
        assert TOKEN not in response.text


def test_requests_with_the_token_are_answered(client, song):
    for scheme in ("Bearer", "bearer"):
        assert classify(client, song, authorization=f"{scheme} {TOKEN}").json()["genre"] == "bass"
    assert client.post("/model", headers=AUTHORIZED).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz", "/metrics", "/docs.json", "/schema.json", "/"])
def test_probes_metrics_and_pages_need_no_token(client, path):
    assert client.get(path, follow_redirects=True).status_code == 200


def test_the_token_is_not_logged(service, client, song):
    classify(client, song, **AUTHORIZED)
    assert TOKEN not in service.log.read_text(errors="replace")
    assert TOKEN not in repr(Settings(token=TOKEN))


@pytest.mark.parametrize("token", ["two words", "ümlaut", "line\nend"])
def test_a_token_that_is_no_header_value_is_refused_without_repeating_it(token, monkeypatch):
    monkeypatch.setenv("GENREFLOW_TOKEN", token)
    with pytest.raises(ParameterError, match="GENREFLOW_TOKEN") as raised:
        Settings.from_environment()
    assert token not in str(raised.value)


SETTINGS = (
    *("MAX_MEGABYTES", "MAX_MINUTES", "MAX_REQUESTS", "MAX_UPLOADS", "MAX_WORK_SECONDS", "MAX_FILES", "PROCESSES"),
    "STALL_SECONDS",
)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf", "1e308"])
def test_a_setting_out_of_range_is_refused(name, value, monkeypatch):
    monkeypatch.setenv(f"GENREFLOW_{name}", value)
    with pytest.raises(ParameterError, match=f"GENREFLOW_{name} must be .*got '{value}'"):
        Settings.from_environment()


def test_empty_variables_leave_the_defaults(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"GENREFLOW_{name.upper()}", "")
    assert Settings.from_environment() == Settings()


@pytest.mark.parametrize(("requests", "processes", "each"), [(32, 2, 16), (32, 1, 32), (5, 2, 3), (1, 4, 1)])
def test_the_concurrency_limits_are_divided_among_the_processes(requests, processes, each):
    assert Settings(max_requests=requests, processes=processes).max_requests_per_process == each
    assert Settings(max_uploads=requests, processes=processes).max_uploads_per_process == each


def test_the_request_id_of_the_client_is_in_response_and_log(service, client, song):
    requests = (
        lambda header: classify(client, song, **AUTHORIZED, **header),
        lambda header: client.get("/x", headers=header),
    )
    for number, send in enumerate(requests):
        request_id = f"trace-{number}.A_b:9"
        assert send({"x-request-id": request_id}).headers["x-request-id"] == request_id
        wait_for(lambda id=request_id: f"id={id}" in service.log.read_text())  # it is logged after the response
        [line] = [line for line in service.log.read_text().splitlines() if f"id={request_id}" in line]
        assert re.search(r"(POST /classify 200|GET /x 404) [0-9.]+ms", line)


@pytest.mark.parametrize("given", ["", "a" * 65, "with space", 'quote"', b"\xff"])
def test_a_request_id_unfit_for_a_log_is_replaced(client, given):
    generated = [client.get("/nowhere", headers={"x-request-id": given}).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in generated)
    assert generated[0] != generated[1]


def unfinished_upload(service):
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=300)
    lines = [
        "POST /classify HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100",
        "Expect: 100-continue",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the service reads the body: the request was admitted
    return connection


def overloaded_status(response):
    """Return the status of a response, and check the rest of it if it is 429."""
    if response.status_code == 429:
        assert response.json()["error"]["code"] == "overloaded"
        assert int(response.headers["retry-after"]) > 0
    return response.status_code


def test_uploads_that_have_not_arrived_do_not_count_as_requests(service, client, song):
    with contextlib.ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(unfinished_upload(service))
        assert classify(client, song, **AUTHORIZED).status_code == 200
        assert client.post("/model", headers=AUTHORIZED).status_code == 200


def test_uploads_beyond_their_own_limit_are_answered_with_429_until_others_end(service, client, song):
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(unfinished_upload(service))
        assert overloaded_status(classify(client, song, **AUTHORIZED)) == 429
        assert client.post("/model", headers=AUTHORIZED).status_code == 200
        assert client.get("/readyz").status_code == client.get("/metrics").status_code == 200
        assert classify(client, song).status_code == 401  # unauthorised clients do not learn about the load
    wait_for(lambda: classify(client, song, **AUTHORIZED).status_code == 200)


def test_requests_beyond_the_limit_are_answered_with_429_until_others_end(client, song):
    long = io.BytesIO()
    sf.write(long, np.zeros(60 * 60 * 8000, np.int16), 8000, format="FLAC")
    # They must come at the same time, within less than the first takes: what a thread has to prepare, it does before.
    barrier = threading.Barrier(6)

    def classify_long(_) -> int:
        barrier.wait()
        return overloaded_status(classify(client, long.getvalue(), **AUTHORIZED))

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(classify_long, range(6)))
    assert set(statuses) == {422, 429}  # silence is unusable
    assert statuses.count(422) >= 2
    assert classify(client, song, **AUTHORIZED).status_code == 200


def test_a_body_is_not_asked_for_while_there_are_too_many_requests():
    """Otherwise it would be sent in vain."""
    settings = Settings(max_requests=1, processes=1)
    received = []

    async def receive():
        received.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def post():
        middleware = AdmissionMiddleware(
            Starlette(), pages=Starlette(), routes={"/classify": UploadForm("audio", 1)}, settings=settings
        )
        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"expect", b"100-continue")]
        with middleware.requests.taken():
            scope = {"type": "http", "method": "POST", "path": "/classify", "headers": headers}
            await middleware(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(post()) == 429
    assert received == []


@pytest.mark.parametrize(("path", "status"), [("/model", 200), ("/nowhere", 404)])
def test_a_body_that_nobody_reads_is_discarded_up_to_a_limit(path, status):
    """A client that is still sending when its connection is closed may not see the response."""
    piece, received, sent = bytes(1 << 20), [], []

    async def receive():
        received.append(len(piece))
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message):
        sent.append(message)

    async def model(request):
        return JSONResponse({})

    app = Starlette(routes=[Route("/model", model, methods=["POST"])])
    middleware = AdmissionMiddleware(app, pages=Starlette(), routes={"/model": None}, settings=Settings())
    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"transfer-encoding", b"chunked")]}
    asyncio.run(middleware(scope, receive, send))
    assert sent[0]["status"] == status
    assert (b"connection", b"close") in [(name.lower(), value) for name, value in sent[0]["headers"]]
    assert messages.DRAIN_BYTES <= sum(received) < messages.DRAIN_BYTES + 2 * len(piece)


def test_a_batch_over_the_time_limit_is_answered_in_part(client, song):
    files = [("audios", (f"{number}.wav", song)) for number in range(3)]
    results = client.post("/classify_batch", files=files, headers=AUTHORIZED).json()["results"]
    assert [result["file"] for result in results] == ["0.wav", "1.wav", "2.wav"]
    assert results[0]["genre"] == "bass"
    assert [result["error"]["code"] for result in results[1:]] == ["too_much_work"] * 2


RESPONSES = {
    "/classify": schema.Classification,
    "/classify_batch": schema.BatchClassification,
    "/model": schema.ModelInfo,
}


@pytest.fixture(scope="module")
def document(client):
    return client.get("/docs.json").json()


@pytest.mark.parametrize("path", RESPONSES)
def test_every_response_in_the_openapi_document_has_a_valid_example(document, path):
    assert document["openapi"].startswith("3.1")
    operation = document["paths"][path]["post"]
    assert operation["security"] == [{"token": []}]
    assert {"200", "401", "429", "500"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        content = response["content"]["application/json"]
        model = RESPONSES[path] if status == "200" else schema.ErrorBody
        assert content["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
        assert model.__name__ in document["components"]["schemas"]
        assert content["examples"]
        for example in content["examples"].values():
            TypeAdapter(model).validate_python(example["value"], extra="forbid")


def test_responses_match_the_openapi_document(client, song, document):
    TypeAdapter(schema.Classification).validate_python(classify(client, song, **AUTHORIZED).json(), extra="forbid")
    TypeAdapter(schema.ModelInfo).validate_python(client.post("/model", headers=AUTHORIZED).json(), extra="forbid")
    files = [("audios", ("a.wav", song)), ("audios", ("b.wav", b"junk"))]
    results = client.post("/classify_batch", files=files, headers=AUTHORIZED).json()
    TypeAdapter(schema.BatchClassification).validate_python(results, extra="forbid")
    references = set(re.findall('"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])


def post_behind_middleware(timeout_middleware, endpoint, *, requests, timeout):
    """Post to an application in this process; return the responses and the number of timers left in the event loop."""
    app = timeout_middleware(Starlette(routes=[Route("/classify", endpoint, methods=["POST"])]), timeout=timeout)
    middleware = AdmissionMiddleware(app, pages=Starlette(), routes={"/classify": None}, settings=Settings())

    async def post():
        transport = httpx.ASGITransport(middleware)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            responses = [await client.post("/classify") for _ in range(requests)]
        return responses, len([timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()])

    responses, timers = asyncio.run(post())
    assert middleware.requests.used == 0
    return responses, timers


async def endless(request):
    await asyncio.sleep(3600)


async def immediate(request):
    return JSONResponse({})


async def failing(request):
    raise RuntimeError("a secret")


def test_a_request_over_the_time_limit_is_answered_with_504():
    [response], _ = post_behind_middleware(TimeoutMiddleware, endless, requests=1, timeout=0.1)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "too_slow")


def test_a_failure_is_answered_with_500_without_details():
    [response], _ = post_behind_middleware(TimeoutMiddleware, failing, requests=1, timeout=300)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in response.text


# When BentoML's own middleware leaves no timer any more, the patch is obsolete.
@pytest.mark.parametrize(("middleware", "timers"), [(TimeoutMiddleware, 0), (LeakingTimeoutMiddleware, 20)])
def test_the_patch_leaves_no_timers_where_bentoml_leaves_one_for_each_request(middleware, timers):
    responses, left = post_behind_middleware(middleware, immediate, requests=20, timeout=300)
    assert {response.status_code for response in responses} == {200}
    assert left == timers


def test_an_upload_that_is_steady_but_takes_too_long_is_answered_with_408(monkeypatch):
    monkeypatch.setattr(upload, "MAX_REQUEST_SECONDS", 0.5)
    part = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'

    async def steady():  # a megabyte each second, for 10 s
        yield part
        for _ in range(1000):
            await asyncio.sleep(0.01)
            yield bytes(10_000)

    async def post():
        middleware = AdmissionMiddleware(
            Starlette(), pages=Starlette(), routes={"/classify": UploadForm("audio", 1)}, settings=Settings()
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(middleware), base_url="http://test") as client:
            headers = {"content-type": "multipart/form-data; boundary=x"}
            return await client.post("/classify", content=steady(), headers=headers)

    response = asyncio.run(post())
    assert (response.status_code, response.json()["error"]["code"]) == (408, "timeout")
