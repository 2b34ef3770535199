"""Faults that the tests of all SQLite stores share."""

import os
import random

from sqlalchemy import event
from sqlalchemy.engine import Engine

# Each damages the database at a path.
DAMAGES = [
    lambda path: path.write_bytes(path.read_bytes()[:5000]),
    lambda path: path.write_bytes(b"\0" * 8192),
    lambda path: path.write_text("not a database" * 1000),
    lambda path: path.write_bytes(path.read_bytes()[:40_000] + random.Random(0).randbytes(200_000)),
    lambda path: (path.unlink(), path.mkdir()),
]


def signal_before_statement(number: int, at: int) -> None:
    """Send this process a signal before its SQL statement `at`, counted from 1."""
    counted = 0

    def count(*_):
        nonlocal counted
        counted += 1
        if counted == at:
            os.kill(os.getpid(), number)

    event.listen(Engine, "before_cursor_execute", count)
