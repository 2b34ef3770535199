"""A real service on a system that fails: no file descriptors, a full disk. Never a 500, and it recovers."""

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile as sf
from prometheus_client.parser import text_string_to_metric_families

from conftest import ROOT
from genreflow.costs.service_process import served
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle").directory)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """Bodies of uploads by name."""
    folder = tmp_path_factory.mktemp("audio")
    write_tone(folder / "song", "bass", 3.0, format="WAV")
    write_tone(folder / "compressed", "bass", 3.0, format="MP3")
    write_tone(folder / "long song", "bass", 60.0, rate=44100, format="WAV")
    sf.write(folder / "silence", np.zeros(8000), 8000, format="WAV")
    (folder / "junk").write_text("words")
    head = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    return {path.name: head + path.read_bytes() + b"\r\n--x--\r\n" for path in folder.iterdir()}


@contextlib.contextmanager
def one_worker(bundle, **environment):
    environment = {"GENREFLOW_BUNDLE": bundle, "GENREFLOW_PROCESSES": "1", **environment}
    with served(environment=environment, watch=False) as service:
        [worker] = psutil.Process(service.process.pid).children()
        yield service, worker


def send(connection, method, path, body=b""):
    """Send a request on an open connection; return its status."""
    connection.request(method, path, body, {"Content-Type": "multipart/form-data; boundary=x"})
    response = connection.getresponse()
    text = response.read()
    if response.status >= 400:
        assert b'{"error":{"code":"' in text
    return response.status


def connections(process, port) -> int:
    return sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in process.net_connections("tcp"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit and /proc")
def test_a_worker_without_descriptors_in_its_first_answers(bundle, forms):
    requests = {
        "classify": (200, "POST", "/classify", forms["song"]),
        "compressed": (503, "POST", "/classify", forms["compressed"]),
        "silence": (422, "POST", "/classify", forms["silence"]),
        "junk": (415, "POST", "/classify", forms["junk"]),
        "model": (200, "POST", "/model", b""),
        "large": (503, "POST", "/classify", forms["long song"]),
        "page": (503, "GET", "/docs", b""),
        "docs": (200, "GET", "/docs.json", b""),
        "ready": (200, "GET", "/readyz", b""),
    }
    with one_worker(bundle) as (service, worker), contextlib.ExitStack() as stack:
        clients = {}
        for name in requests:
            client = http.client.HTTPConnection("127.0.0.1", service.port)
            clients[name] = stack.enter_context(contextlib.closing(client))
            client.connect()
        wait_for(lambda: connections(worker, service.port) == len(requests))
        limits = worker.rlimit(psutil.RLIMIT_NOFILE)
        worker.rlimit(psutil.RLIMIT_NOFILE, (3, limits[1]))  # any further one fails
        statuses = {name: send(clients[name], *request[1:]) for name, request in requests.items()}
        assert statuses == {name: request[0] for name, request in requests.items()}
        worker.rlimit(psutil.RLIMIT_NOFILE, limits)
        for _ in range(3):
            for client in clients.values():  # connect again: the service closes connections that are idle for 5 s
                client.close()
            statuses = {name: send(clients[name], *request[1:]) for name, request in requests.items()}
            assert statuses == {name: 200 if request[0] == 503 else request[0] for name, request in requests.items()}
        metrics = httpx.get(f"{service.url}/metrics", timeout=300).text
        assert "Traceback" not in service.log.read_text()
    samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
    answered = [sample for sample in samples if sample.name == "bentoml_service_request_total"]
    assert not [sample for sample in answered if sample.labels["http_response_code"] == "500" and sample.value]


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_uploads_that_cannot_be_stored_are_507_and_small_ones_go_on(bundle, forms):
    with one_worker(bundle) as (service, worker):
        limits = worker.rlimit(psutil.RLIMIT_FSIZE)
        worker.rlimit(psutil.RLIMIT_FSIZE, (1_000_000, limits[1]))
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port)) as connection:
            for _ in range(3):
                assert send(connection, "POST", "/classify", forms["long song"]) == 507
                assert send(connection, "POST", "/classify", forms["song"]) == 200
                assert send(connection, "GET", "/readyz") == 200
            worker.rlimit(psutil.RLIMIT_FSIZE, limits)
            assert send(connection, "POST", "/classify", forms["long song"]) == 200


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """An empty file system of 16 MB, on which everything is that a service writes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder) -> Path:
    path = folder / "fill"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    return path


@pytest.mark.slow
def test_a_full_disk(bundle, forms, small_disk):
    with one_worker(bundle) as (service, worker):
        filling = fill(small_disk)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port)) as connection:
            for name, status in {"long song": 507, "song": 200, "silence": 422, "junk": 415}.items():
                assert send(connection, "POST", "/classify", forms[name]) == status
            assert send(connection, "GET", "/metrics") == 200
            filling.unlink()
            assert send(connection, "POST", "/classify", forms["long song"]) == 200
        assert worker.is_running()


def test_the_files_of_metrics_are_written_at_their_full_size(tmp_path):
    """Then neither new values need space, nor a file descriptor to let a file grow."""
    code = """
import os
from genreflow.serving import metrics
for number in range(300):
    metrics.FAILURES.labels(f"code-{number}").inc()
for path in sorted(os.scandir(os.environ["PROMETHEUS_MULTIPROC_DIR"]), key=lambda entry: entry.name):
    print(path.name.rpartition("_")[0], path.stat().st_size, path.stat().st_blocks * 512)
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    sizes = {name: (int(size), int(stored)) for name, size, stored in map(str.split, run.stdout.splitlines())}
    assert set(sizes) == {"counter", "gauge_all", "gauge_livesum", "gauge_mostrecent", "histogram"}
    assert all(stored >= size == 1 << 18 for size, stored in sizes.values())
