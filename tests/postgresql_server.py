"""A real PostgreSQL for a test: the system's."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own; its URL, without a database. Skips the test where none is installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not in pytest's folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="genreflow-postgresql-") as name:
        folder, as_user = Path(name), []
        if os.geteuid() == 0:  # it refuses to run as root
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
            as_user = ["runuser", "-u", "postgres", "--"]

        def call(program: str, *arguments: str) -> None:
            # Into a file: a server that inherits a pipe would keep it open.
            with Path(folder, "log").open("a") as log:
                command = [*as_user, str(binaries / program), "--pgdata", str(folder / "data"), *arguments]
                subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)

        port = free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder} -c fsync=off"
        call("initdb", "--username", "genreflow", "--auth", "trust", "--no-sync")
        call("pg_ctl", "--wait", "--options", options, "start")
        try:
            yield f"postgresql://genreflow@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "--mode", "immediate", "stop")


def create_database(server: str, name: str) -> str:
    """A new database of a PostgreSQL; its URL."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return f"{server}/{name}"
