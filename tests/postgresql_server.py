"""A real PostgreSQL server for a test, from the installation of the system."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ports import free_port


def _binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server, and yield its URL without a database. The test is skipped if PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not in pytest's folder, which other users cannot read.
    with tempfile.TemporaryDirectory(prefix="genreflow-postgresql-") as name:
        folder, as_user = Path(name), []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
            as_user = ["runuser", "-u", "postgres", "--"]

        def call(program: str, *arguments: str) -> None:
            # Output goes to a file: a server that inherited a pipe would keep it open.
            with Path(folder, "log").open("a") as log:
                command = [*as_user, str(binaries / program), "--pgdata", str(folder / "data"), *arguments]
                subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)

        port = free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder} -c fsync=off"
        call("initdb", "--username", "genreflow", "--auth", "trust", "--no-sync")
        call("pg_ctl", "--wait", "--timeout", "300", "--options", options, "start")
        try:
            yield f"postgresql://genreflow@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "--timeout", "300", "--mode", "immediate", "stop")


def create_database(server: str, name: str) -> str:
    """Create a database, and return its URL."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return f"{server}/{name}"
