"""Log records of genreflow become lines; other loggers are left alone."""

import io
import logging
import os
import subprocess
import sys

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


# What a user can cause, as code that raises it, and a word of the sentence.
CAUSES = [
    ("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/data/x')", "/data/x"),
    ("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))", "No space left"),
    ("open('/nowhere/x')", "/nowhere/x"),
    ("open('/')", "/"),
    ("raise PermissionError(13, 'Permission denied', 'reports/x')", "reports/x"),
    ("raise ConnectionResetError('reset by peer')", "reset by peer"),
    ("raise MemoryError", "memory"),
    ("numpy.zeros(1 << 56)", "memory"),
    ("json.loads('[1, 2')", "Expecting"),
    ("b'\\xff'.decode()", "0xff"),
    ("f = lambda n: f(n + 1); f(0)", "nested"),
    ("zipfile.ZipFile(io.BytesIO(b'no'))", "zip"),
    (
        "raise OSError(errno.ENOSPC, 'No space left on device', 'source.wav', None, '/full/target.wav')",
        "/full/target.wav:",
    ),
    ("raise shutil.Error([('/a', '/full/b', 'No space left on device')])", "/full/b:"),
    ("zlib.decompress(b'no')", "undamaged"),
    ("sqlalchemy.create_engine('sqlite:////proc/x.db').connect()", "database"),
    ("sqlite3.connect('/proc/x.db')", "database"),
    ("raise optuna.exceptions.StorageInternalError('broken')", "broken"),
    ("raise mlflow.exceptions.MlflowException('broken')", "broken"),
    ("raise concurrent.futures.process.BrokenProcessPool('killed')", "killed"),
]
PROGRAM = """
import concurrent.futures.process, errno, io, json, os, shutil, sqlite3, sys, zipfile, zlib
from genreflow.logs import exit_with_errors
with exit_with_errors():
    for name in ("numpy", "sqlalchemy", "optuna", "mlflow"):
        if name in sys.argv[1]:
            globals()[name] = __import__(name)
    exec(sys.argv[1])
"""


def end(code, **environment):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, code]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize(("code", "word"), CAUSES)
def test_what_a_user_can_cause_is_one_sentence(code, word):
    done = end(code)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("genreflow: ")
    assert word in line


@pytest.mark.parametrize("code", ["raise ValueError('bug')", "{}['bug']", "None.bug", "assert not 'bug'"])
def test_a_bug_keeps_its_traceback(code):
    done = end(code)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_traceback_of_an_outside_cause_can_be_shown():
    assert "Traceback" in end("open('/nowhere/x')", GENREFLOW_TRACEBACK="1").stderr


def test_ctrl_c_is_exit_code_130():
    done = end("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "genreflow: interrupted.\n")
