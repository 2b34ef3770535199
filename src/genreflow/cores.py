"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    On Linux that is its CPU affinity, which containers and batch systems set; elsewhere all cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
