"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable

from genreflow.costs.service_process import ServiceProcess


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait until `condition` returns something true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_workers(service: ServiceProcess, number: int = 2) -> None:
    """Wait until so many workers of a service have started: it is ready as soon as one of them is."""
    wait_for(lambda: service.log.read_text(errors="replace").count("initialized") >= number)
