"""Logging of the command line and the pipeline; every module logs to ``logging.getLogger(__name__)``."""

import logging
import sys
from typing import TextIO


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
