"""The ASGI messages of one request: its body as it is received and its response as it is sent."""

import asyncio
import time
from typing import ClassVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from genreflow.serving.metrics import ERRORS
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.upload import MIN_BYTES_PER_SECOND

# How much of an unwanted body is read and discarded [B], how long [s], and the longest pause in it [s]. A client whose
# connection is closed while it sends may see a connection error in place of the response.
DRAIN_BYTES, DRAIN_SECONDS, DRAIN_PAUSE_SECONDS = 32_000_000, 2.0, 0.25
# Bodies that are discarded at the same time; under overload the others are cut off, to keep memory bounded.
MAX_DRAINS = 32


class ResponseStalled(OSError):
    """The client does not read its response."""


class RequestBody:
    """Receive the body of a request and keep track of whether it is complete.

    Parameters
    ----------
    scope : Scope
    receive : Receive
        The server's.

    Attributes
    ----------
    complete : bool
        Whether the server has no more of it to pass on.
    """

    _drains: ClassVar[int] = 0

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self.complete = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        # The client waits for "100 Continue", which the server sends when the body is asked for.
        self._not_started = "expect" in headers
        self._receive = receive

    async def __call__(self) -> Message:
        self._not_started = False
        message = await self._receive()
        self.complete = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Read the rest of the body, within limits, and discard it."""
        if self.complete or self._not_started or RequestBody._drains >= MAX_DRAINS:
            return
        remaining, deadline = DRAIN_BYTES, time.monotonic() + DRAIN_SECONDS
        RequestBody._drains += 1
        try:
            while not self.complete and remaining > 0:
                async with asyncio.timeout(min(DRAIN_PAUSE_SECONDS, deadline - time.monotonic())):
                    remaining -= len((await self()).get("body", b""))
        except TimeoutError:
            pass
        finally:
            RequestBody._drains -= 1


class ResponseSender:
    """Send a response with its request ID, and errors of libraries in the service's own format.

    Parameters
    ----------
    scope : Scope
        Its ``state`` receives ``error_code``, the code of an error response.
    send : Send
        The server's.
    body : RequestBody
        Of the same request.
    request_id : str
    stall_seconds : float > 0 [s]
        Longest time in which the client reads nothing.

    Attributes
    ----------
    status : int
        As sent; 0 before.
    complete : bool
        Whether all of it was sent.
    close : bool
        Whether to close the connection after the response.
    """

    def __init__(self, scope: Scope, send: Send, body: RequestBody, *, request_id: str, stall_seconds: float) -> None:
        self.request_id, self.status, self.complete, self.close = request_id, 0, False, False
        self._scope, self._send, self._body = scope, send, body
        self._stall_seconds = stall_seconds
        self._replaced = False

    @property
    def error_code(self) -> str:
        return self._scope["state"].get("error_code", "")

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return  # the body of the response that was replaced
        if message["type"] == "http.response.start" and message["status"] >= 400 and not self.error_code:
            self._replaced = True
            allow = Headers(raw=message.get("headers", [])).get("allow")
            error = RequestError.from_status(message["status"], {"Allow": allow} if allow else None)
            await ErrorResponse(error)(self._scope, self._body, self._forward)
        else:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self.status >= 400 and not self._body.complete and not message.get("more_body"):
            # The client has the whole response while the rest of what it sends is discarded.
            await self._send_in_time({**message, "more_body": True})
            await self._body.drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send_in_time(message)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = MutableHeaders(scope=message)
        headers["X-Request-ID"] = self.request_id
        if self.status >= 400:
            ERRORS.labels(self.error_code).inc()
        else:
            await self._body.drain()
        if self.close or not self._body.complete:  # the server would go on reading an incomplete body without end
            headers["Connection"] = "close"

    async def _send_in_time(self, message: Message) -> None:
        seconds = self._stall_seconds + len(message.get("body", b"")) / MIN_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(seconds):
                await self._send(message)
            self.complete = message["type"] == "http.response.body" and not message.get("more_body")
        except TimeoutError:
            raise ResponseStalled("The client does not read its response.") from None
