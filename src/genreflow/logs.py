"""Logging and exit codes of the command line and the pipeline; modules log to ``logging.getLogger(__name__)``."""

import io
import json
import logging
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import TextIO

from genreflow.errors import DamagedFileError, GenreflowError
from genreflow.file_names import one_line
from genreflow.files import distrust, is_resource_error

INTERRUPTED = 130  # exit code of a process that Ctrl-C ends, as shells have it
TRACEBACK_VARIABLE = "GENREFLOW_TRACEBACK"
_LONGEST_REASON = 300  # characters
_CAUSES: dict[type[Exception] | tuple[type[Exception], ...], str] = {
    MemoryError: "There must be enough memory for the data",
    RecursionError: "Files must not be nested deeply",
    (json.JSONDecodeError, UnicodeDecodeError): "A file that is read must be undamaged text",
    (zipfile.BadZipFile, zlib.error, EOFError): "A file that is read must be undamaged and complete",
    BrokenExecutor: "Worker processes must not be killed, as for too little memory",
}
# By the name of the class, since the libraries are not imported where they are not needed.
_DATABASE = "The database must be reachable, undamaged and writable"
_S3 = "The S3 store must be reachable, and its credentials allow what is read or written"
_LIBRARY_CAUSES = {
    "sqlalchemy.exc.SQLAlchemyError": _DATABASE,
    "sqlite3.Error": _DATABASE,
    "alembic.util.exc.CommandError": _DATABASE,
    "optuna.exceptions.StorageInternalError": "Optuna's storage must be reachable, undamaged and writable",
    "mlflow.exceptions.MlflowException": "MLflow's store must be reachable, undamaged and writable",
    "botocore.exceptions.BotoCoreError": _S3,
    "botocore.exceptions.ClientError": _S3,
    "boto3.exceptions.Boto3Error": _S3,
    "dvc.exceptions.DvcException": "The folder must be a project of DVC",
}


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

    That is a `GenreflowError`, and what `describe` knows: among others, a full disk, a damaged file or database, and
    too little memory. These have a traceback if the environment variable GENREFLOW_TRACEBACK is set. Ctrl-C ends the
    process with exit code 130. Anything else is a bug and keeps its traceback.

    Standard output and standard error show characters that the terminal does not have as escape sequences, as file
    names may contain any.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except GenreflowError as error:
        if isinstance(error, DamagedFileError):
            distrust(error.path)
        _exit(str(error))
    except KeyboardInterrupt:
        _exit("interrupted.", INTERRUPTED)
    except Exception as error:
        sentence = describe(error)
        if sentence is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        _exit(f"{sentence} ({TRACEBACK_VARIABLE}=1 shows where).")


def describe(error: Exception) -> str | None:
    """Return a sentence, without its period, about an exception with a cause outside of the program; else None.

    Parameters
    ----------
    error : Exception
        Of Python, or of a library that is imported already.
    """
    # SQLAlchemy keeps the message of the database there; Optuna replaces the exceptions of SQLAlchemy.
    original = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None)
    reason = " ".join(str(original or error).split()).removesuffix(".") or type(error).__name__
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]} …"
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        _, target, reason = error.args[0][-1]  # of each file that could not be copied
        return f"{one_line(os.fsdecode(target))}: must be copied completely; got {reason}"
    if isinstance(error, OSError):
        # Of two files, the second one is written.
        name = error.filename2 or error.filename
        named = f"{one_line(os.fsdecode(name))}: " if isinstance(name, str | bytes) else ""
        if is_resource_error(error):
            return f"{named or 'The results '}must be written completely; got {error.strerror}"
        return f"{named or 'What is read or written '}must be accessible; got {error.strerror or reason}"
    for kinds, sentence in _CAUSES.items():
        if isinstance(error, kinds):
            return f"{sentence}; got {reason}"
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    return next((f"{sentence}; got {reason}" for name, sentence in _LIBRARY_CAUSES.items() if name in names), None)


def _exit(message: str, code: int = 2) -> None:
    print(f"genreflow: {message}", file=sys.stderr)
    sys.exit(code)
