"""Logging: every module logs to `logging.getLogger(__name__)`, and a process that people watch shows it as lines."""

import logging
import sys
from typing import TextIO


def configure_logging(stream: TextIO | None = None, *, prefix: str = "") -> None:
    """Write what genreflow logs, from level INFO on, as plain lines to a stream.

    Only the logger ``genreflow`` is set up; the loggers of other libraries, and the root logger, stay as they are.

    Parameters
    ----------
    stream : text stream, optional
        By default standard output.
    prefix : str
        Before every line, such as ``"[worker 4711] "``.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(logging.Formatter(prefix.replace("%", "%%") + "%(message)s"))
    logger = logging.getLogger("genreflow")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
