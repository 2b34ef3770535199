"""The life of a worker process: its start, and its end together with its supervisor.

BentoML's supervisor, circus, replaces a worker that ends, whatever the reason, and holds the socket that its workers
accept connections from. If no worker can start, clients would wait for ever; if the supervisor is killed, its workers
would go on and keep the port. BentoML has an option for neither.
"""

import asyncio
import atexit
import fcntl
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import click
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genreflow.errors import GenreflowError
from genreflow.logs import TRACEBACK_VARIABLE, describe
from genreflow.serving.health import request

# Environment variable of a worker: the process ID of its supervisor.
SUPERVISOR_VARIABLE = "GENREFLOW_SUPERVISOR"
# A worker sends it to its supervisor, which ends the service.
END_SERVICE = signal.SIGUSR1
POLL_SECONDS = 1.0


class StartError(click.ClickException):
    """The service cannot start. The command line of BentoML prints the message and ends with the exit code."""

    exit_code = 2


@contextmanager
def start_errors() -> Iterator[None]:
    """Raise what the user can correct, and what `genreflow.logs.describe` knows, as `StartError`."""
    try:
        yield
    except GenreflowError as error:
        raise StartError(str(error)) from None
    except Exception as error:
        sentence = describe(error)
        if sentence is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        raise StartError(f"{sentence}.") from None


@contextmanager
def ending_service_on_error() -> Iterator[None]:
    """End the whole service if the block raises, unless another worker of it serves.

    It ends when this process has printed the error and exits; before, the supervisor would stop this process, too.
    """
    try:
        yield
    except BaseException:
        atexit.register(end_service)
        raise


def end_service() -> None:
    """Have the supervisor end the service, unless another worker of it serves."""
    supervisor = _supervisor()
    if supervisor is None or supervisor != os.getppid():
        return
    try:
        fcntl.flock(_serving_lock(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError:  # e.g. a full disk, on which no worker has made the file
        pass
    os.kill(supervisor, END_SERVICE)


def mark_serving() -> None:
    """Let other workers of the service know, until this process ends, that this one serves."""
    if _supervisor() is not None:
        fcntl.flock(_serving_lock(), fcntl.LOCK_SH)


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Start an application, let it serve, and shut it down, as the messages of ASGI's lifespan protocol ask for it.

    Its first request is one of this process, so that what it opens and registers once, such as its metrics, is there
    before a client comes. An exception in its start ends the worker; uvicorn would take it for an application without
    lifespan, and serve.
    """
    begun = False

    async def forward(message: Message) -> None:
        nonlocal begun
        if message["type"] == "lifespan.startup.complete":
            await request(app, "POST", "/model")
            mark_serving()
        elif message["type"] == "lifespan.startup.failed":
            atexit.register(end_service)
        begun = True
        await send(message)

    watch = asyncio.create_task(_end_with_supervisor())
    try:
        await app(scope, receive, forward)
    except Exception:
        if not begun:
            await forward({"type": "lifespan.startup.failed", "message": traceback.format_exc()})
        raise
    finally:
        watch.cancel()


async def _end_with_supervisor() -> None:
    """End this process like a signal to terminate, when its supervisor has died."""
    supervisor = _supervisor()
    if supervisor is None:
        return
    while os.getppid() == supervisor:
        await asyncio.sleep(POLL_SECONDS)
    signal.raise_signal(signal.SIGTERM)


def _supervisor() -> int | None:
    """Return the process ID of the supervisor; None in a process that has none, such as a test."""
    text = os.environ.get(SUPERVISOR_VARIABLE)
    return int(text) if text else None


@cache
def _serving_lock() -> int:
    """Open the file that the serving workers hold a shared lock on, in the directory that all have for metrics."""
    path = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], f"serving-{_supervisor()}.lock")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
