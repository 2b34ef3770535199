"""A real S3 server on the loopback interface, which a test can cut off from its clients and connect again.

The server is moto's. It keeps objects in memory, so that a killed one would have lost them: clients reach it through a
relay instead, and an outage closes every connection of the relay and refuses new ones.
"""

import contextlib
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ports import free_port

# Any: the server accepts all.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Relay:
    """Passes connections to a port of this machine on to another one, until it is cut.

    Parameters
    ----------
    target : int
        The other port.
    """

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._passed, self._limit = 0, None

    def connect(self) -> None:
        self._passed, self._limit = 0, None
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets, self._open = list(self._open), set()
        for each in ([listener] if listener else []) + sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut_after(self, size: int) -> None:
        """Cut it when clients have sent so many more bytes."""
        self._passed, self._limit = 0, size

    @property
    def is_cut(self) -> bool:
        return self._listener is None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:  # cut since the client was accepted: it must not get through
                    client.close()
                    server.close()
                    return
                self._open |= {client, server}
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        try:
            with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError, KeyError):
                for each in other:
                    selector.register(each, selectors.EVENT_READ)
                while self._pass_some(selector, client, other):
                    pass
        finally:
            for each in other:
                each.close()

    def _pass_some(self, selector: selectors.BaseSelector, client: socket.socket, other: dict) -> bool:
        """Pass on what there is; return False at the end of the connection, or of the relay."""
        for key, _ in selector.select(0.5):
            data = key.fileobj.recv(1 << 16)
            if not data:
                return False
            if key.fileobj is client and self._limit is not None:
                self._passed += len(data)
                if self._passed > self._limit:
                    self.cut()
                    return False
            other[key.fileobj].sendall(data)
        return True


class S3Server:
    """An S3 server with one bucket, ``music``.

    Attributes
    ----------
    url : str
        Of the relay.
    environment : dict of str to str
        With which boto3, DVC and MLflow find it.
    """

    bucket = "music"

    def __init__(self, port: int, relay: Relay) -> None:
        self.relay, self.url, self._direct = relay, f"http://127.0.0.1:{relay.port}", f"http://127.0.0.1:{port}"
        self.environment = CREDENTIALS | {"AWS_ENDPOINT_URL_S3": self.url}

    def client(self):
        """Return a client of boto3 that no outage concerns."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self._direct,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )

    def keys(self, prefix: str = "") -> set[str]:
        """Return the names of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server, whose log is in `folder`. The test is skipped without moto or the extra ``s3``."""
    pytest.importorskip("moto.server", reason="moto is not installed (extra dev)")
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed (extra s3)")
    port = free_port()
    with (folder / "s3.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    relay = Relay(port)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "s3.log").read_text()
                time.sleep(0.1)
        relay.connect()
        server = S3Server(port, relay)
        server.client().create_bucket(Bucket=server.bucket)
        yield server
    finally:
        relay.cut()
        process.kill()
        process.wait()
