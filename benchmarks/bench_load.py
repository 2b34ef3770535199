"""What the service does in the long run, and under ten times the load it can bear.

    python benchmarks/bench_load.py [--bundle DIR] [--minutes 1]

Eight clients keep it busy for so many minutes: a row a minute, its throughput and memory against the first one's. Then
ten times as many, for ten seconds, of which most should be turned away quickly; then one client, as before.
"""

import argparse
import http.client
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench_service import ROOT, Client, latencies, load, make_clips

from genreflow.costs.service_process import Served, served

CLIENTS, TIMES, OVERLOAD_SECONDS = 8, 10, 10.0


def overload(port: int, clip: bytes) -> dict[int, list[float]]:
    """Milliseconds until each answer, by its status; 0 for a connection that was broken off."""
    end, waits = time.perf_counter() + OVERLOAD_SECONDS, defaultdict(list)

    def repeat(_: int) -> None:
        client = Client(port, "wav", clip)
        while (begin := time.perf_counter()) < end:
            try:
                status = client.ask()[0]
            except (OSError, http.client.HTTPException):
                client, status = Client(port, "wav", clip), 0
            waits[status].append(1000 * (time.perf_counter() - begin))

    with ThreadPoolExecutor(CLIENTS * TIMES) as pool:
        list(pool.map(repeat, range(CLIENTS * TIMES)))
    return waits


def soak(service: Served, clip: bytes, minutes: int) -> None:
    first = None
    for minute in range(1, minutes + 1):
        rate, memory = load(service.port, clip, CLIENTS, 60.0), sum(service.memory().values())
        first = first or (rate, memory)
        changes = f"{100 * rate / first[0] - 100:+.1f} %, {memory - first[1]:+.0f} MiB"
        print(f"  minute {minute:3}: {rate:6.1f} clips/s, {memory:4.0f} MiB   {changes}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "champion")
    parser.add_argument("--minutes", type=int, default=1)
    options = parser.parse_args()
    clip = make_clips()["wav"]
    with served(environment={"GENREFLOW_BUNDLE": str(options.bundle.resolve())}) as service:
        before = statistics.median(latencies(service.port, "wav", clip, 50))
        print(f"{CLIENTS} clients")
        soak(service, clip, options.minutes)
        peak = service.peak
        print(f"{CLIENTS * TIMES} clients for {OVERLOAD_SECONDS:g} s")
        for status, waits in sorted(overload(service.port, clip).items()):
            waits.sort()
            share = f"p50 {statistics.median(waits):6.0f} ms, p99 {waits[int(0.99 * len(waits))]:6.0f} ms"
            print(f"  {status or 'broken off'}: {len(waits):6} answers, {share}")
        after = statistics.median(latencies(service.port, "wav", clip, 50))
        print(f"one client afterwards: p50 {after:.1f} ms, {before:.1f} before")
        print(f"memory: peak {peak:.0f} MiB, under the overload {service.peak:.0f} MiB")


if __name__ == "__main__":
    main()
