"""Which process did something, and whether it has ended."""

import os
import socket
from typing import TypedDict

import psutil

# Process IDs are used again, but not within seconds.
_TOLERANCE_S = 2.0
# Linux: the inode of the namespace in which a machine starts. A container has another one, and its own process IDs.
_PID_NAMESPACE, _INITIAL_NAMESPACE = "/proc/self/ns/pid", 0xEFFFFFFC


class ProcessRecord(TypedDict):
    """What identifies a process for good: host, process ID, and start [s since the epoch]."""

    host: str
    pid: int
    started: float


def this_process() -> ProcessRecord:
    """Return the record of this process."""
    process = psutil.Process()
    return {"host": _host(), "pid": process.pid, "started": round(process.create_time(), 1)}


def has_ended(process: ProcessRecord) -> bool | None:
    """Return whether a process has ended; None if it ran on another host, where this one cannot see it."""
    if process["host"] != _host():
        return None
    try:
        found = psutil.Process(process["pid"])
        # A killed process is a zombie until its parent asks how it ended.
        is_zombie = found.status() == psutil.STATUS_ZOMBIE
        return is_zombie or abs(found.create_time() - process["started"]) > _TOLERANCE_S
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return None


def _host() -> str:
    try:
        namespace = os.stat(_PID_NAMESPACE).st_ino
    except OSError:  # not Linux
        return socket.gethostname()
    return socket.gethostname() + ("" if namespace == _INITIAL_NAMESPACE else f"/{namespace}")
