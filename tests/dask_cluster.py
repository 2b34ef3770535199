"""A Dask cluster for tests: a scheduler and workers, as processes of this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_for


class Cluster:
    """A scheduler and workers whose working directory is not that of the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen] = []

    def start_scheduler(self, **environment: str) -> None:
        self._start("scheduler", "--port", "0", "--no-dashboard", **environment)
        wait_for(lambda: self._file.exists() and self._file.read_text().endswith("}"))  # it is not written atomically
        self.address = json.loads(self._file.read_text())["address"]

    def start_worker(self, *options: str) -> subprocess.Popen:
        # Without a nanny, this process is the one that computes.
        return self._start("worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", *options)

    def wait_for_workers(self, number: int) -> None:
        """Wait longer than `run_jobs` does: on a busy machine, a worker may take that long to start."""
        from distributed import Client

        with Client(self.address, timeout=300, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=300)

    def _start(self, kind: str, *options: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", "--scheduler-file", self._file, *options]
        log = (self._folder / "log.txt").open("a")
        process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, env=os.environ | environment)
        self.processes.append(process)
        return process


@contextmanager
def running(folder: Path, *, workers: int = 0, **environment: str) -> Iterator[Cluster]:
    """Run a cluster with `folder` as its working directory, and end its processes after the block."""
    folder.mkdir()
    started = Cluster(folder)
    try:
        started.start_scheduler(**environment)
        for _ in range(workers):
            started.start_worker()
        if workers:
            started.wait_for_workers(workers)
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()
