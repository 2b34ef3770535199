"""The processes of the service: as many as are asked for, one socket, one life."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from genreflow.costs.service_process import served
from genreflow.serving.prefork import CAN_FORK, Tally, split
from serving_toy import write_tone

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="one process where there is no fork")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def family(service):
    """Whom BentoML started, and those that answer."""
    [watcher] = psutil.Process(service.process.pid).children()
    return watcher, watcher.children()


def answers(service) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{service.url}/readyz", timeout=5).status_code == 200
    return False


def gone(processes) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.slow
def test_the_processes_come_and_go_together(bento_home):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_PROCESSES": "3"}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        watcher, workers = family(service)
        assert len(workers) == 3
        assert watcher.memory_full_info().pss < min(worker.memory_full_info().pss for worker in workers) / 2

        workers[1].kill()
        wait_for(lambda: gone([watcher, *workers]))
        wait_for(lambda: answers(service))
        watcher, workers = family(service)
        assert len(workers) == 3

        # Who watches dies: those that answer do not stay behind, where nobody would end them.
        watcher.kill()
        wait_for(lambda: gone(workers))
        wait_for(lambda: answers(service))
        watcher, workers = family(service)
    assert gone([watcher, *workers])


def test_what_is_under_way_is_answered_when_the_service_ends(bento_home):
    environment = {"BENTOML_HOME": bento_home}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        watcher, workers = family(service)
        # Some on each: a body of which the last part is still to come.
        body = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\nno audio\r\n--x--\r\n'
        with contextlib.ExitStack() as stack:
            senders = [stack.enter_context(slow_client(service.port, body)) for _ in range(12)]
            wait_for(lambda: sum(in_use(worker, service.port) for worker in workers) == 12)
            watcher.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert not gone([watcher])  # a container ends with what it started, so it waits
            assert [finish() for finish in senders] == [415] * 12
        wait_for(lambda: gone([watcher, *workers]))


@pytest.mark.slow
def test_two_clients_keep_both_processes_busy(bento_home, tmp_path):
    song = write_tone(tmp_path / "song.wav", "bass", 30.0, rate=44100).read_bytes()
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}, watch=False) as service:
        _, workers = family(service)
        before = [sum(worker.cpu_times()[:2]) for worker in workers]

        def ask(_) -> None:
            with httpx.Client(base_url=service.url, timeout=30) as client:
                for _ in range(40):
                    assert client.post("/classify", files={"audio": ("song.wav", song)}).status_code == 200

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(ask, range(2)))
        shares = sorted(sum(worker.cpu_times()[:2]) - begin for worker, begin in zip(workers, before, strict=True))
        assert shares[0] > shares[1] / 3


def in_use(process, port) -> int:
    return sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in process.net_connections("tcp"))


@contextlib.contextmanager
def slow_client(port, body):
    import http.client

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest("POST", "/classify")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10])

        def finish() -> int:
            connection.send(body[10:])
            return connection.getresponse().status

        yield finish


def test_a_tally_is_the_sum_of_all_processes():
    tally = Tally(3)
    tally.add(2)
    for index in (1, 2):
        pid = os.fork()
        if not pid:
            tally.join(index)
            tally.add(index)
            tally.add(-1)
            os._exit(0)
        os.waitpid(pid, 0)
    assert tally.total == 2 + 0 + 1
    assert tally.is_uneven  # 2, 0 and 1
    tally.add(-1)
    assert not tally.is_uneven


def test_one_process_goes_on_as_it_is():
    assert split(1) == 0


@pytest.mark.parametrize(("told", "code"), [(None, 7), (signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_the_exit_code_is_that_of_the_first_to_end_by_itself(told, code):
    program = (
        "import sys, time; from genreflow.serving.prefork import split\n"
        f"if split(3) == 1 and {told is None}: sys.exit(7)\n"
        "print('there', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        if told:
            process.stdout.readline(), process.stdout.readline()
            process.send_signal(told)
        assert process.wait(20) == code
        assert ("exit code 7" in process.stderr.read().decode()) == (told is None)
