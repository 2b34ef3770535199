"""The health of a worker: its start, and probes after unexpected errors."""

import asyncio
import contextlib

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from genreflow.serving.middleware import AdmissionMiddleware
from genreflow.serving.settings import Settings


class Application:
    """An application that answers ``/classify`` with `status`, or raises if that is None."""

    def __init__(self):
        self.status, self.classified = 200, 0
        routes = [Route("/classify", self.classify, methods=["POST"])]
        for path in ("/readyz", "/livez", "/healthz"):
            routes.append(Route(path, self.probe))
        self.middleware = AdmissionMiddleware(
            Starlette(routes=routes), pages=Starlette(), routes={"/classify": None}, settings=Settings()
        )

    async def classify(self, request):
        self.classified += 1
        if self.status is None:
            raise RuntimeError("metrics are unusable")
        return JSONResponse({}, status_code=self.status)

    async def probe(self, request):
        return PlainTextResponse("")

    def statuses(self, *requests):
        """Send requests like ``POST /classify``, and return the statuses of the responses."""

        async def send():
            transport = httpx.ASGITransport(self.middleware)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [(await client.request(*request.split())).status_code for request in requests]

        return asyncio.run(send())


@pytest.fixture
def application():
    return Application()


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz"])
@pytest.mark.parametrize("status", [None, 500, 503, 504])
def test_probes_fail_while_answers_do(application, path, status):
    application.status = status
    classified = application.statuses("POST /classify", f"GET {path}", f"GET {path}")
    assert classified == [status or 500, 503, 503]
    application.status = 200
    assert application.statuses(f"GET {path}", "POST /classify", f"GET {path}") == [200, 200, 200]


def test_a_failure_that_does_not_concern_other_clips_leaves_the_worker_ready(application):
    application.status = 500
    application.statuses("POST /classify")
    application.status = 200
    assert application.statuses("GET /readyz", "GET /readyz") == [200, 200]
    assert application.classified == 2  # one by the client, one by the first probe


@pytest.mark.parametrize("status", [200, 400, 413, 415, 422, 429, 507])
def test_other_statuses_do_not_concern_the_health(application, status):
    application.status = status
    assert application.statuses("POST /classify", "GET /readyz", "GET /livez") == [status, 200, 200]
    assert application.classified == 1


async def raise_at_once(scope, receive, send):
    raise OSError(24, "Too many open files")


async def start(app):
    """Return the types of the messages that a server gets when it starts an application, and its exception."""
    middleware, messages = AdmissionMiddleware(app, pages=Starlette(), routes={}, settings=Settings()), []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        messages.append(message["type"])

    with pytest.raises((OSError, RuntimeError)):
        await middleware({"type": "lifespan"}, receive, send)
    return messages


def test_an_error_in_the_start_of_the_application_ends_the_worker():
    """A server takes an exception without this message for an application without lifespan, and serves."""

    @contextlib.asynccontextmanager
    async def fail_in_lifespan(app):
        raise RuntimeError("no")
        yield

    assert asyncio.run(start(raise_at_once)) == ["lifespan.startup.failed"]
    assert asyncio.run(start(Starlette(lifespan=fail_in_lifespan))) == ["lifespan.startup.failed"]
