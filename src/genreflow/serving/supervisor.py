"""What BentoML's supervisor does for this service: checks before it listens, and its end if no worker can start."""

import ipaddress
import logging
import os
import signal
import socket
import tempfile
from pathlib import Path
from types import FrameType

import click

from genreflow.bundle_files import verify_files
from genreflow.files import require_writable
from genreflow.serving.settings import Settings
from genreflow.serving.worker import END_SERVICE, SUPERVISOR_VARIABLE, StartError, start_errors

# BentoML sets this logger up.
logger = logging.getLogger("bentoml.serve")


def prepare_supervisor(settings: Settings, *, working_dir: str, address: tuple[str, int]) -> None:
    """Check that the service can start, and prepare its end; in a process other than ``bentoml serve``, do nothing.

    Parameters
    ----------
    settings : Settings
    working_dir : str
        Directory in which the workers will run.
    address : (host, port)
        Where to listen unless the command line says otherwise.

    Raises
    ------
    StartError
        The service cannot listen on its host and port, there is no directory for temporary files, or the bundle is
        missing or damaged.
    """
    context = click.get_current_context(silent=True)
    if context is None or not {"bento", "host", "port"} <= context.params.keys():
        return
    host = context.params["host"] or address[0]
    port = address[1] if context.params["port"] is None else context.params["port"]
    with start_errors():
        tempfile.gettempdir()  # BentoML keeps sockets in it, the workers large uploads
        verify_files(Path(working_dir, settings.bundle))
    if settings.prediction_log:
        directory = prepare_folder("GENREFLOW_PREDICTION_LOG", settings.prediction_log)
        logger.info("Predictions are logged in %s for %d days.", directory, settings.prediction_log_days)
    if settings.feedback_dir:
        directory = prepare_folder("GENREFLOW_FEEDBACK_DIR", settings.feedback_dir)
        kept = "with" if settings.feedback_audio else "without"
        logger.info("Predictions are kept in %s for %d days, %s the audio.", directory, settings.feedback_days, kept)
    check_address(host, port)
    if ipaddress.ip_address(host).is_unspecified:  # BentoML logs "localhost"
        logger.info(
            "Listening on all addresses of this machine, port %d%s.",
            port,
            "" if settings.token else ", without a token",
        )
    _end_when_a_worker_asks(context)


def prepare_folder(variable: str, folder: str) -> Path:
    """Have the workers, which run in another directory, write where a variable says it here, and return where that is.

    A folder that cannot be written is no reason not to serve; the workers go on trying.
    """
    directory = Path(folder).absolute()
    os.environ[variable] = str(directory)
    try:
        require_writable(directory)
    except OSError as error:
        logger.error("%s: must be writable, for %s; got %s.", directory, variable, error.strerror)
    return directory


def check_address(host: str, port: int) -> None:
    """Raise StartError if this process cannot listen on an address: circus would end in a traceback."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise StartError(f"--host must be an IP address; got {host!r}.") from None
    try:
        with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
    except (OSError, OverflowError) as error:
        reason = str((error.strerror if isinstance(error, OSError) else None) or error).removesuffix(".")
        raise StartError(
            f"host and port must be free to listen on; got {host}:{port}: {reason}; another server may be running, and "
            "`bentoml serve --port 3001` takes another port."
        ) from None


def _end_when_a_worker_asks(context: click.Context) -> None:
    """Stop all workers and end with exit code 2 on the signal of `genreflow.serving.worker.end_service`."""
    asked = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.raise_signal(signal.SIGTERM)  # circus stops the workers

    def exit_with_error() -> None:
        if asked:
            context.exit(2)

    signal.signal(END_SERVICE, end)
    context.call_on_close(exit_with_error)
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())
