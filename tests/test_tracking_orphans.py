"""Whose process has ended: what it left unfinished can be ended by the next one."""

import socket
import subprocess

import psutil
import pytest

from genreflow.tracking.orphans import PROCESS, is_orphaned, process_tag


def tag(*, host: str = socket.gethostname(), pid: int | None = None, later: float = 0.0) -> dict[str, str]:
    """Return the tag of a process, by default of this one."""
    process = psutil.Process()
    return {PROCESS: f"{host} {process.pid if pid is None else pid} {process.create_time() + later:.1f}"}


def test_this_process_is_running():
    assert not is_orphaned(process_tag())
    assert not is_orphaned(tag())


def test_a_process_that_has_ended():
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert is_orphaned(tag(pid=ended.pid))


def test_a_process_id_that_was_used_again():
    assert is_orphaned(tag(later=-3600))


@pytest.mark.parametrize("tags", [{}, {PROCESS: ""}, {PROCESS: "host"}, {PROCESS: f"{socket.gethostname()} x 1.0"}])
def test_tags_that_name_no_process(tags):
    assert not is_orphaned(tags)


def test_a_process_on_another_host_is_not_known():
    assert not is_orphaned(tag(host="elsewhere", later=-3600))
