"""Connections to a real service that send no request, a slow one or several; and its redirects and pages."""

import json
import re
import resource
import socket
import time
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psutil
import pytest

from genreflow.costs.service_process import served
from service_client import client_of
from serving_toy import write_tone
from waiting import wait_for

# Each pause of a steady client must be shorter, also on a busy machine.
STALL_SECONDS = 6
HALF_HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\nX-Unfinished: "


@contextmanager
def serve(bento_home, **settings):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_STALL_SECONDS": str(STALL_SECONDS), **settings}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def service(bento_home):
    with serve(bento_home) as service:
        yield service


@pytest.fixture(scope="module")
def single(bento_home):
    """A service with one process and one concurrent request, started with a low limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serve(bento_home, GENREFLOW_PROCESSES="1", GENREFLOW_MAX_REQUESTS="1") as service:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            yield service
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0).read_bytes()


@pytest.fixture
def connect():
    with ExitStack() as stack:
        yield lambda service: stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=300))


def read(connection, *, until=None) -> bytes:
    """Read until `until` has come or the connection is closed."""
    received = b""
    while until is None or until not in received:
        chunk = connection.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


def test_the_root_redirects_to_the_page(client):
    response = client.get("/")
    assert response.status_code in (307, 308)
    location = response.headers["location"]
    assert not location.startswith("/")  # it is right below the path of a proxy
    assert ":" not in location
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert page.url.path.startswith("/ui")
    assert client.head("/").status_code == response.status_code
    assert client.post("/").json()["error"]["code"] == "method_not_allowed"


PATHS = ["/", "/ui", "/ui/", "/ui/index.html", "/docs", "/docs/", "/redoc", "/index.html", "/nowhere", "/classify"]
BENTOML_FILES = ["index.css", "marked.min.js", "swagger-initializer.js", "swagger-ui-bundle.js", "swagger-ui.css"]


def test_pages_name_no_other_host(client):
    pages = [client.get(path, follow_redirects=True) for path in PATHS]
    pages = [page for page in pages if "html" in page.headers["content-type"]]
    assert pages
    for page in pages:
        assert not re.findall(r"(?:https?:)?//[\w.-]+", page.text)


@pytest.mark.parametrize("name", BENTOML_FILES)
@pytest.mark.parametrize("directory", ["static_content", "assets"])
def test_the_files_of_bentomls_own_page_are_not_served(client, directory, name):
    assert client.get(f"/{directory}/{name}").status_code == 404


def test_bentomls_client_finds_the_routes(client):
    schema = client.get("/schema.json").json()
    inputs = {route["route"]: route["input"]["properties"] for route in schema["routes"]}
    assert inputs["/classify"]["audio"]["type"] == "file"
    assert inputs["/classify_batch"]["audios"]["items"]["type"] == "file"
    assert inputs["/model"] == {}
    assert "x-request-id" in json.dumps(client.get("/docs.json").json()).lower()  # ours, not BentoML's


def test_a_websocket_is_refused_and_leaves_no_metric(client, connect, service):
    connection = connect(service)
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGVzdA=="]
    connection.sendall("\r\n".join(["GET /socket HTTP/1.1", "Host: x", *upgrade, "", ""]).encode())
    assert re.match(rb"HTTP/1.1 40[0-9] ", connection.recv(1000))
    assert "/socket" not in client.get("/metrics").text


def test_a_head_in_pieces_and_pipelined_requests_are_answered(connect, service):
    connection = connect(service)
    for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":
        connection.sendall(bytes([byte]))
    assert read(connection, until=b"\r\n\r\n\n").startswith(b"HTTP/1.1 200 ")
    request = b"GET /docs.json HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\n\r\n"
    connection.sendall(b"".join(request % number for number in range(5)) + request[:20])
    connection.sendall(request[20:-4] % 5 + b"\r\nConnection: close\r\n\r\n")
    responses = read(connection)
    assert responses.count(b"HTTP/1.1 200 ") == 6
    assert re.findall(rb"x-request-id: (\d)", responses, re.IGNORECASE) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_steady_upload_may_take_longer_than_a_stall(connect, service, tmp_path):
    song = write_tone(tmp_path / "bass.wav", "bass", 60.0).read_bytes()  # far above the slowest rate
    connection = connect(service)
    part = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    body = part + song + b"\r\n--x--\r\n"
    lines = ["Host: x", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}"]
    connection.sendall("\r\n".join(["POST /classify HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
    pieces = 20
    step = -(-len(body) // pieces)
    for begin in range(0, len(body), step):
        connection.sendall(body[begin : begin + step])
        time.sleep(1.5 * STALL_SECONDS / pieces)
    response = read(connection)
    assert response.startswith(b"HTTP/1.1 200 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["genre"] == "bass"


def test_an_unfinished_head_costs_a_socket_only(connect, single, song):
    for _ in range(1200):  # more than the limit of open files, before it was raised, and than it usually is
        connect(single).sendall(HALF_HEAD)
    with client_of(single) as client:
        assert client.post("/classify", files={"audio": ("a.wav", song)}).json()["genre"] == "bass"
    workers = psutil.Process(single.process.pid).children()
    assert max(worker.rlimit(psutil.RLIMIT_NOFILE)[0] for worker in workers) > 1200


@pytest.mark.slow
def test_a_client_that_does_not_read_its_response_gives_its_slot_back(connect, single):
    def status():
        return httpx.post(f"{single.url}/model", timeout=300).status_code

    connection = connect(single)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(1)
    request = b"POST /model HTTP/1.1\r\nHost: x\r\n\r\n"
    with suppress(TimeoutError):
        while True:  # until the buffers of both sides are full: megabytes
            connection.sendall(request * 1000)
    wait_for(lambda: status() == 429)
    wait_for(lambda: status() == 200)


# The last test, since it covers all of the above.
def test_nothing_failed(service, single):
    for log in (service.log.read_text(), single.log.read_text()):
        assert "Traceback" not in log
        assert "failed" not in log
