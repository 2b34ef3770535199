"""What the service costs: time of an answer, throughput, memory and time to ready, on 30 s clips.

    python benchmarks/bench_service.py [--bundle DIR] [--requests 100] [--clients 8] [--seconds 20]

Memory is the proportional set size (PSS) summed over all processes of the service, and its peak from the start to the
end of the load. The bare loop is the same decoding, features and net without HTTP, on all cores.
"""

import argparse
import io
import os
import statistics
import tempfile
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from genreflow.serving.footprint import make_clip
from genreflow.serving.process import served

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
        with served("empty:Empty", cwd=Path(folder)) as empty:
            time.sleep(0.5)
        rows += [
            ("empty BentoML service: ready", f"{empty.ready_seconds:.2f} s"),
            ("empty BentoML service: memory", f"{empty.peak:.0f} MiB"),
        ]

    with served(environment={"GENREFLOW_BUNDLE": str(options.bundle.resolve())}) as service:
        rows.append(("ready", f"{service.ready_seconds:.2f} s"))
        rows.append(("memory when ready", " + ".join(f"{x:.0f}" for x in service.memory().values())))
        for suffix, data in clips.items():
            times = sorted(latencies(service.url, (f"clip.{suffix}", data), options.requests))
            p95 = times[int(0.95 * len(times))]
            rows.append((f"one client, {suffix}: p50, p95", f"{statistics.median(times):.1f} ms, {p95:.1f} ms"))
        rows.append(("memory after one client", f"{sum(service.memory().values()):.0f} MiB"))
        with httpx.Client(base_url=service.url, timeout=60) as client:
            rate = throughput(lambda: post(client, "clip.wav", clips["wav"]), options.clients, options.seconds)
        rows.append((f"{options.clients} clients, wav", f"{rate:.1f} clips/s"))
        rows.append(("memory after the load", f"{sum(service.memory().values()):.0f} MiB"))
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
