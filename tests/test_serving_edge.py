"""Where a real service meets the network: connections that come to nothing, bytes that are no HTTP, its own pages."""

import json
import re
import resource
import select
import socket
import time
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import pytest

from genreflow.costs.service_process import served
from genreflow.serving.connection import CROWD
from serving_toy import write_tone

STALL_SECONDS = 2
GIVEN_UP_SECONDS = 30  # by when what is given up must be closed, however busy the machine
HALF_HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\nX-Begun: "


@contextmanager
def serve(bento_home, *, stall_seconds, **more):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_STALL_SECONDS": str(stall_seconds), **more}
    with served("genre-classifier:latest", environment=environment) as service:
        yield service


@pytest.fixture(scope="module")
def service(bento_home):
    with serve(bento_home, stall_seconds=STALL_SECONDS) as service:
        yield service


@pytest.fixture(scope="module")
def patient(bento_home):
    """A service that waits for minutes, started where few files may be open, as many systems have it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serve(bento_home, stall_seconds=600, GENREFLOW_PROCESSES="1") as service:  # a crowd is of one process
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            yield service
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def client(service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_tone(tmp_path_factory.mktemp("songs") / "bass.wav", "bass", 3.0).read_bytes()


@pytest.fixture
def connect(service):
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=60))


def read(connection, *, until=None) -> bytes:
    """What comes until `until` does, or the connection is closed."""
    connection.settimeout(GIVEN_UP_SECONDS)
    answer = b""
    while until is None or until not in answer:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        answer += piece
    return answer


def refused(answer: bytes, status: int, code: str) -> str:
    """Assert that it is an error in the shape of all; its id."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert error["message"].endswith(".")
    return headers["x-request-id"]


def wait_for(condition):
    end = time.monotonic() + GIVEN_UP_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def processes(service):
    return psutil.Process(service.process.pid).children(recursive=True)


def test_the_root_leads_to_the_page(client):
    response = client.get("/")
    assert response.status_code in (307, 308)
    location = response.headers["location"]
    assert not location.startswith("/")  # it holds below the path of a proxy
    assert ":" not in location
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert page.url.path.startswith("/ui")
    assert client.head("/").status_code == response.status_code
    assert client.post("/").json()["error"]["code"] == "method_not_allowed"


PLACES = ["/", "/ui", "/ui/", "/ui/index.html", "/docs", "/docs/", "/redoc", "/index.html", "/nowhere", "/classify"]
BENTOML_FILES = ["index.css", "marked.min.js", "swagger-initializer.js", "swagger-ui-bundle.js", "swagger-ui.css"]


def test_no_page_names_another_host(client):
    pages = [client.get(place, follow_redirects=True) for place in PLACES]
    pages = [page for page in pages if "html" in page.headers["content-type"]]
    assert pages
    for page in pages:
        assert not re.findall(r"(?:https?:)?//[\w.-]+", page.text)


@pytest.mark.parametrize("name", BENTOML_FILES)
@pytest.mark.parametrize("folder", ["static_content", "assets"])
def test_the_files_of_bentomls_page_are_not_served(client, folder, name):
    assert client.get(f"/{folder}/{name}").status_code == 404


def test_bentomls_own_client_still_finds_the_routes(client):
    assert {route["route"] for route in client.get("/schema.json").json()["routes"]} >= {"/classify", "/model"}
    assert "x-request-id" in json.dumps(client.get("/docs.json").json()).lower()  # ours, not BentoML's


@pytest.mark.parametrize("trickling", [False, True])
def test_a_head_that_does_not_end_is_given_up(connect, trickling):
    connection = connect()
    connection.sendall(HALF_HEAD)
    end = time.monotonic() + GIVEN_UP_SECONDS
    while trickling and not select.select([connection], [], [], 0.1)[0]:
        assert time.monotonic() < end
        connection.sendall(b"a")
    assert refused(read(connection), 408, "timeout")


def test_the_head_of_a_later_request_is_given_up_too(connect):
    connection = connect()
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read(connection, until=b"\r\n\r\n\n").startswith(b"HTTP/1.1 200 ")
    connection.sendall(HALF_HEAD)
    assert refused(read(connection), 408, "timeout")


def test_a_connection_without_a_byte_is_closed_without_one(connect):
    assert read(connect()) == b""


def test_a_head_in_pieces_and_requests_in_one_piece_are_answered(connect):
    connection = connect()
    for letter in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":
        connection.sendall(bytes([letter]))
    assert read(connection, until=b"\r\n\r\n\n").startswith(b"HTTP/1.1 200 ")
    time.sleep(1.5 * STALL_SECONDS)  # a pause between requests is no head that does not come
    request = b"GET /docs.json HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\n\r\n"
    connection.sendall(b"".join(request % number for number in range(5)) + request[:20])
    connection.sendall(request[20:-4] % 5 + b"\r\nConnection: close\r\n\r\n")
    answer = read(connection)
    assert answer.count(b"HTTP/1.1 200 ") == 6
    assert re.findall(rb"x-request-id: (\d)", answer, re.IGNORECASE) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_body_that_comes_steadily_takes_longer_than_a_head_may(connect, song):
    connection = connect()
    part = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    body = part + song + b"\r\n--x--\r\n"
    lines = ["Host: x", "Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}"]
    connection.sendall("\r\n".join(["POST /classify HTTP/1.1", *lines, "Connection: close", "", ""]).encode())
    pieces = 10
    step = -(-len(body) // pieces)
    for begin in range(0, len(body), step):
        connection.sendall(body[begin : begin + step])
        time.sleep(1.5 * STALL_SECONDS / pieces)
    answer = read(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["genre"] == "bass"


def test_many_heads_that_do_not_end_are_given_up_at_once_and_others_are_served(patient, song):
    with ExitStack() as stack, httpx.Client(base_url=patient.url, timeout=60) as client:
        few = [stack.enter_context(socket.create_connection(("127.0.0.1", patient.port))) for _ in range(50)]
        for connection in few:
            connection.sendall(HALF_HEAD)
        time.sleep(2)
        assert not select.select(few, [], [], 0)[0]  # so few are waited for
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", patient.port))) for _ in range(CROWD + 200)]
        for connection in many:
            connection.sendall(HALF_HEAD)
        assert client.post("/classify", files={"audio": ("a.wav", song)}).json()["genre"] == "bass"
        poll = select.poll()
        for connection in [*few, *many]:
            poll.register(connection, select.POLLIN)
        wait_for(lambda: len(few) + len(many) - len(poll.poll(0)) <= CROWD)
        assert client.post("/classify", files={"audio": ("a.wav", song)}).json()["genre"] == "bass"


def test_a_worker_may_have_more_connections_than_systems_allow_at_first(patient):
    assert max(process.rlimit(psutil.RLIMIT_NOFILE)[0] for process in processes(patient)) > 1024


@pytest.mark.slow
def test_a_client_that_does_not_read_is_given_up(service):
    def held():
        connected = [each for process in processes(service) for each in process.net_connections("tcp")]
        return {each.raddr.port for each in connected if each.status != psutil.CONN_LISTEN} & ports

    request = b"GET /ui/vendor/wavesurfer/wavesurfer.esm.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        ports = set()
        for _ in range(3):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", service.port))
            ports.add(connection.getsockname()[1])
            connection.sendall(request * 200)  # the sockets themselves hold megabytes
        wait_for(held)
        wait_for(lambda: not held())


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"these are words\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\nzzz\r\n",
    ],
)
def test_what_is_no_http_is_answered_in_the_shape_of_every_error(service, client, connect, sent):
    figure = 'genreflow_refused_requests_total{code="malformed_request"}'

    def count():
        [value] = re.findall(rf"^{re.escape(figure)} (\S+)$", client.get("/metrics").text, re.MULTILINE) or ["0"]
        return float(value)

    before = count()
    connection = connect()
    connection.sendall(sent)
    id = refused(read(connection), 400, "malformed_request")
    wait_for(lambda: re.search(rf"- - 400 id={id} error=malformed_request$", service.log.read_text(), re.MULTILINE))
    wait_for(lambda: count() > before)  # a body is counted by who read it
    assert count() == before + 1


# It looks back at all of the above.
def test_nothing_of_it_failed(service, patient):
    for log in (service.log.read_text(), patient.log.read_text()):
        assert "Traceback" not in log
        assert "failed" not in log
