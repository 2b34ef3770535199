"""The HTTP client with which tests call a running service, and when all of it runs."""

import httpx

from genreflow.costs.service_process import ServiceProcess
from waiting import wait_for


def client_of(service: ServiceProcess, **options) -> httpx.Client:
    """Return a client that waits longer than any answer takes, also on a busy machine.

    It reuses no connection that was idle for a second. The service closes one after 5 s (uvicorn), and so does httpx by
    default: a request that is sent at that moment fails.
    """
    return httpx.Client(base_url=service.url, timeout=300, limits=httpx.Limits(keepalive_expiry=1), **options)


def wait_for_workers(service: ServiceProcess, number: int = 2) -> None:
    """Wait until so many workers of a service have started: it is ready as soon as one of them is."""
    wait_for(lambda: service.log.read_text(errors="replace").count("initialized") >= number)
