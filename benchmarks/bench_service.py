"""What the service costs: time of an answer, throughput, memory and time to ready, on 30 s clips.

    python benchmarks/bench_service.py [--bundle DIR] [--requests 100] [--clients 8] [--seconds 20]

Memory is the proportional set size (PSS) summed over all processes of the service, and its peak from the start to the
end of the load. The bare loop is the same decoding, features and net without HTTP, on all cores.
"""

import argparse
import io
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile as sf

ROOT = Path(__file__).parents[1]
SERVICE = "genreflow.serving.service:GenreClassifier"
EMPTY_SERVICE = """
    import bentoml

    @bentoml.service
    class Empty:
        @bentoml.api
        def nothing(self) -> str:
            return ""
"""


def make_clips() -> dict[str, bytes]:
    """Thirty seconds of something like music, 22,050 Hz mono 16 bit, as files."""
    rate, rng = 22050, np.random.default_rng(0)
    time_axis = np.arange(30 * rate) / rate
    y = sum(np.sin(2 * np.pi * f * time_axis + rng.random()) for f in rng.uniform(80, 4000, 12)) / 24
    y *= 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * 2 * time_axis))
    y += 0.02 * rng.standard_normal(len(y))
    clips = {}
    for suffix in ("wav", "mp3", "flac"):
        file = io.BytesIO()
        sf.write(file, y, rate, format=suffix.upper())
        clips[suffix] = file.getvalue()
    return clips


def pss_by_process(root: int) -> dict[int, float]:
    """PSS [MiB] of a process and of all that it started."""
    sizes = {}
    try:
        for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
            try:
                lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            sizes[process.pid] = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except psutil.NoSuchProcess:
        pass
    return sizes


class Served:
    """A running service, its time to ready and its memory."""

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process, self.url = process, url
        self.ready_seconds, self.peak = 0.0, 0.0
        self.stop = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while not self.stop.wait(0.1):
            self.peak = max(self.peak, sum(pss_by_process(self.process.pid).values()))


@contextmanager
def served(target: str, *, cwd: Path, environment: dict) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | environment | {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        service = Served(process, f"http://127.0.0.1:{port}")
        try:
            while True:
                try:
                    if httpx.get(f"{service.url}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    if process.poll() is not None:
                        raise SystemExit("the service did not start; `bentoml serve` tells why") from None
                time.sleep(0.02)
            service.ready_seconds = time.perf_counter() - begin
            yield service
        finally:
            service.stop.set()
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def post(client: httpx.Client, name: str, data: bytes) -> None:
    client.post("/classify", files={"audio": (name, data)}).raise_for_status()


def latencies(url: str, clip: tuple[str, bytes], requests: int) -> list[float]:
    """Milliseconds of each answer to one client, after some to warm up."""
    times = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for index in range(requests + 10):
            begin = time.perf_counter()
            post(client, *clip)
            if index >= 10:
                times.append(1000 * (time.perf_counter() - begin))
    return times


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
        with served("empty:Empty", cwd=Path(folder), environment={}) as empty:
            time.sleep(0.5)
        rows += [
            ("empty BentoML service: ready", f"{empty.ready_seconds:.2f} s"),
            ("empty BentoML service: memory", f"{empty.peak:.0f} MiB"),
        ]

    with served(SERVICE, cwd=ROOT, environment={"GENREFLOW_BUNDLE": str(options.bundle.resolve())}) as service:
        rows.append(("ready", f"{service.ready_seconds:.2f} s"))
        rows.append(("memory when ready", " + ".join(f"{x:.0f}" for x in pss_by_process(service.process.pid).values())))
        for suffix, data in clips.items():
            times = sorted(latencies(service.url, (f"clip.{suffix}", data), options.requests))
            p95 = times[int(0.95 * len(times))]
            rows.append((f"one client, {suffix}: p50, p95", f"{statistics.median(times):.1f} ms, {p95:.1f} ms"))
        rows.append(("memory after one client", f"{sum(pss_by_process(service.process.pid).values()):.0f} MiB"))
        with httpx.Client(base_url=service.url, timeout=60) as client:
            rate = throughput(lambda: post(client, "clip.wav", clips["wav"]), options.clients, options.seconds)
        rows.append((f"{options.clients} clients, wav", f"{rate:.1f} clips/s"))
        rows.append(("memory after the load", f"{sum(pss_by_process(service.process.pid).values()):.0f} MiB"))
    rows.append(("memory, peak from start to end", f"{service.peak:.0f} MiB"))

    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    from genreflow.serving.predictor import Predictor

    predictor, cores = Predictor(options.bundle), len(os.sched_getaffinity(0))
    bare = throughput(lambda: predictor.classify(io.BytesIO(clips["wav"])), cores, options.seconds / 2)
    rows.append((f"bare loop on {cores} cores, wav", f"{bare:.1f} clips/s"))
    rows.append(("of the bare loop, under load", f"{100 * rate / bare:.0f} %"))

    print(f"{predictor.bundle.architecture}, {predictor.bundle.onnx_path.stat().st_size / 1e6:.2f} MB")
    for name, value in rows:
        print(f"  {name:40} {value:>20}")


if __name__ == "__main__":
    main()
