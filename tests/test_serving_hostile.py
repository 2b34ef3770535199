"""What nobody should send, to a real service: it answers in words, and neither breaks nor works for long."""

import http.server
import io
import os
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
import pytest
import soundfile as sf

from genreflow.costs.service_process import served
from serving_toy import tone

LIMITS = {"GENREFLOW_MAX_MEGABYTES": "40", "GENREFLOW_STALL_SECONDS": "1", "GENREFLOW_MAX_FILES": "5"}
# What one request may cost: processor time and memory.
WORK_SECONDS, WORK_MIB = 20, 200
FORM = {"content-type": "multipart/form-data; boundary=x"}


class Case(NamedTuple):
    """What is sent, and the answer: its status and the code of its error."""

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
    """Written second by second: hours of it would not fit in memory."""
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", rate, channels, format=format, subtype=subtype) as sound:
        second = np.zeros((rate, channels), np.float32 if subtype else np.int16)
        for _ in range(seconds):
            sound.write(second)
    return buffer.getvalue()


def mp3_silence(hours: int) -> bytes:
    """The frames of a minute again and again: encoding hours takes half a minute."""
    minute = silence(60, 8000, format="MP3", subtype="MPEG_LAYER_III")
    for mark in (b"Xing", b"Info"):  # of a frame that would tell how many there are
        minute = minute.replace(mark, bytes(4))
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
    "a file name that climbs": file(lambda: whole(), 200, name="../../../../etc/passwd"),
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
        415,
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


class Hostage(NamedTuple):
    """The service under test."""

    served: object
    client: httpx.Client

    def cost(self) -> tuple[float, float]:
        """Processor time [s] and memory [MiB] of all its processes so far."""
        root = psutil.Process(self.served.process.pid)
        times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
        return sum(each.user + each.system for each in times), sum(self.served.memory().values())

    def files(self) -> set[Path]:
        """What lies in its folder of temporary files, and what it holds open there."""
        folder = self.served.log.parent
        found = {path for path in folder.rglob("*") if path.is_file() and "bentoml" not in path.parts}
        for process in psutil.Process(self.served.process.pid).children(recursive=True):
            links = (os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink())
            found |= {Path(link) for link in links if link.endswith("(deleted)")}
        return found

    def processes(self) -> set[int]:
        return {process.pid for process in psutil.Process(self.served.process.pid).children(recursive=True)}


@contextmanager
def hostage(bento_home: str):
    with (
        served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home, **LIMITS}) as service,
        httpx.Client(base_url=service.url, timeout=120) as client,
    ):
        assert client.post("/classify", files={"audio": ("a.wav", whole())}).status_code == 200
        yield Hostage(service, client)


@pytest.fixture(scope="module")
def victim(bento_home):
    with hostage(bento_home) as victim:
        yield victim


def error_of(response: httpx.Response) -> str:
    """The code of an error; every one has the same shape."""
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message"}
    assert error["message"].endswith(".")
    assert len(error["message"]) < 10_000
    return error["code"]


@pytest.mark.parametrize("name", CASES)
def test_it_is_answered_in_words_and_costs_little(victim, name):
    case = CASES[name]
    request = case.make()
    files, processes = victim.files(), victim.processes()
    seconds, memory = victim.cost()
    victim.served.peak = 0.0
    response = victim.client.post("/classify", **request)
    worked, _ = victim.cost()
    assert response.status_code == case.status, response.text
    if case.code:
        assert error_of(response) == case.code
    assert response.headers["x-request-id"]
    assert worked - seconds < WORK_SECONDS
    assert victim.served.peak - memory < WORK_MIB
    assert victim.files() <= files
    assert victim.processes() == processes


def test_an_address_is_not_fetched(victim):
    hits = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trap) as trap:
        threading.Thread(target=trap.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{trap.server_port}/song.wav"
            assert httpx.get(url).status_code == 404  # the trap springs
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
                    assert error_of(victim.client.post(path, **body)) == "malformed_request"
            for body in (url.encode(), f"#EXTM3U\n{url}\n".encode(), f"[playlist]\nFile1={url}\n".encode()):
                sent = {"audio": (url, body, "message/external-body")}
                assert error_of(victim.client.post("/classify", files=sent)) == "undecodable"
        finally:
            trap.shutdown()
    assert hits == []


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "/etc/passwd", "C:\\con", "..", "%2e%2e%2fx", "-", "файл 🎵.wav", "a" * 2_000],
)
def test_a_path_in_a_file_name_is_but_a_name(victim, name):
    before = victim.files()
    sent = [("audios", (name, whole())), ("audios", (name, b"junk"))]
    good, bad = victim.client.post("/classify_batch", files=sent).json()["results"]
    assert good["file"] == bad["file"]
    assert name.endswith(good["file"])
    assert good["genre"] == "bass"
    assert bad["error"]["code"] == "undecodable"
    assert "root:" not in bad["error"]["message"]
    assert victim.files() <= before


def connect(victim) -> socket.socket:
    return socket.create_connection(("127.0.0.1", victim.served.port), timeout=60)


def head(*lines: str, path: str = "/classify") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


DECLARED = "Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize("path", ["/classify", "/classify_batch", "/model", "/nowhere"])
def test_a_body_without_end_is_read_to_the_limit_and_no_further(victim, path):
    sent = 0
    with connect(victim) as connection:
        connection.sendall(head(DECLARED, "Transfer-Encoding: chunked", path=path))
        first = (
            b"--x\r\n" + AUDIO_PART.replace(b'"audio"', b'"audios"' if "batch" in path else b'"audio"') + b"\r\n\r\n"
        )
        connection.sendall(b"%x\r\n%s\r\n" % (len(first), first))
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        try:
            while sent < 500_000_000:
                connection.sendall(piece)
                sent += 1 << 20
        except OSError:  # the service has answered and closed
            pass
    # The limit, what is thrown away beyond it, and what the sockets hold.
    assert 20_000_000 < sent < 120_000_000


@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"]])
def test_a_declared_body_over_the_limit_is_not_waited_for(victim, expect):
    with connect(victim) as connection:
        connection.sendall(head(DECLARED, "Content-Length: 10000000000", *expect))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        head("X: " + "a" * 1_000_000),
        head("Content-Length: -1"),
        head("Content-Length: 1", "Content-Length: 2"),
        head(DECLARED, "Transfer-Encoding: chunked") + b"zzz\r\n",
        b"POST /classify HTTP/1.1\r\n\xff\xff: \xff\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_by_the_server(victim, garbage):
    with connect(victim) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except OSError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer


def test_a_client_that_stalls_or_trickles_is_given_up(victim):
    begun = head(DECLARED, "Content-Length: 1000000") + b"--x\r\n"
    with connect(victim) as stalling, connect(victim) as trickling:
        stalling.sendall(begun)
        trickling.sendall(begun)
        trickling.settimeout(0.2)
        answer = b""
        for _ in range(300):  # never silent for the time that stalling is
            try:
                trickling.sendall(b"a")
                answer = trickling.recv(1000)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert stalling.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_clients_that_vanish_leave_nothing(victim):
    before = victim.files()
    body = part(AUDIO_PART, bytes(8_000_000))
    for length in (0, 100, 5_000_000, len(body)):
        for _ in range(5):
            with connect(victim) as connection:
                connection.sendall((head(DECLARED, f"Content-Length: {len(body)}") + body)[: 120 + length])
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes by reset
    end = time.monotonic() + 30
    while not victim.files() <= before and time.monotonic() < end:
        time.sleep(0.1)
    assert victim.files() <= before
    assert victim.client.post("/classify", files={"audio": ("a.wav", whole())}).status_code == 200


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
def test_errors_that_are_the_servers_own_have_the_same_shape(victim, method, path, status, code):
    response = victim.client.request(method, path)
    assert (response.status_code, error_of(response)) == (status, code)


def test_paths_that_are_asked_for_leave_no_figures(victim):
    for number in range(20):
        victim.client.get(f"/nowhere-{number}")
        victim.client.get(f"/static_content/nothing-{number}")
    assert "nothing-1" not in victim.client.get("/metrics").text
    assert "nowhere-1" not in victim.client.get("/metrics").text


def test_a_line_end_in_a_path_does_not_forge_the_log(victim):
    victim.client.get("/x%0a2026-01-01 INFO all is well")
    assert "\n2026-01-01 INFO all is well" not in victim.served.log.read_text(errors="replace")
    assert "/x%0A2026-01-01" in victim.served.log.read_text(errors="replace")


# It looks back at all of the above.
def test_nothing_was_answered_with_5xx(victim):
    log = victim.served.log.read_text(errors="replace")
    counted = re.findall(
        r'^bentoml_service_request_total\{.*http_response_code="(\d+)".*\} (\S+)$',
        victim.client.get("/metrics").text,
        re.MULTILINE,
    )
    codes = {code for code, count in counted if float(count) > 0}
    assert "200" in codes
    assert not [code for code in codes if code.startswith("5")]
    # BentoML tells a refused pickle with one.
    assert log.count("Traceback") == log.count("BentoMLException: application/vnd.bentoml+pickle is not allowed")
