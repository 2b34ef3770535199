"""All that is used of BentoML beyond its public API, with the problems of BentoML 1.4.39 that make it necessary."""

import asyncio
import logging
from typing import Any, cast

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.log import SERVER_LOGGING_CONFIG
from bentoml._internal.server.http import traffic
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genreflow.serving.json_logs import JsonFormatter


def configured_address() -> tuple[str, int]:
    """Return the host and port on which ``bentoml serve`` listens unless its command line says otherwise.

    BentoML 1.4.39 ends in a traceback of circus if they are in use. To check them before, they must be known: they come
    from ``BENTOML_CONFIG``, the service's configuration or BentoML's defaults, and no public function returns them.
    """
    http = BentoMLContainer.http
    return http.host.get(), http.port.get()


def log_as_json() -> None:
    """Write the log of this process, supervisor or worker, as JSON.

    BentoML 1.4.39 has no setting for its format. Its supervisor configures logging once more when circus starts, from
    the same mapping.
    """
    config: dict[str, Any] = SERVER_LOGGING_CONFIG
    config["formatters"] = {name: {"()": JsonFormatter} for name in config["formatters"]}
    logging.captureWarnings(True)
    for name in ("", *config["loggers"]):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JsonFormatter())


class TimeoutMiddleware:
    """BentoML's ``TimeoutMiddleware`` without its memory leak.

    BentoML 1.4.39 starts a timer with ``loop.call_later`` for every request and never cancels it. The timer keeps the
    request's future, and with it the response, until ``traffic.timeout`` has passed: at 300 s and full load 40 MiB a
    minute. The middleware cannot be switched off, since ``traffic.timeout`` must be a number. Here the timer ends with
    the request.

    Parameters
    ----------
    app : ASGI application
    timeout : float > 0 [s]
        Longest time until the response begins; then it is one with status 504.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.app, self.timeout = app, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        timer = asyncio.timeout(self.timeout)

        async def send_and_stop_timer(message: Message) -> None:
            if not timer.expired():
                timer.reschedule(None)
            await send(message)

        try:
            async with timer:
                await self.app(scope, receive, send_and_stop_timer)
        except TimeoutError:
            if not timer.expired():
                raise
            await Response(status_code=504)(scope, receive, send)


def replace_timeout_middleware(app: Starlette) -> None:
    """Replace BentoML's ``TimeoutMiddleware`` in an application that has not served a request yet."""
    original: object = traffic.TimeoutMiddleware
    app.user_middleware = [
        Middleware(TimeoutMiddleware, timeout=cast(float, entry.kwargs["timeout"])) if entry.cls is original else entry
        for entry in app.user_middleware
    ]
