"""The progress of a request that takes long, as lines of JSON before its answer.

A mix of two hours takes seconds to decode and classify. A client that accepts `MEDIA_TYPE` gets, if the answer takes
longer than `PATIENCE_SECONDS`, a response of that type: lines ``{"progress": {"seconds": 1830.0}}`` with how much audio
was processed, and at the end ``{"status": 200, "body": {...}}``, what the response would have been otherwise.
"""

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genreflow.serving.metrics import ERRORS
from genreflow.serving.responses import RequestError

MEDIA_TYPE = "application/x-ndjson"
PATIENCE_SECONDS = 1.0
LINE_SECONDS = 0.5


class Progress:
    """How much audio of a request was processed; the event loop reads what the thread that classifies writes.

    Attributes
    ----------
    seconds : float >= 0 [s]
    abandoned : bool
        Whether the client has gone, so that `report` ends the work.
    """

    def __init__(self) -> None:
        self.seconds, self.abandoned = 0.0, False

    def report(self, seconds: float) -> None:
        """Set `seconds`; RequestError if nobody waits for the result any more."""
        self.seconds = seconds
        if self.abandoned:
            raise RequestError(400, "malformed_request", "The client has closed the connection.")


# Of the request in whose context the code runs; `asyncio` and `anyio` copy the context to tasks and threads.
_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


def progress_report() -> Callable[[float], None] | None:
    """Return the `Progress.report` of the current request, None if its client does not wait for progress."""
    progress = _progress.get()
    return None if progress is None else progress.report


def accepts_progress(headers: Headers) -> bool:
    """Return whether the client takes `MEDIA_TYPE`, which it has to name: ``*/*`` is not enough."""
    return any(part.partition(";")[0].strip() == MEDIA_TYPE for part in headers.get("accept", "").lower().split(","))


async def answer_with_progress(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application that answers with JSON, and send lines of progress first if it takes long.

    Parameters
    ----------
    app : ASGI application
        It does not receive anything: the body of the request is complete.
    scope, receive, send
        Of the request.
    """
    progress, answer = Progress(), _Answer()
    token = _progress.set(progress)
    work = asyncio.ensure_future(app(scope, receive, answer))
    _progress.reset(token)  # the server handles the next request of the connection in this context
    gone = asyncio.ensure_future(receive())  # "http.disconnect", as the body is complete
    try:
        await asyncio.wait({work}, timeout=PATIENCE_SECONDS)
        if work.done():
            await work
            for message in answer.messages:
                await send(message)
            return
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would keep the lines until the end
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not work.done():
            await _send_line(send, {"progress": {"seconds": round(progress.seconds, 1)}})
            await asyncio.wait({work, gone}, timeout=LINE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
        await work
        await _send_line(send, answer.summary(scope), last=True)
    finally:
        progress.abandoned = True
        gone.cancel()
        await asyncio.wait({work, gone})  # the place of the request is taken until its thread has ended


async def _send_line(send: Send, content: object, *, last: bool = False) -> None:
    line = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    await send({"type": "http.response.body", "body": line, "more_body": not last})


class _Answer:
    """The response of the application, kept until it is complete."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def summary(self, scope: Scope) -> dict[str, object]:
        """Return the last line. An error of a library gets the service's own format, as in `ResponseSender`."""
        status = self.messages[0]["status"]
        body = json.loads(b"".join(message.get("body", b"") for message in self.messages[1:]) or b"null")
        if status >= 400:
            code = scope["state"].get("error_code")
            if not code:
                error = RequestError.from_status(status)
                code, body = error.code, error.to_dict()
                scope["state"]["error_code"] = code
            ERRORS.labels(code).inc()
        return {"status": status, "body": body}
