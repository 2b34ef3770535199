"""Time and memory of the data stages as a collection grows: `python benchmarks/bench_scale.py --tracks 1000 10000`.

For each size, clips of 3 s are synthesised, and ingest, featurize, audit and split run, each in a process of its own;
then ten clips are added and they run again, as `dvc repro` runs them. The output lists wall time, processor time (user
and system, also of child processes) and peak memory per stage, and their ratio per track to the smallest size. A ratio
above 1 grows faster than the collection. With `--workers 2`, featurize computes all features once more on a Dask
cluster of this machine; its row has the processor time of the stage alone, without that of the workers.

Times depend on the machine and on what else it does; the processor time and the ratios hardly.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

STAGES = ("ingest", "featurize", "audit", "split")
RATE, SECONDS = 11025, 3
GENRES, TRACKS_PER_ARTIST = 8, 10
NOTES, NOTES_PER_TRACK = 256, 24
ADDED = 10
PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"


class Cost(NamedTuple):
    """What a process took: wall time [s], processor time [s] and peak memory [bytes]."""

    wall: float
    processor: float
    peak: int


def write_tracks(folder: Path, numbers: range) -> None:
    """Write one wav per number, 24 of 256 notes at random times: no two are alike, and each takes 0.3 ms."""
    t = np.arange(RATE // 2) / RATE
    pitches = 80 * 2 ** (np.arange(NOTES) / NOTES * 5.5)
    notes = (3000 * np.exp(-8 * t) * np.sin(2 * np.pi * pitches[:, None] * t)).astype(np.int16)
    size = RATE * SECONDS
    header = struct.pack("<4sI4s4sIHHI", b"RIFF", 36 + 2 * size, b"WAVE", b"fmt ", 16, 1, 1, RATE)
    header += struct.pack("<IHH4sI", 2 * RATE, 2, 16, b"data", 2 * size)
    for number in numbers:
        rng = np.random.default_rng(number)
        samples = np.zeros(size, np.int16)
        places = zip(
            rng.integers(0, NOTES, NOTES_PER_TRACK), rng.integers(0, size - len(t), NOTES_PER_TRACK), strict=True
        )
        for note, begin in places:
            samples[begin : begin + len(t)] += notes[note]
        artist = number // TRACKS_PER_ARTIST
        path = folder / f"genre {artist % GENRES}" / f"artist {artist:05}" / f"{number:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header + samples.tobytes())


def run_stage(name: str, project: Path, scheduler: str | None = None) -> Cost:
    """Run a stage in a process of its own.

    Raises
    ------
    SystemExit
        It failed; its messages are shown.
    """
    environment = os.environ | ({"DASK_SCHEDULER_ADDRESS": scheduler} if scheduler else {})
    with open(project / f"{name}.log", "w+") as log:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "genreflow.stages", name], cwd=project, stdout=log, stderr=log, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{name}: must succeed; got exit code {process.returncode}: {log.read()[-2000:]}")
    # ru_maxrss is in KiB on Linux, in bytes on macOS
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


@contextmanager
def dask_cluster(directory: Path, workers: int) -> Iterator[str]:
    """Run a scheduler and workers of one thread on this machine; yield the scheduler's address."""
    dask, address_file = [sys.executable, "-m", "dask"], directory / "scheduler.json"
    options = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(address_file)]
    commands = [[*dask, "scheduler", "--port", "0", *options]]
    commands += [[*dask, "worker", "--no-nanny", "--nthreads", "1", *options]] * workers
    processes = []
    try:
        with open(directory / "dask.log", "a") as log:
            for command in commands:
                processes.append(subprocess.Popen(command, cwd=directory, stdout=log, stderr=log))
                while not (address_file.exists() and address_file.read_text().endswith("}")):
                    if processes[0].poll() is not None:
                        raise SystemExit(f"dask scheduler: must run; got exit code {processes[0].returncode}")
                    time.sleep(0.1)
        from distributed import Client

        address = json.loads(address_file.read_text())["address"]
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(n_tracks: int, directory: Path, workers: int = 0) -> dict[tuple[str, str], Cost]:
    """Return the costs by stage and run: ``all``, ``added``, and ``dask`` if there are workers."""
    music, project = directory / "music", directory / "project"
    (project / "data").mkdir(parents=True)
    params = yaml.safe_load(PARAMS.read_text())
    params["data"] |= {"source": "folder", "path": str(music)}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "data/tracks.csv").write_text("path,genre,group,split\n")
    costs = {}
    for run, numbers in (("all", range(n_tracks)), ("added", range(n_tracks, n_tracks + ADDED))):
        write_tracks(music, numbers)
        for stage in STAGES:
            costs[stage, run] = run_stage(stage, project)
            print(f"{n_tracks} tracks, {stage}, {run}: {costs[stage, run]}", file=sys.stderr, flush=True)
    if workers:
        shutil.rmtree(project / "data/features")
        with dask_cluster(directory, workers) as scheduler:
            costs["featurize", "dask"] = run_stage("featurize", project, scheduler)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[200, 1000], help="sizes of the collection")
    parser.add_argument("--directory", type=Path, help="folder for clips and projects, 160 kB per track")
    parser.add_argument("--workers", type=int, default=0, help="of a Dask cluster, on which featurize runs once more")
    options = parser.parse_args()
    sizes = sorted(options.tracks)
    smallest: dict[tuple[str, str], Cost] = {}
    print(f"clips of {SECONDS} s; added: {ADDED} clips; ratio: processor time per track to that of {sizes[0]}\n")
    columns = ("tracks", "stage", "run", "wall [s]", "processor [s]", "per track [ms]", "ratio", "peak [MiB]")
    print(f"| {' | '.join(columns)} | per track more [KiB] |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for n_tracks in sizes:
        directory = Path(tempfile.mkdtemp(dir=options.directory))
        try:
            costs = measure(n_tracks, directory, options.workers)
        finally:
            shutil.rmtree(directory)
        smallest = smallest or costs
        for (stage, run), cost in costs.items():
            base = smallest[stage, run]
            ratio = (cost.processor / n_tracks) / (base.processor / sizes[0])
            more = (cost.peak - base.peak) / (n_tracks - sizes[0]) / 1024 if n_tracks > sizes[0] else None
            print(
                f"| {n_tracks} | {stage} | {run} | {cost.wall:.1f} | {cost.processor:.1f} | "
                f"{1000 * cost.processor / n_tracks:.2f} | {ratio:.2f} | {cost.peak / 2**20:.0f} | "
                f"{'' if more is None else f'{more:.1f}'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
