"""Latency, throughput, memory and start of the service on clips of 30 s, against a plain service.

    python benchmarks/bench_service.py [--bundle DIR] [--requests 100] [--clients 8] [--seconds 20]
    python benchmarks/bench_service.py --against CHECKOUT [--turns 5] [--processes N] [--bundle DIR]
    python benchmarks/bench_service.py --prediction-log [--turns 5] [--requests 100] [--bundle DIR]

The plain service is `plain_service.py`, in the same run with the same model, clips and client. The bare loop is the
same decoding, features and model without HTTP on all cores, in threads and in processes. The client sends prepared
requests, since it shares the cores. Memory is the proportional set size (PSS) summed over all processes of the service,
its peak from the start to the end of the load; it is measured in a run of its own, since sampling takes time from the
service.

``--against`` compares this version with the one in another checkout of the repository, in turns, and prints medians and
ranges: latency of one client, throughput of all clients and of two, and peak memory.

``--prediction-log`` compares the latency of one client with and without the log of predictions, in turns.

Tried with `efficient` and not used, since it gained less than the noise, or lost: three or four threads in a worker,
other thread switch intervals (0.05 to 20 ms), a lower priority of the threads that classify, uvloop, httptools, larger
reads, batching over requests (a clip is more than one full batch already). Forking the workers after loading the model
saves 100 MiB, but BentoML has no hook for it. ONNX Runtime without prepacked weights saves 10 MiB of `vgg_large`.
NumPy's FFT instead of SciPy's saves the 11 MiB that importing `scipy.fft` takes in each worker, and costs 3 ms a clip.
Python without column positions (PYTHONNODEBUGRANGES) saves 0.7 MiB a process.
Quantisation to 8 bits: `efficient` 0.08 ms a segment, static 0.13, dynamic 0.47; `vgg_large` 32 ms, static 11 (and 15
instead of 58 MB), dynamic 194: worth it for large models, with calibration and a check of accuracy at each export.
"""

import argparse
import http.client
import io
import json
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
from genreflow.cores import usable_cores
from genreflow.costs.clips import make_clip
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
    """Return files of 30 s, 22,050 Hz, mono, 16 bit, by suffix."""
    return {suffix: make_clip(22050, 30, format=suffix.upper()) for suffix in ("wav", "mp3", "flac")}


class Client:
    """A client with one connection that is kept open."""

    def __init__(self, port: int, suffix: str, data: bytes) -> None:
        head = f'--part\r\nContent-Disposition: form-data; name="audio"; filename="clip.{suffix}"\r\n\r\n'
        self._body = head.encode() + data + b"\r\n--part--\r\n"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def send(self) -> tuple[int, bytes]:
        """Send the clip; return status and body of the response."""
        headers = {"Content-Type": "multipart/form-data; boundary=part"}
        try:
            self._connection.request("POST", "/classify", self._body, headers)
            response = self._connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):  # it was idle for too long
            self._connection.close()
            self._connection.request("POST", "/classify", self._body, headers)
            response = self._connection.getresponse()
        return response.status, response.read()

    def classify(self) -> None:
        status, body = self.send()
        if status != 200:
            raise SystemExit(f"{status}: {body[:500]!r}")


def latencies(port: int, suffix: str, data: bytes, requests: int) -> list[float]:
    """Return the time of each response to one client after a warm-up, sorted [ms]."""
    client, times = Client(port, suffix, data), []
    for index in range(requests + 10):
        begin = time.perf_counter()
        client.classify()
        if index >= 10:
            times.append(1000 * (time.perf_counter() - begin))
    return sorted(times)


def load(port: int, data: bytes, clients: int, seconds: float) -> float:
    """Return the throughput of `clients` concurrent clients [clips/s]."""
    idle = [Client(port, "wav", data) for _ in range(clients)]
    for client in idle:
        client.classify()
    local = threading.local()

    def classify() -> None:
        if not hasattr(local, "client"):
            local.client = idle.pop()
        local.client.classify()

    return throughput(classify, clients, seconds)


@contextmanager
def plain(bundle: Path) -> Iterator[int]:
    """Run the plain service; yield its port."""
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
                    raise SystemExit("plain_service.py did not start; run it by hand to see why") from None
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def throughput(work: Callable[[], None], workers: int, seconds: float) -> float:
    """Return how often `work` is called per second by several threads."""
    deadline = time.perf_counter() + seconds

    def repeat(_: int) -> int:
        count = 0
        while time.perf_counter() < deadline:
            work()
            count += 1
        return count

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(repeat, range(workers))) / seconds


def bare_loop(bundle: Path, clip: bytes, threads: int, seconds: float) -> float:
    """Return the throughput of this process without HTTP [clips/s]."""
    from genreflow.inference.predictor import Predictor

    predictor = Predictor(bundle)
    throughput(lambda: predictor.classify(io.BytesIO(clip)), threads, 1.0)
    return throughput(lambda: predictor.classify(io.BytesIO(clip)), threads, seconds)


def environment_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of the service."""
    processes = {"GENREFLOW_PROCESSES": str(options.processes)} if options.processes else {}
    return {"GENREFLOW_BUNDLE": str(options.bundle.resolve()), **processes}


def measure_once(source: Path, options: argparse.Namespace) -> dict[str, float]:
    """Measure the version whose package is in the directory `source`, served by this version's `served`."""
    environment = {**environment_of(options), "PYTHONPATH": str(source)}
    clip = make_clip(22050, 30)
    with served(environment=environment, watch=False) as service:
        p50 = statistics.median(latencies(service.port, "wav", clip, options.requests))
        rate = load(service.port, clip, options.clients, options.seconds)
        rate_of_two = load(service.port, clip, 2, options.seconds)
    with served(environment=environment) as service:
        load(service.port, clip, options.clients, options.seconds)
    return {
        "one client, p50 [ms]": p50,
        f"{options.clients} clients [clips/s]": rate,
        "2 clients [clips/s]": rate_of_two,
        "peak memory [MiB]": service.peak,
        "ready after [s]": service.ready_seconds,
    }


def compare(options: argparse.Namespace) -> None:
    """Measure this version and another one in turns, and print medians and ranges of both."""
    sources = {"this": ROOT / "src", "other": options.against / "src"}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    for _ in range(options.turns):
        for name, source in sources.items():
            results[name].append(measure_once(source.resolve(), options))
            print(
                f"{name:6} {json.dumps({key: round(value, 1) for key, value in results[name][-1].items()})}", flush=True
            )
    for key in results["this"][0]:
        cells = []
        for name in sources:
            values = sorted(turn[key] for turn in results[name])
            cells.append(f"{name} {statistics.median(values):7.1f} ({values[0]:.1f} to {values[-1]:.1f})")
        print(f"  {key:24} {'   '.join(cells)}")


def measure_log(options: argparse.Namespace) -> None:
    """Print the latency of one client, with and without the log of predictions, and the size of the log."""
    clip, own = make_clip(22050, 30), environment_of(options)
    times: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        logged = own | {"GENREFLOW_PREDICTION_LOG": folder}
        with served(environment=own, watch=False) as first, served(environment=logged, watch=False) as second:
            for _ in range(options.turns):
                for name, service in (("without", first), ("with", second)):
                    times[name].append(statistics.median(latencies(service.port, "wav", clip, options.requests)))
        written = [path.read_bytes() for path in Path(folder).glob("*.jsonl")]
    for name, found in times.items():
        print(f"  {name:8} the log, p50 {statistics.median(found):.2f} ms ({min(found):.2f} to {max(found):.2f})")
    lines = sum(content.count(b"\n") for content in written)
    print(f"  {lines} predictions, {sum(map(len, written)) / lines:.0f} bytes each")


def report(options: argparse.Namespace) -> None:
    """Measure this version, the plain service and the bare loop, and print all figures."""
    clips = make_clips()
    rows = [
        *measure_empty_service(),
        *measure_services(options, clips),
        *measure_memory(options, clips["wav"]),
    ]
    bundle = Bundle.load(options.bundle)
    print(f"{bundle.architecture}, {bundle.onnx_path.stat().st_size / 1e6:.2f} MB")
    for name, value in rows:
        print(f"  {name:45} {value:>25}", flush=True)


def measure_empty_service() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "empty.py").write_text(textwrap.dedent(EMPTY_SERVICE))
        with served("empty:Empty", cwd=Path(directory)) as empty:
            time.sleep(0.5)
    return [
        ("empty BentoML service: ready after", f"{empty.ready_seconds:.2f} s"),
        ("empty BentoML service: peak memory", f"{empty.peak:.0f} MiB"),
    ]


def measure_services(options: argparse.Namespace, clips: dict[str, bytes]) -> list[tuple[str, str]]:
    """Measure latency and throughput of the service, the plain service and the bare loop."""
    bundle = options.bundle.resolve()
    with served(environment=environment_of(options), watch=False) as service:
        rows = [("ready after", f"{service.ready_seconds:.2f} s")]
        ours = {suffix: latencies(service.port, suffix, data, options.requests) for suffix, data in clips.items()}
        rate = load(service.port, clips["wav"], options.clients, options.seconds)
    requests = max(10, options.requests // 4)
    with plain(bundle) as port:
        plain_times = {suffix: latencies(port, suffix, data, requests) for suffix, data in clips.items()}
        plain_rate = load(port, clips["wav"], options.clients, options.seconds)
    for suffix, times in ours.items():
        p50, p95, plain_p50 = (
            statistics.median(times),
            times[int(0.95 * len(times))],
            statistics.median(plain_times[suffix]),
        )
        rows.append((f"one client, {suffix}: p50, p95", f"{p50:.1f} ms, {p95:.1f} ms"))
        rows.append((f"one client, {suffix}: p50 of the plain service", f"{plain_p50:.1f} ms, {plain_p50 / p50:.1f} x"))
    clients = f"{options.clients} clients, wav"
    rows.append((clients, f"{rate:.1f} clips/s"))
    rows.append((f"{clients}: plain service", f"{plain_rate:.1f} clips/s, 1/{rate / plain_rate:.1f}"))
    cores, seconds = usable_cores(), options.seconds / 2
    os.environ |= ENVIRONMENT
    spawn = multiprocessing.get_context("spawn")  # new processes, with the service's environment
    with ProcessPoolExecutor(1, spawn) as pool:
        threads = pool.submit(bare_loop, bundle, clips["wav"], cores, seconds).result()
    with ProcessPoolExecutor(cores, spawn) as pool:
        parts = [pool.submit(bare_loop, bundle, clips["wav"], 1, seconds) for _ in range(cores)]
        processes = sum(part.result() for part in parts)
    return [
        *rows,
        (f"bare loop, wav, {cores} threads", f"{threads:.1f} clips/s"),
        (f"bare loop, wav, {cores} processes", f"{processes:.1f} clips/s"),
        (f"{clients}: of the faster loop", f"{100 * rate / max(threads, processes):.0f} %"),
    ]


def measure_memory(options: argparse.Namespace, clip: bytes) -> list[tuple[str, str]]:
    with served(environment=environment_of(options)) as service:
        rows = [("memory when ready", " + ".join(f"{x:.0f}" for x in service.memory().values()))]
        load(service.port, clip, options.clients, options.seconds)
        rows.append(("memory after the load", " + ".join(f"{x:.0f}" for x in service.memory().values())))
    return [*rows, ("memory, peak from start to end", f"{service.peak:.0f} MiB")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "champion")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--prediction-log", action="store_true", help="with and without the log of predictions")
    parser.add_argument(
        "--turns", type=int, default=5, help="measurements of each, with --against and --prediction-log"
    )
    parser.add_argument("--processes", type=int, help="GENREFLOW_PROCESSES, by default that of the service")
    options = parser.parse_args()
    if options.against:
        compare(options)
    elif options.prediction_log:
        measure_log(options)
    else:
        report(options)


if __name__ == "__main__":
    main()
