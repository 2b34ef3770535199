"""Malformed and malicious requests to a real service: each gets its error response and costs little.

`CASES` lists what is sent to ``/classify``. None took more than 6.5 s of processor time (16 minutes of opus, decoded up
to the limit) and 30 MiB (10 hours of mp3).
"""

import http.server
import io
import os
import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
import pytest
import soundfile as sf

from encoded import encode
from genreflow.costs.service_process import served
from service_client import client_of, wait_for_workers
from serving_toy import tone
from waiting import wait_for

LIMITS = {
    "GENREFLOW_MAX_MINUTES": "15",
    "GENREFLOW_MAX_MEGABYTES": "40",
    "GENREFLOW_STALL_SECONDS": "5",
    "GENREFLOW_MAX_FILES": "5",
}
# Most that one request may cost: processor time [s], of which a busy or slow machine needs several times as much, and
# memory [MiB].
MAX_CPU_SECONDS, MAX_MEMORY_MIB = 20, 200
FORM = {"content-type": "multipart/form-data; boundary=x"}


class Case(NamedTuple):
    """A request, and the status and error code of its response."""

    make: Callable[[], dict]
    status: int
    code: str = ""


def file(data: bytes | Callable[[], bytes], status: int, code: str = "", *, name: str = "song.wav") -> Case:
    return Case(lambda: {"files": {"audio": (name, data() if callable(data) else data)}}, status, code)


def form(body: bytes | Callable[[], bytes], status: int = 400, code: str = "malformed_request", **headers: str) -> Case:
    return Case(lambda: {"content": body() if callable(body) else body, "headers": FORM | headers}, status, code)


def audio(samples: np.ndarray, rate: int = 8000, *, format: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def silence(seconds: int, rate: int, channels: int = 1, *, format: str = "FLAC", subtype: str | None = None) -> bytes:
    """Encode silence second by second, since hours of samples would not fit in memory."""
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", rate, channels, format=format, subtype=subtype) as sound:
        second = np.zeros((rate, channels), np.float32 if subtype else np.int16)
        for _ in range(seconds):
            sound.write(second)
    return buffer.getvalue()


def mp3_silence(hours: int) -> bytes:
    """Repeat the frames of one minute, since encoding hours takes half a minute."""
    minute = silence(60, 8000, format="MP3", subtype="MPEG_LAYER_III")
    for tag in (b"Xing", b"Info"):  # of the frame that holds the number of frames
        minute = minute.replace(tag, bytes(4))
    return minute * (60 * hours)


@cache
def whole(format: str = "WAV") -> bytes:
    return audio(tone("bass", 4.0), format=format)


def patched(offset: int, layout: str, value: int) -> bytes:
    data = bytearray(whole())
    struct.pack_into(layout, data, offset, value)
    return bytes(data)


def garbage(head: bytes) -> bytes:
    return head + random.Random(0).randbytes(100_000)


def part(head: bytes, body: bytes = b"junk") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + body + b"\r\n--x--\r\n"


AUDIO_PART = b'Content-Disposition: form-data; name="audio"; filename="a.wav"'
BAD = {"status": 400, "code": "malformed_request"}
CASES = {
    "an empty file": file(b"", 415, "undecodable"),
    "half a header": file(lambda: whole()[:20], 415, "undecodable"),
    "a wav cut in the middle": file(lambda: whole()[: len(whole()) // 2], 200),
    "an mp3 cut in the middle": file(lambda: whole("MP3")[: len(whole("MP3")) // 2], 200),
    "a flac cut in the middle": file(lambda: whole("FLAC")[: len(whole("FLAC")) // 2], 200),
    "garbage behind a RIFF header": file(lambda: garbage(whole()[:12]), 415, "undecodable"),
    "garbage behind a fLaC header": file(lambda: garbage(b"fLaC\0\0\0\x22"), 415, "undecodable"),
    "garbage behind an OggS header": file(lambda: garbage(whole("OGG")[:28]), 415, "undecodable"),
    "garbage behind an ID3 header": file(lambda: garbage(b"ID3\4\0\0\x7f\x7f\x7f\x7f"), 415, "undecodable"),
    "garbage behind a FORM AIFF header": file(lambda: garbage(b"FORM\0\1\0\0AIFFCOMM"), 415, "undecodable"),
    "garbage behind a caff header": file(lambda: garbage(b"caff\0\1\0\0desc\0\0\0\0\0\0\0\x20"), 415, "undecodable"),
    "text as mp3": file(b"these are words, and many of them. " * 100, 415, "undecodable", name="song.mp3"),
    "a megabyte of zeros": file(bytes(1_000_000), 415, "undecodable"),
    "a megabyte of 0xFF": file(b"\xff" * 1_000_000, 415, "undecodable", name="song.mp3"),
    "a playlist that names a file": file(b"#EXTM3U\n/etc/passwd\n", 415, "undecodable", name="list.m3u8"),
    "10 hours of silence, flac (0.9 MB)": file(lambda: silence(36_000, 8000), 413, "too_long"),
    "10 hours of silence, mp3 (36 MB)": file(lambda: mp3_silence(10), 413, "too_long", name="song.mp3"),
    "16 minutes of silence, opus": file(
        lambda: silence(960, 8000, format="OGG", subtype="OPUS"), 413, "too_long", name="song.opus"
    ),
    "10 minutes of silence, opus": file(
        lambda: silence(600, 8000, format="OGG", subtype="OPUS"), 422, "unusable", name="song.opus"
    ),
    "8 channels at 192 kHz": file(lambda: audio(tone("drone", 3.0, rate=192_000, channels=8), 192_000), 200),
    "10 minutes of 8 channels at 192 kHz, flac": file(lambda: silence(600, 192_000, 8), 413, "too_long"),
    "1024 channels": file(lambda: audio(np.zeros((200, 1024), np.int16)), 422, "unusable"),
    "a declared rate of 1 Hz": file(lambda: patched(24, "<I", 1), 413, "too_long"),
    "a declared rate of 2 GHz": file(lambda: patched(24, "<I", 2_000_000_000), 415, "undecodable"),
    "65535 declared channels": file(lambda: patched(22, "<H", 65535), 415, "undecodable"),
    "0 declared channels": file(lambda: patched(22, "<H", 0), 415, "undecodable"),
    "a declared length of 4 GB": file(lambda: patched(40, "<I", 0xFFFFFFF0), 200),
    "NaN samples": file(lambda: audio(np.full(8000, np.nan), subtype="FLOAT"), 422, "unusable"),
    "infinite samples": file(lambda: audio(np.full(8000, np.inf), subtype="FLOAT"), 422, "unusable"),
    "samples of 1e300": file(lambda: audio(np.full(8000, 1e300), subtype="DOUBLE"), 422, "unusable"),
    "one NaN after 3 s": file(
        lambda: audio(np.append(tone("bass", 3.0), np.nan), subtype="FLOAT"), 422, "unusable"
    ),
    "no samples": file(lambda: audio(np.zeros(0)), 422, "unusable"),
    "silence": file(lambda: audio(np.zeros(8000)), 422, "unusable"),
    "one sample": file(lambda: audio(np.ones(1) / 2), 200),
    "a constant offset": file(lambda: audio(np.full(16000, 0.3)), 422, "unusable"),
    "a wav from a pipe": file(lambda: patched(40, "<I", 0), 200),
    **{
        f"a song as {kind}": file(lambda kind=kind: encode(tone("bass", 4.0, rate=48000).T, 48000, kind), 200)
        for kind in ("mp3", "m4a", "m4a-fragments", "alac", "aac", "flac", "ogg-flac", "ogg-opus", "webm", "wma")
    },
    "ogg with video": file(
        lambda: encode(tone("bass", 4.0, rate=48000).T, 48000, "ogg-opus", video=True), 200, name="film.ogv"
    ),
    "m4a with video": file(lambda: encode(tone("bass", 4.0, rate=48000).T, 48000, "m4a", video=True), 200),
    "an m4a without its index": file(
        lambda: encode(tone("bass", 4.0, rate=48000).T, 48000, "m4a")[:20_000], 415, "undecodable"
    ),
    "a playlist of HTTP Live Streaming": file(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", 415, "undecodable"
    ),
    "a list of files to join": file(b"ffconcat version 1.0\nfile '/etc/passwd'\n", 415, "undecodable"),
    "a file name with parent directories": file(lambda: whole(), 200, name="../../../../etc/passwd"),
    "a file name of 5,000 letters": file(lambda: whole(), 400, "malformed_request", name="a" * 5_000 + ".wav"),
    "a wrong field name": Case(lambda: {"files": {"file": ("a.wav", whole())}}, **BAD),
    "two files in one field": Case(lambda: {"files": [("audio", ("a.wav", whole()))] * 2}, **BAD),
    "a file and a field beside it": Case(
        lambda: {"files": {"audio": ("a.wav", whole())}, "data": {"top": "3"}}, **BAD
    ),
    "text in place of the file": Case(lambda: {"files": {"audio": (None, "words")}}, **BAD),
    "JSON in place of the form": Case(lambda: {"json": {"audio": "words"}}, **BAD),
    "the file without a form": Case(lambda: {"content": whole(), "headers": {"content-type": "audio/wav"}}, **BAD),
    "no body at all": Case(lambda: {}, **BAD),
    "a pickle of BentoML's": Case(
        lambda: {"content": b"\x80\x04.", "headers": {"content-type": "application/vnd.bentoml+pickle"}},
        400,
        "malformed_request",
    ),
    "a form without a boundary": Case(
        lambda: {"content": b"junk", "headers": {"content-type": "multipart/form-data"}}, **BAD
    ),
    "a form with another boundary": form(lambda: b"--y\r\n" + AUDIO_PART + b"\r\n\r\njunk\r\n--y--\r\n"),
    "a form that breaks off": form(lambda: b"--x\r\n" + AUDIO_PART + b"\r\n\r\njunk"),
    "a part without a name": form(part(b"Content-Type: audio/wav")),
    "a part in another alphabet": form(
        part(b'Content-Disposition: form-data; name="audio"; filename="\xff\xfe"'), 415, "undecodable"
    ),
    "a header of a part of 1 MB": form(lambda: part(AUDIO_PART + b"\r\nX: " + b"a" * 1_000_000)),
    "100,000 headers of a part": form(lambda: part(AUDIO_PART + b"\r\nX: a" * 100_000)),
    "10,000 parts": form(lambda: part(AUDIO_PART)[:-7] * 10_000),
    "an unknown character set": Case(
        lambda: {"content": part(AUDIO_PART), "headers": {"content-type": FORM["content-type"] + "; charset=zlib"}},
        415,
        "undecodable",
    ),
    "30 MB of line ends": form(lambda: part(AUDIO_PART, b"\r\n" * 15_000_000), 415, "undecodable"),
    "30 MB of almost boundaries": form(lambda: part(AUDIO_PART, b"\r\n--y" * 6_000_000), 415, "undecodable"),
    "a body that says it is gzip": form(lambda: part(AUDIO_PART), 415, "undecodable", **{"content-encoding": "gzip"}),
    "a body of 60 MB": file(lambda: bytes(60_000_000), 413, "too_large"),
}  # fmt: skip


class Target(NamedTuple):
    """The service under test and a client of it."""

    served: object
    client: httpx.Client

    def cost(self) -> tuple[float, float]:
        """Return the processor time [s] that all its processes used so far, and their memory [MiB]."""
        root = psutil.Process(self.served.process.pid)
        times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
        return sum(each.user + each.system for each in times), sum(self.served.memory().values())

    def files(self) -> set[Path]:
        """Return the files in its temporary directory, and the deleted ones that it holds open."""
        folder = self.served.log.parent
        found = {path for path in folder.rglob("*") if path.is_file() and "bentoml" not in path.parts}
        for process in psutil.Process(self.served.process.pid).children(recursive=True):
            for link in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # it has been closed
                    if (target := os.readlink(link)).endswith("(deleted)"):
                        found.add(Path(target))
        return found

    def processes(self) -> set[int]:
        return {process.pid for process in psutil.Process(self.served.process.pid).children(recursive=True)}


@contextmanager
def serve(bento_home: str):
    with (
        served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home, **LIMITS}) as service,
        client_of(service) as client,
    ):
        wait_for_workers(service)  # their start costs time and memory that no request does
        assert client.post("/classify", files={"audio": ("a.wav", whole())}).status_code == 200
        yield Target(service, client)


@pytest.fixture(scope="module")
def target(bento_home):
    with serve(bento_home) as target:
        yield target


def error_of(response: httpx.Response) -> str:
    """Return the code of an error response, and check its format."""
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message"}
    assert error["message"].endswith(".")
    assert len(error["message"]) < 10_000
    return error["code"]


@pytest.mark.parametrize("name", CASES)
def test_the_response_is_as_listed_and_the_cost_is_bounded(target, name):
    case = CASES[name]
    request = case.make()
    files, processes = target.files(), target.processes()
    seconds, memory = target.cost()
    target.served.peak = 0.0
    response = target.client.post("/classify", **request)
    seconds_after, _ = target.cost()
    assert response.status_code == case.status, response.text
    if case.code:
        assert error_of(response) == case.code
    assert response.headers["x-request-id"]
    assert seconds_after - seconds < MAX_CPU_SECONDS
    assert target.served.peak - memory < MAX_MEMORY_MIB
    wait_for(lambda: target.files() <= files)  # they are closed after the response
    assert target.processes() == processes


def test_a_url_is_not_fetched(target):
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/song.wav"
            assert httpx.get(url, timeout=300).status_code == 404
            assert hits  # the server counts requests
            hits.clear()
            for path, field in (("/classify", "audio"), ("/classify_batch", "audios")):
                for body in (
                    {"files": {field: (None, url)}},
                    {"data": {field: url}},
                    {"json": {field: url}},
                    {"json": {field: [url]}},
                    {"json": {field: {"url": url}}},
                    {"content": url.encode(), "headers": {"content-type": "text/plain"}},
                    {"files": {field: (None, url, "text/uri-list")}},
                ):
                    assert error_of(target.client.post(path, **body)) == "malformed_request"
            for body in (url.encode(), f"#EXTM3U\n{url}\n".encode(), f"[playlist]\nFile1={url}\n".encode()):
                sent = {"audio": (url, body, "message/external-body")}
                assert error_of(target.client.post("/classify", files=sent)) == "undecodable"
        finally:
            server.shutdown()
    assert hits == []


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "/etc/passwd", "C:\\con", "..", "%2e%2e%2fx", "-", "файл 🎵.wav", "a" * 2_000],
)
def test_a_file_name_is_never_a_path(target, name):
    before = target.files()
    sent = [("audios", (name, whole())), ("audios", (name, b"junk"))]
    good, bad = target.client.post("/classify_batch", files=sent).json()["results"]
    assert good["file"] == bad["file"]
    assert name.endswith(good["file"])
    assert good["genre"] == "bass"
    assert bad["error"]["code"] == "undecodable"
    assert "root:" not in bad["error"]["message"]
    wait_for(lambda: target.files() <= before)


def connect(target) -> socket.socket:
    return socket.create_connection(("127.0.0.1", target.served.port), timeout=300)


def head(*lines: str, path: str = "/classify") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


FORM_TYPE = "Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize("path", ["/classify", "/classify_batch", "/model", "/nowhere"])
def test_an_endless_body_is_read_up_to_the_limit(target, path):
    sent = 0
    with connect(target) as connection:
        connection.sendall(head(FORM_TYPE, "Transfer-Encoding: chunked", path=path))
        first = (
            b"--x\r\n" + AUDIO_PART.replace(b'"audio"', b'"audios"' if "batch" in path else b'"audio"') + b"\r\n\r\n"
        )
        connection.sendall(b"%x\r\n%s\r\n" % (len(first), first))
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        try:
            while sent < 500_000_000:
                connection.sendall(piece)
                sent += 1 << 20
        except OSError:  # the service has responded and closed the connection
            pass
    # The limit, what is discarded beyond it, and the socket buffers. How much is discarded of a body that nobody reads
    # depends on the time (test_serving_middleware.py).
    assert (20_000_000 if path.startswith("/classify") else 0) < sent < 120_000_000


@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"]])
def test_a_body_declared_over_the_limit_is_refused_at_once(target, expect):
    with connect(target) as connection:
        connection.sendall(head(FORM_TYPE, "Content-Length: 10000000000", *expect))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        head("X: " + "a" * 1_000_000),
        head("Content-Length: -1"),
        head("Content-Length: 1", "Content-Length: 2"),
        head(FORM_TYPE, "Transfer-Encoding: chunked") + b"zzz\r\n",
        b"POST /classify HTTP/1.1\r\n\xff\xff: \xff\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_are_refused_by_the_server(target, garbage):
    with connect(target) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except OSError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer


def test_a_stalled_or_slow_upload_is_answered_with_408(target):
    beginning = head(FORM_TYPE, "Content-Length: 1000000") + b"--x\r\n"
    with connect(target) as stalled, connect(target) as slow:
        stalled.sendall(beginning)
        slow.sendall(beginning)
        slow.settimeout(0.2)
        answer = b""
        for _ in range(300):  # pauses shorter than a stall
            try:
                slow.sendall(b"a")
                answer = slow.recv(1000)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert stalled.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_aborted_uploads_leave_no_files(target):
    before = target.files()
    body = part(AUDIO_PART, bytes(8_000_000))
    for length in (0, 100, 5_000_000, len(body)):
        for _ in range(5):
            with connect(target) as connection:
                connection.sendall((head(FORM_TYPE, f"Content-Length: {len(body)}") + body)[: 120 + length])
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # close with a reset
    wait_for(lambda: target.files() <= before)
    assert target.client.post("/classify", files={"audio": ("a.wav", whole())}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/classify", 405, "method_not_allowed"),
        ("PUT", "/classify_batch", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("POST", "/nowhere", 404, "not_found"),
        ("GET", "/classify/../etc/passwd", 404, "not_found"),
        ("GET", "/static_content/..%2f..%2fservice.py", 404, "not_found"),
        ("BREW", "/classify", 405, "method_not_allowed"),
    ],
)
def test_errors_of_libraries_have_the_format_of_all_errors(target, method, path, status, code):
    response = target.client.request(method, path)
    assert (response.status_code, error_of(response)) == (status, code)


def test_unknown_paths_leave_no_metrics(target):
    for number in range(20):
        target.client.get(f"/nowhere-{number}")
        target.client.get(f"/static_content/nothing-{number}")
        target.client.get(f"/ui/missing-{number}")
    metrics = target.client.get("/metrics").text
    assert not [name for name in ("nothing-1", "nowhere-1", "missing-1", "/ui") if name in metrics]


def test_a_line_break_in_a_path_is_quoted_in_the_log(target):
    target.client.get("/x%0a2026-01-01 INFO all is well")
    wait_for(lambda: "/x%0A2026-01-01" in target.served.log.read_text(errors="replace"))  # a thread writes the log
    assert "\n2026-01-01 INFO all is well" not in target.served.log.read_text(errors="replace")


# The last test, since it covers all of the above.
def test_nothing_was_answered_with_5xx(target):
    log = target.served.log.read_text(errors="replace")
    metrics = target.client.get("/metrics").text
    counts = re.findall(
        r'^bentoml_service_request_total\{.*http_response_code="(\d+)".*\} (\S+)$', metrics, re.MULTILINE
    )
    codes = {code for code, count in counts if float(count) > 0}
    assert "200" in codes
    assert not [code for code in codes if code.startswith("5")]
    errors = set(re.findall(r'^genreflow_refused_requests_total\{code="(\w+)"\}', metrics, re.MULTILINE))
    assert errors >= {"malformed_request", "too_large", "too_long", "timeout"}
    assert not errors & {"internal", "not_ready", "too_slow"}
    assert "Traceback" not in log
