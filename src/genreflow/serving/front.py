"""What every request passes first: its id, its place, its token."""

import asyncio
import hmac
import re
import time
import uuid
from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from genreflow.serving.exchange import LOG, Answer, Body
from genreflow.serving.prefork import Tally
from genreflow.serving.settings import Settings
from genreflow.serving.upload import Refusal

QUIET = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RETRY_SECONDS = 1
# The longest that a client waits, most of it for its turn: no request is ten seconds of work.
ANSWER_SECONDS = 300


class Front:
    """ASGI middleware, outside all that BentoML adds.

    A request that fits no route, or to a mount, goes no further than here: BentoML would keep figures for each path
    that anybody asks for. What is posted needs a place among `Settings.max_requests` and, if there is one, the token,
    and is answered within `ANSWER_SECONDS`.

    Parameters
    ----------
    app : ASGI application
    routes : sequence of BaseRoute
        Its routes; looked at when a request comes.
    limits : Settings
    under_way : Tally
        Requests that have a place, in all processes.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], limits: Settings, under_way: Tally) -> None:
        self.app, self.routes, self.limits, self.under_way = app, routes, limits, under_way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        body = Body(scope, receive)
        answer = Answer(send, body, given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex, self.under_way)
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

    async def _pass_on(self, scope: Scope, receive: Receive, answer: Answer) -> None:
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
        self.under_way.add(1)
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as limit:
                await self.app(scope, receive, answer)
        except TimeoutError:
            if answer.status or not limit.expired():
                raise
            raise HTTPException(504) from None
        finally:
            self.under_way.add(-1)

    def _refuse(self, headers: Headers) -> Refusal | None:
        if self.limits.token:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            # Bytes, since a header may hold other letters than ASCII; compared in constant time.
            same = hmac.compare_digest(token.strip().encode("latin-1"), self.limits.token.encode())
            if scheme.lower() != "bearer" or not same:
                message = "A token is needed here; send it as 'Authorization: Bearer <token>'."
                return Refusal(401, "unauthorised", message, {"WWW-Authenticate": 'Bearer realm="genreflow"'})
        if (under_way := self.under_way.total) >= self.limits.max_requests:
            message = f"{under_way} requests are under way, as many as are taken on; try again in a moment."
            return Refusal(429, "overloaded", message, {"Retry-After": str(RETRY_SECONDS)})
        return None


def _log(scope: Scope, answer: Answer, milliseconds: float) -> None:
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
