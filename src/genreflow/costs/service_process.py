"""`bentoml serve` as a child process: started, watched and stopped.

The measurements of `genreflow.costs`, the benchmarks and the tests of the service all run it through `served`.
"""

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
# Far above what either takes, also on a busy machine.
READY_SECONDS = 300.0
STOP_SECONDS = 60.0
# Has Linux stop the service when this process dies, even if it is killed, and becomes `bentoml`.
_BECOME_BENTOML = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
os.execv(sys.executable, [sys.executable, "-m", "bentoml", *sys.argv[1:]])
"""


class ServiceProcess:
    """A running service.

    Parameters
    ----------
    process : subprocess.Popen
        Its supervisor.
    port : int
        On 127.0.0.1.
    log : Path
        The file that receives its output; its directory belongs to the service.
    watch : bool
        Whether to sample the memory.

    Attributes
    ----------
    ready_seconds : float [s]
        Time from the start until it was ready.
    peak : float [MiB]
        Maximum of `memory` over all samples, from the start on.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path, *, watch: bool) -> None:
        self.process, self.port, self.log = process, port, log
        self.ready_seconds, self.peak = 0.0, 0.0
        self._stopping = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        if watch:
            self._sampler.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> dict[int, float]:
        """Return the memory of each process of the service [MiB], by process ID.

        It is the proportional set size, which counts shared pages once; on systems other than Linux the unique set
        size.
        """
        sizes = {}
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    info = process.memory_full_info()
                    sizes[process.pid] = getattr(info, "pss", info.uss) / 2**20
        return sizes

    def raise_if_ended(self) -> None:
        """Raise GenreflowError if the service has ended."""
        if self.process.poll() is not None:
            raise self.error(f"The service ended with exit code {self.process.returncode}")

    def error(self, message: str) -> GenreflowError:
        """Return an exception with a message and the last lines that the service printed."""
        return GenreflowError("\n".join([f"{message}; its last output:", *self._output().strip().splitlines()[-15:]]))

    def wait_until_ready(self) -> None:
        """Wait until the service is ready.

        Raises
        ------
        GenreflowError
            It ends, as it does when its workers cannot start, or it is not ready after `READY_SECONDS`.
        """
        begin = time.perf_counter()
        while not self._is_ready():
            self.raise_if_ended()
            if time.perf_counter() - begin > READY_SECONDS:
                raise self.error(f"The service is not ready after {READY_SECONDS:g} s")
            time.sleep(0.05)
        self.ready_seconds = time.perf_counter() - begin

    def stop(self) -> None:
        """Stop the service and wait for the end of all its processes."""
        self._stopping.set()
        if self._sampler.is_alive():
            self._sampler.join()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.process.kill()
        self.process.wait()
        # A supervisor that was killed, or was just starting a worker, leaves workers behind for a moment: in sessions
        # of their own, without a parent, but with our BENTOML_HOME.
        while remaining := [process for process in psutil.process_iter() if self._owns(process)]:
            for process in remaining:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(remaining, timeout=1)

    def _output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            used = sum(self.memory().values())  # takes a while, in which a caller may set `peak`
            self.peak = max(self.peak, used)

    def _is_ready(self) -> bool:
        # The socket listens before the workers run, so that a connection alone proves nothing.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _owns(self, process: psutil.Process) -> bool:
        try:
            ended = process.status() == psutil.STATUS_ZOMBIE
            return not ended and process.environ().get("BENTOML_HOME") == str(self.log.parent / "bentoml")
        except psutil.Error:
            return False


@contextmanager
def reserved_port() -> Iterator[int]:
    """Choose a port of 127.0.0.1 for a server that starts while a block runs.

    On Linux no other process gets it meanwhile, however long the server takes to listen: sockets with SO_REUSEADDR, as
    servers have it, can share a port of which one listens, and the system chooses no such port for others.

    Yields
    ------
    int
    """
    with socket.socket() as holder:
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        if sys.platform != "linux":  # no server could listen
            holder.close()
        yield port


@contextmanager
def served(
    target: str = SERVICE,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    watch: bool = True,
) -> Iterator[ServiceProcess]:
    """Run `bentoml serve` while a block runs: ready at its beginning, gone without a trace at its end.

    Parameters
    ----------
    target : str
        The argument of ``bentoml serve``.
    cwd : Path, optional
        Working directory; by default an empty one.
    environment : mapping of str to str, optional
        Environment variables in addition to those of this process, except its variables of BentoML and genreflow.
        ``BENTOML_HOME`` is where bentos are read from; the service has a home of its own all the same, since a service
        deletes the metrics of others in its home when it starts.
    watch : bool
        Whether to sample its memory for `ServiceProcess.peak`, which takes processor time.

    Raises
    ------
    GenreflowError
        The service does not start.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML_", "GENREFLOW_"))}
    variables = dict(environment or {})
    store = variables.pop("BENTOML_HOME", None)
    with (
        reserved_port() as port,
        tempfile.TemporaryDirectory(prefix="genreflow-", ignore_cleanup_errors=True) as directory,
    ):
        home, empty, log = Path(directory, "bentoml"), Path(directory, "empty"), Path(directory, "log")
        for path in (home, empty):
            path.mkdir()
        if store:
            (home / "bentos").symlink_to(Path(store, "bentos").resolve(), target_is_directory=True)
        own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "TMPDIR": directory}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _BECOME_BENTOML, "serve", target, "--host", "127.0.0.1", "--port", str(port)],
                cwd=cwd or empty,
                env=inherited | own | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal reaches this process, which stops the service
            )
        service = ServiceProcess(process, port, log, watch=watch)
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.stop()
