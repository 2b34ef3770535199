"""The service as people run it, `bentoml serve` in processes of its own: started, watched and ended again."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from genreflow.errors import GenreflowError

SERVICE = "genreflow.serving.service:GenreClassifier"
SAMPLE_SECONDS = 0.05
READY_SECONDS = 120.0
END_SECONDS = 20.0
# What the worker says before the supervisor starts another one, and another.
_WORKER_FAILED = "Application startup failed"
# Asks Linux to end the service when this process dies, however it dies, and becomes `bentoml`.
_BECOME_BENTOML = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.execv(sys.executable, [sys.executable, "-m", "bentoml", *sys.argv[1:]])
"""


class Served:
    """A service that runs.

    Parameters
    ----------
    process : subprocess.Popen
        Its supervisor.
    port : int
        Of 127.0.0.1.
    log : Path
        What it printed.

    Attributes
    ----------
    ready_seconds : float [s]
        From its start until it answered that it was ready.
    peak : float [MiB]
        The highest `memory` so far, looked at every `SAMPLE_SECONDS` from the start on.
    """

    def __init__(self, process: subprocess.Popen, port: int, log: Path, *, watch: bool = True) -> None:
        self.process, self.port, self.log = process, port, log
        self.ready_seconds, self.peak = 0.0, 0.0
        self._seen: set[psutil.Process] = set()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        if watch:
            self._sampler.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> dict[int, float]:
        """Proportional set size of every process of the service [MiB], by its id; where the system counts none (it is
        Linux that does), the unique set size."""
        sizes = {}
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    info = process.memory_full_info()
                    sizes[process.pid] = getattr(info, "pss", info.uss) / 2**20
                    self._seen.add(process)
        return sizes

    def check(self) -> None:
        """Raise GenreflowError, with what it printed last, if the service has ended."""
        if self.process.poll() is not None:
            raise self.failed(f"The service ended with exit code {self.process.returncode}")

    def failed(self, what: str) -> GenreflowError:
        """An exception that says `what`, and what the service printed last."""
        return GenreflowError("\n".join([f"{what}; the last it said:", *self._said().strip().splitlines()[-15:]]))

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(self.memory().values()))

    def _wait(self) -> None:
        begin = time.perf_counter()
        while not self._is_ready():
            self.check()
            if _WORKER_FAILED in self._said():
                raise self.failed("The service did not start")
            if time.perf_counter() - begin > READY_SECONDS:
                raise self.failed(f"The service was not ready after {READY_SECONDS:g} s")
            time.sleep(0.05)
        self.ready_seconds = time.perf_counter() - begin

    def _is_ready(self) -> bool:
        # The socket is there before the service, and takes connections that a failed one never answers.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _end(self) -> None:
        self._stop.set()
        if self._sampler.is_alive():
            self._sampler.join()
        self.memory()  # who is there: workers are in sessions of their own, so that no signal to a group reaches them
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        for process in self._seen:
            with suppress(psutil.NoSuchProcess):  # which it also says of an id that another process has by now
                process.kill()
        self.process.wait()
        # A supervisor that is just starting a worker again may leave it behind; it has our home, and no parent.
        while left := [process for process in psutil.process_iter() if self._is_ours(process)]:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            gone = process.status() == psutil.STATUS_ZOMBIE
            return not gone and process.environ().get("BENTOML_HOME") == str(self.log.parent / "bentoml")
        except psutil.Error:
            return False


@contextmanager
def served(
    target: str = SERVICE,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    watch: bool = True,
) -> Iterator[Served]:
    """Run `bentoml serve`, ready when the block begins and without any trace when it ends, also by an exception.

    Parameters
    ----------
    target : str
        What ``bentoml serve`` takes.
    cwd : Path, optional
        Where it runs; by default in an empty folder.
    environment : mapping of str to str, optional
        Beside the caller's variables, of which those that set up BentoML and the service are left out.
        ``BENTOML_HOME`` is where bentos are looked for; the service still has a home of its own, since one that
        starts empties the figures of another in the same home.
    watch : bool
        Whether to look for its peak of memory, which takes some time from it.

    Raises
    ------
    GenreflowError
        The service does not start.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML_", "GENREFLOW_"))}
    given = dict(environment or {})
    store = given.pop("BENTOML_HOME", None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="genreflow-", ignore_cleanup_errors=True) as folder:
        home, empty, log = Path(folder, "bentoml"), Path(folder, "empty"), Path(folder, "log")
        for path in (home, empty):
            path.mkdir()
        if store:
            (home / "bentos").symlink_to(Path(store, "bentos").resolve(), target_is_directory=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _BECOME_BENTOML, "serve", target, "--host", "127.0.0.1", "--port", str(port)],
                cwd=cwd or empty,
                env=kept | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "TMPDIR": folder} | given,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for us, and we end the service
            )
        service = Served(process, port, log, watch=watch)
        try:
            service._wait()
            yield service
        finally:
            service._end()
