"""One request's body and answer as they pass the front; the one shape that every error has."""

import asyncio
import json
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from genreflow.serving.metrics import metrics
from genreflow.serving.prefork import Tally

# Where BentoML's own access log goes, which this one replaces.
LOG = logging.getLogger("bentoml.access")
# What is still read, and thrown away, of a body that nobody wants, as long as it keeps coming: a client that is cut off
# while it sends may see a broken connection in place of the answer.
DRAIN_BYTES = 32_000_000
DRAIN_PAUSE_SECONDS = 0.25
DRAIN_SECONDS = 2.0
# Bodies thrown away at a time. Under an overload memory matters more than that the last client reads why.
DRAINS = 32

# What is said for an error that has no words of ours: code and sentence by status.
WORDS = {
    400: ("malformed_request", "The request cannot be read."),
    404: ("not_found", "There is nothing here; /docs.json lists what there is."),
    405: ("method_not_allowed", "This address does not take this method; /docs.json says which."),
    413: ("too_large", "The request is too large."),
    500: ("internal", "The service failed; its log says more, under the id of this answer's X-Request-ID."),
    503: ("not_ready", "The service is not ready."),
    504: ("too_slow", "The request could not be answered in time."),
}


class Body:
    """Receives a body, and knows whether all of it came.

    Parameters
    ----------
    scope : Scope
        Of the request.
    receive : Receive
        The server's.

    Attributes
    ----------
    complete : bool
        Whether nothing more of it is to come.
    """

    drains = 0

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self.complete = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._waits_for_leave = "expect" in headers
        self._receive = receive

    async def __call__(self) -> Message:
        self._waits_for_leave = False  # which the server gives when it is asked for the body
        message = await self._receive()
        self.complete = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Read what comes, within the limits, and throw it away."""
        if self.complete or self._waits_for_leave or Body.drains >= DRAINS:
            return
        left, end = DRAIN_BYTES, time.monotonic() + DRAIN_SECONDS
        Body.drains += 1
        try:
            while not self.complete and left > 0:
                async with asyncio.timeout(min(DRAIN_PAUSE_SECONDS, end - time.monotonic())):
                    left -= len((await self()).get("body", b""))
        except TimeoutError:
            pass
        finally:
            Body.drains -= 1


class Answer:
    """Sends an answer on, with its id, and holds an error back until it is seen to have our shape.

    Parameters
    ----------
    send : Send
        The server's.
    received : Body
        Of the request that is answered.
    id : str
        Of the request.
    under_way : Tally
        Requests of all processes.

    Attributes
    ----------
    status : int
        As sent, 0 before.
    code : str
        Of an error, as sent.
    """

    def __init__(self, send: Send, received: Body, id: str, under_way: Tally) -> None:
        self.id, self.status, self.code = id, 0, ""
        self._under_way = under_way
        self._send, self._received = send, received
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            if self.status < 400:
                await self._received.drain()
            # Of a body that did not end, the server would read on for ever; and clients whose connections are all with
            # one process connect again, which the others are faster to take.
            if not self._received.complete or self._under_way.is_uneven:
                headers["Connection"] = "close"
            if self.status >= 400:
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_error(self._start)
            return
        await self._send(message)

    async def _send_error(self, start: Message) -> None:
        self.code = _code(self._body)
        if not self.code:
            self.code, sentence = WORDS.get(self.status) or WORDS[500 if self.status >= 500 else 400]
            self._body = json.dumps({"error": {"code": self.code, "message": sentence}}).encode()
            headers = MutableHeaders(scope=start)
            headers["Content-Type"], headers["Content-Length"] = "application/json", str(len(self._body))
        self._start = None
        metrics().refused.labels(self.code).inc()
        await self._send(start)
        # The client has its answer while the rest of what it sends is thrown away.
        await self._send({"type": "http.response.body", "body": self._body, "more_body": True})
        await self._received.drain()
        await self._send({"type": "http.response.body", "body": b""})


def _code(body: bytes) -> str:
    """The code of an error in our shape, else nothing."""
    try:
        error = json.loads(body)["error"]
        return error["code"] if set(error) == {"code", "message"} else ""
    except (ValueError, TypeError, KeyError):
        return ""
