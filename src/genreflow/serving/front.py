"""What every request passes first: its id, its place, its token; and the one shape that every error has."""

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genreflow.serving.metrics import metrics
from genreflow.serving.settings import Settings
from genreflow.serving.upload import Refusal

# Where BentoML's own access log goes, which this one replaces.
LOG = logging.getLogger("bentoml.access")
QUIET = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RETRY_SECONDS = 1
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


class Front:
    """ASGI middleware, outside all that BentoML adds.

    A request that fits no route, or to a mount, goes no further than here: BentoML would keep figures for each path
    that anybody asks for. What is posted needs a place among `Settings.max_requests` and, if there is one, the token.

    Parameters
    ----------
    app : ASGI application
    routes : sequence of BaseRoute
        Its routes; looked at when a request comes.
    limits : Settings
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], limits: Settings) -> None:
        self.app, self.routes, self.limits = app, routes, limits
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        body = _Body(scope, receive)
        answer = _Answer(send, body, given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex)
        try:
            await self._pass_on(scope, body, answer)
        except HTTPException as error:
            failed = PlainTextResponse(status_code=error.status_code, headers=error.headers)
            await failed(scope, body, answer)
        except Exception:
            LOG.exception("request %s failed", answer.id)
            if answer.status:  # it has begun, and can only be broken off
                raise
            await PlainTextResponse(status_code=500)(scope, body, answer)
        finally:
            if scope["path"] not in QUIET:
                _log(scope, answer, 1000 * (time.perf_counter() - begin))

    async def _pass_on(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        for route in self.routes:
            match, inner = route.matches(scope)
            if match is Match.FULL and isinstance(route, Mount):
                await route.handle({**scope, **inner}, receive, answer)
                return
            if match is not Match.NONE:
                break
        else:
            raise HTTPException(404)
        if scope["method"] != "POST" or match is Match.PARTIAL:
            await self.app(scope, receive, answer)
            return
        if refusal := self._refuse(Headers(scope=scope)):
            await refusal.response()(scope, receive, answer)
            return
        self._under_way += 1
        try:
            await self.app(scope, receive, answer)
        finally:
            self._under_way -= 1

    def _refuse(self, headers: Headers) -> Refusal | None:
        if self.limits.token:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            # Bytes, since a header may hold other letters than ASCII; compared in constant time.
            same = hmac.compare_digest(token.strip().encode("latin-1"), self.limits.token.encode())
            if scheme.lower() != "bearer" or not same:
                message = "A token is needed here; send it as 'Authorization: Bearer <token>'."
                return Refusal(401, "unauthorised", message, {"WWW-Authenticate": 'Bearer realm="genreflow"'})
        if self._under_way >= self.limits.max_requests:
            message = f"{self._under_way} requests are under way, as many as are taken on; try again in a moment."
            return Refusal(429, "overloaded", message, {"Retry-After": str(RETRY_SECONDS)})
        return None


class _Body:
    """Receives a body, and knows whether all of it came."""

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
        if self.complete or self._waits_for_leave or _Body.drains >= DRAINS:
            return
        left, end = DRAIN_BYTES, time.monotonic() + DRAIN_SECONDS
        _Body.drains += 1
        try:
            while not self.complete and left > 0:
                async with asyncio.timeout(min(DRAIN_PAUSE_SECONDS, end - time.monotonic())):
                    left -= len((await self()).get("body", b""))
        except TimeoutError:
            pass
        finally:
            _Body.drains -= 1


class _Answer:
    """Sends an answer on, with its id, and holds an error back until it is seen to have our shape."""

    def __init__(self, send: Send, received: _Body, id: str) -> None:
        self.id, self.status, self.code = id, 0, ""
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
            if not self._received.complete:  # otherwise the server would read on for ever
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


def _log(scope: Scope, answer: _Answer, milliseconds: float) -> None:
    host, port = scope.get("client") or ("-", 0)
    LOG.info(
        "%s:%s %s %s %s %.1fms id=%s%s",
        host,
        port,
        scope["method"],
        quote(scope["path"], safe="/")[:200],  # a path may hold the end of a line
        answer.status or "broken off",
        milliseconds,
        answer.id,
        f" error={answer.code}" if answer.code else "",
    )
