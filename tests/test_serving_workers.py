"""The worker processes of the service: their number, their end, and how they share the work."""

import contextlib
import http.client
import select
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from genreflow.costs.service_process import served
from genreflow.serving.settings import settings
from service_client import client_of, wait_for_workers
from serving_toy import write_tone, write_toy_bundle
from waiting import wait_for


def workers_of(service):
    return psutil.Process(service.process.pid).children()


def is_gone(process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two
        return True


def test_the_application_can_be_built_and_called_in_this_process(tmp_path, monkeypatch):
    with warnings.catch_warnings():  # Starlette's client prefers another HTTP library
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient

    from genreflow.serving.service import GenreClassifier

    monkeypatch.setenv("GENREFLOW_BUNDLE", str(write_toy_bundle(tmp_path / "bundle").directory))
    settings.cache_clear()
    children = set(psutil.Process().children(recursive=True))
    try:
        song = write_tone(tmp_path / "bass.wav", "bass", 3.0).read_bytes()
        # Once only: BentoML registers its metrics for every application, and twice is an error.
        with TestClient(GenreClassifier.to_asgi()) as client:
            response = client.post("/classify", files={"audio": ("bass.wav", song)})
            assert response.json()["genre"] == "bass"
            assert client.get("/readyz").status_code == 200
            client.app.health.record(500)  # the next probe classifies a clip of its own
            assert client.get("/readyz").status_code == 200
            assert client.get("/nowhere").json()["error"]["code"] == "not_found"
    finally:
        settings.cache_clear()
    assert set(psutil.Process().children(recursive=True)) <= children


@pytest.mark.slow
def test_there_are_as_many_workers_as_asked_for_and_a_killed_one_is_replaced(bento_home):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_PROCESSES": "3"}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        workers = workers_of(service)
        assert len(workers) == 3
        workers[1].kill()
        wait_for(lambda: is_gone(workers[1]))
        for _ in range(10):  # the others go on
            assert httpx.get(f"{service.url}/readyz", timeout=300).status_code == 200
        wait_for(lambda: len([worker for worker in workers_of(service) if not is_gone(worker)]) == 3)
        workers = workers_of(service)
    assert all(is_gone(worker) for worker in workers)


def test_requests_in_progress_are_answered_when_the_service_ends(bento_home):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_STALL_SECONDS": "300"}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        workers = workers_of(service)
        assert len(workers) == 2
        body = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\nno audio\r\n--x--\r\n'
        with contextlib.ExitStack() as stack:
            # Their bodies are incomplete when the service is told to end.
            finish = [stack.enter_context(unfinished_upload(service.port, body)) for _ in range(12)]
            wait_for(lambda: sum(connections(worker, service.port) for worker in workers) == 12)
            service.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not any(accepts(worker, service.port) for worker in workers))
            assert [function() for function in finish] == [415] * 12
        wait_for(lambda: all(is_gone(worker) for worker in workers))


@pytest.mark.slow
def test_two_clients_keep_both_workers_busy(bento_home, tmp_path):
    song = write_tone(tmp_path / "song.wav", "bass", 30.0, rate=44100).read_bytes()
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}, watch=False) as service:
        wait_for_workers(service)  # otherwise one could be done before the other starts
        workers = workers_of(service)
        before = [sum(worker.cpu_times()[:2]) for worker in workers]

        def classify(_) -> None:
            with client_of(service) as client:
                for _ in range(40):
                    assert client.post("/classify", files={"audio": ("song.wav", song)}).status_code == 200

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(classify, range(2)))
        used = sorted(sum(worker.cpu_times()[:2]) - begin for worker, begin in zip(workers, before, strict=True))
        assert used[0] > used[1] / 3


def connections(process, port) -> int:
    return sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in process.net_connections("tcp"))


def accepts(process, port) -> bool:
    try:
        return any(each.laddr.port == port and each.status == "LISTEN" for each in process.net_connections("tcp"))
    except psutil.NoSuchProcess:  # also of a zombie
        return False


@contextlib.contextmanager
def unfinished_upload(port, body):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        connection.putrequest("POST", "/classify")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders(body[:10])
        # "100 Continue": a worker reads the body. One that is told to end before it has read the head closes the
        # connection.
        assert select.select([connection.sock], [], [], 300)[0]

        def finish() -> int:
            connection.send(body[10:])
            return connection.getresponse().status

        yield finish
