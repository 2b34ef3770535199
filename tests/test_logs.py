"""Log records of genreflow become lines; other loggers are left alone."""

import io
import logging

import pytest

from genreflow.logs import configure_logging


@pytest.fixture
def stream():
    """A stream that genreflow logs to; its logger is restored afterwards."""
    logger = logging.getLogger("genreflow")
    before = (logger.handlers, logger.level, logger.propagate)
    yield io.StringIO()
    logger.handlers, logger.level, logger.propagate = before


def test_records_become_lines_with_the_prefix(stream):
    configure_logging(stream, prefix="[100 %] ")
    logging.getLogger("genreflow.training.fit").info("epoch %d", 3)
    logging.getLogger("genreflow.training.fit").debug("batch")
    assert stream.getvalue() == "[100 %] epoch 3\n"


def test_a_second_call_replaces_the_first(stream):
    configure_logging(io.StringIO())
    configure_logging(stream)
    logging.getLogger("genreflow").warning("once")
    assert stream.getvalue() == "once\n"


def test_other_loggers_are_not_changed(stream):
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("mlflow").level)
    configure_logging(stream)
    logging.getLogger("mlflow").error("not ours")
    assert stream.getvalue() == ""
    assert (list(root.handlers), root.level, logging.getLogger("mlflow").level) == before
