"""A real MLflow server on the loopback interface, which a test can kill and start again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from ports import free_port


class Server:
    """`mlflow server`, at the same address after each start.

    Parameters
    ----------
    folder : Path
        For its artifacts, its log, and a SQLite database if there is no `store`.
    store : str, optional
        URL of a database.
    artifacts : str, optional
        Where the server keeps artifacts, such as s3://bucket/mlflow, instead of in `folder`.
    direct : bool
        Whether clients read and write artifacts there themselves, not through the server.
    environment : dict of str to str, optional
        Variables beside those of this process.
    """

    def __init__(
        self,
        folder: Path,
        store: str | None = None,
        *,
        artifacts: str | None = None,
        direct: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.store = folder, store or f"sqlite:///{folder / 'server.db'}"
        self.artifacts, self.direct, self.environment = (
            artifacts or str(folder / "artifacts"),
            direct,
            environment or {},
        )
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.store]
        if self.direct:
            command += ["--no-serve-artifacts", "--default-artifact-root", self.artifacts]
        else:
            command += ["--artifacts-destination", self.artifacts]
        with (self.folder / "server.log").open("ab") as log:
            # A process group of its own: the server's workers are killed with it.
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=os.environ | self.environment,
            )
        while not self.answers():
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.2)

    def kill(self) -> None:
        """Send SIGKILL to the server and its workers, as if the machine had failed."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed; on a busy machine its answer may take long."""
        return self._process is not None

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=10).ok
        except requests.RequestException:
            return False
