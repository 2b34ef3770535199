"""The service under load for minutes, and under ten times the load.

    python benchmarks/bench_load.py [--bundle DIR] [--minutes 1]

Eight clients keep it busy: a row for each minute with throughput and memory, relative to the first. Then ten times as
many clients for ten seconds, most of which should be refused quickly; then one client, as before.
"""

import argparse
import http.client
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench_service import ROOT, Client, latencies, load, make_clips

from genreflow.costs.service_process import ServiceProcess, served

CLIENTS, OVERLOAD_FACTOR, OVERLOAD_SECONDS = 8, 10, 10.0


def overload(port: int, clip: bytes) -> dict[int, list[float]]:
    """Return the times of responses by status [ms]; status 0 are connections that were closed."""
    deadline, times = time.perf_counter() + OVERLOAD_SECONDS, defaultdict(list)

    def repeat(_: int) -> None:
        client = Client(port, "wav", clip)
        while (begin := time.perf_counter()) < deadline:
            try:
                status = client.send()[0]
            except (OSError, http.client.HTTPException):
                client, status = Client(port, "wav", clip), 0
            times[status].append(1000 * (time.perf_counter() - begin))

    with ThreadPoolExecutor(CLIENTS * OVERLOAD_FACTOR) as pool:
        list(pool.map(repeat, range(CLIENTS * OVERLOAD_FACTOR)))
    return times


def soak(service: ServiceProcess, clip: bytes, minutes: int) -> None:
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
        print(f"{CLIENTS * OVERLOAD_FACTOR} clients for {OVERLOAD_SECONDS:g} s")
        for status, times in sorted(overload(service.port, clip).items()):
            times.sort()
            percentiles = f"p50 {statistics.median(times):6.0f} ms, p99 {times[int(0.99 * len(times))]:6.0f} ms"
            print(f"  {status or 'closed'}: {len(times):6} responses, {percentiles}")
        after = statistics.median(latencies(service.port, "wav", clip, 50))
        print(f"one client afterwards: p50 {after:.1f} ms; before: {before:.1f} ms")
        print(f"memory: peak {peak:.0f} MiB, with the overload {service.peak:.0f} MiB")


if __name__ == "__main__":
    main()
