"""What the service costs: time of an answer, throughput, memory and time to ready, on 30 s clips.

    python benchmarks/bench_service.py [--bundle DIR] [--requests 100] [--clients 8] [--seconds 20]

The plain way, in the same run with the same model, clips and client, is `plain_service.py`. The bare loop is the same
decoding, features and net without HTTP, on all cores, in threads or in processes, whichever is faster. The client sends
requests that were made beforehand, since it has the same cores. Memory is the proportional set size (PSS) summed over
all processes of the service, at its peak from the start to the end of the load, in a run of its own: looking at it
takes time from the service.
"""

import argparse
import http.client
import io
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.costs.measure import make_clip
from genreflow.costs.service_process import served
from genreflow.inference.environment import ENVIRONMENT

ROOT = Path(__file__).parents[1]
EMPTY_SERVICE = """
    import bentoml

    @bentoml.service
    class Empty:
        @bentoml.api
        def nothing(self) -> str:
            return ""
"""


def make_clips() -> dict[str, bytes]:
    """Thirty seconds, 22,050 Hz mono 16 bit, as files."""
    return {suffix: make_clip(22050, 30, format=suffix.upper()) for suffix in ("wav", "mp3", "flac")}


class Client:
    """One client: a connection, kept open."""

    def __init__(self, port: int, suffix: str, data: bytes) -> None:
        head = f'--part\r\nContent-Disposition: form-data; name="audio"; filename="clip.{suffix}"\r\n\r\n'
        self._body = head.encode() + data + b"\r\n--part--\r\n"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self) -> tuple[int, bytes]:
        """Status and answer."""
        headers = {"Content-Type": "multipart/form-data; boundary=part"}
        self._connection.request("POST", "/classify", self._body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def post(self) -> None:
        status, answer = self.ask()
        if status != 200:
            raise SystemExit(f"{status}: {answer[:500]!r}")


def latencies(port: int, suffix: str, data: bytes, requests: int) -> list[float]:
    """Milliseconds of each answer to one client, after some to warm up, the shortest first."""
    client, times = Client(port, suffix, data), []
    for index in range(requests + 10):
        begin = time.perf_counter()
        client.post()
        if index >= 10:
            times.append(1000 * (time.perf_counter() - begin))
    return sorted(times)


def load(port: int, data: bytes, clients: int, seconds: float) -> float:
    """Clips a second that `clients` get through."""
    idle = [Client(port, "wav", data) for _ in range(clients)]
    for client in idle:
        client.post()
    mine = threading.local()

    def post() -> None:
        if not hasattr(mine, "client"):
            mine.client = idle.pop()
        mine.client.post()

    return throughput(post, clients, seconds)


@contextmanager
def plain(bundle: Path) -> Iterator[int]:
    """The plain service; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "benchmarks" / "plain_service.py"), str(bundle), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the plain service did not start; run it by hand to see why") from None
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def throughput(work: Callable[[], None], workers: int, seconds: float) -> float:
    """Calls a second of `work`, repeated by `workers` threads."""
    end = time.perf_counter() + seconds

    def repeat(_: int) -> int:
        count = 0
        while time.perf_counter() < end:
            work()
            count += 1
        return count

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(repeat, range(workers))) / seconds


def bare(bundle: Path, clip: bytes, threads: int, seconds: float) -> float:
    """Clips a second in this process, without HTTP."""
    from genreflow.inference.predictor import Predictor

    predictor = Predictor(bundle)
    throughput(lambda: predictor.classify(io.BytesIO(clip)), threads, 1.0)
    return throughput(lambda: predictor.classify(io.BytesIO(clip)), threads, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "champion")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    clips = make_clips()
    rows: list[tuple[str, str]] = []

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "empty.py").write_text(textwrap.dedent(EMPTY_SERVICE))
        with served("empty:Empty", cwd=Path(folder)) as empty:
            time.sleep(0.5)
        rows += [
            ("empty BentoML service: ready", f"{empty.ready_seconds:.2f} s"),
            ("empty BentoML service: memory", f"{empty.peak:.0f} MiB"),
        ]

    environment = {"GENREFLOW_BUNDLE": str(options.bundle.resolve())}
    with served(environment=environment, watch=False) as service:
        rows.append(("ready", f"{service.ready_seconds:.2f} s"))
        ours = {suffix: latencies(service.port, suffix, data, options.requests) for suffix, data in clips.items()}
        rate = load(service.port, clips["wav"], options.clients, options.seconds)
    with plain(options.bundle.resolve()) as port:
        usual = {
            suffix: latencies(port, suffix, data, max(10, options.requests // 4)) for suffix, data in clips.items()
        }
        usual_rate = load(port, clips["wav"], options.clients, options.seconds)
    for suffix, times in ours.items():
        p50, p95, theirs = statistics.median(times), times[int(0.95 * len(times))], statistics.median(usual[suffix])
        rows.append((f"one client, {suffix}: p50, p95", f"{p50:.1f} ms, {p95:.1f} ms"))
        rows.append((f"one client, {suffix}: p50 of the plain way", f"{theirs:.1f} ms, {theirs / p50:.1f} times"))
    rows.append((f"{options.clients} clients, wav", f"{rate:.1f} clips/s"))
    rows.append(
        (
            f"{options.clients} clients, wav: the plain way",
            f"{usual_rate:.1f} clips/s, ours {rate / usual_rate:.1f} times",
        )
    )

    with served(environment=environment) as service:
        rows.append(("memory when ready", " + ".join(f"{x:.0f}" for x in service.memory().values())))
        load(service.port, clips["wav"], options.clients, options.seconds)
        rows.append(("memory after the load", " + ".join(f"{x:.0f}" for x in service.memory().values())))
    rows.append(("memory, peak from start to end", f"{service.peak:.0f} MiB"))

    os.environ |= ENVIRONMENT
    cores, bundle = len(os.sched_getaffinity(0)), Bundle.load(options.bundle)
    again = multiprocessing.get_context("spawn")  # a new start, with the service's environment
    with ProcessPoolExecutor(1, again) as pool:
        threads = pool.submit(bare, bundle.directory, clips["wav"], cores, options.seconds / 2).result()
    with ProcessPoolExecutor(cores, again) as pool:
        parts = [pool.submit(bare, bundle.directory, clips["wav"], 1, options.seconds / 2) for _ in range(cores)]
        processes = sum(part.result() for part in parts)
    rows.append((f"bare loop, wav, {cores} threads", f"{threads:.1f} clips/s"))
    rows.append((f"bare loop, wav, {cores} processes", f"{processes:.1f} clips/s"))
    rows.append(("of the faster, under load", f"{100 * rate / max(threads, processes):.0f} %"))

    print(f"{bundle.architecture}, {bundle.onnx_path.stat().st_size / 1e6:.2f} MB")
    for name, value in rows:
        print(f"  {name:40} {value:>20}")


if __name__ == "__main__":
    main()
