"""Logging and exit codes of the command line and the pipeline; modules log to ``logging.getLogger(__name__)``."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from genreflow.errors import GenreflowError
from genreflow.files import is_resource_error


def configure_logging(stream: TextIO | None = None, *, prefix: str = "") -> None:
    """Write log records of genreflow of level INFO and above to a stream, one line each.

    Only the logger ``genreflow`` is configured; the root logger and those of other libraries are not changed.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard output.
    prefix : str
        Written before every message, such as ``"[worker 4711] "``.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(logging.Formatter(prefix.replace("%", "%%") + "%(message)s"))
    logger = logging.getLogger("genreflow")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def exit_with_errors() -> Iterator[None]:
    """End the process with exit code 2 and one sentence on standard error if the block raises what a user can correct.

    That is a `GenreflowError`, or an `OSError` such as that of a full disk. Standard output and standard error show
    characters that the terminal does not have as escape sequences, as file names may contain any.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except GenreflowError as error:
        _exit(str(error))
    except OSError as error:
        if not is_resource_error(error):
            raise
        where = f"{error.filename}: must" if error.filename else "The results must"
        _exit(f"{where} be written completely; got {error.strerror}.")


def _exit(message: str) -> None:
    print(f"genreflow: {message}", file=sys.stderr)
    sys.exit(2)
