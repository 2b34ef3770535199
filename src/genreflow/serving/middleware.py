"""The outermost middleware: it admits a request or answers it with an error before BentoML sees it."""

import hmac
import logging
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from genreflow.serving.messages import RequestBody, ResponseSender, ResponseStalled
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.settings import Settings
from genreflow.serving.upload import UploadForm, read_files

# BentoML sets this logger up; its own access log, which is switched off, writes to it too.
logger = logging.getLogger("bentoml.access")

# Routes of BentoML itself.
HEALTH_PATHS = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
BENTOML_PATHS = HEALTH_PATHS | {"/schema.json"}
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RETRY_AFTER_SECONDS = 1


class AdmissionMiddleware:
    """ASGI middleware around a BentoML application.

    Every request gets a request ID and a line in the access log. Only the routes of the service reach BentoML, whose
    metrics have the path as a label; other paths go to `pages`, which answers unknown ones with 404. A request to a
    route of the API needs the token, if one is set, and one of `Settings.max_requests_per_process` slots. Its upload is
    read here, within limits; the files are ``request.state.files`` and are closed after the response.

    Parameters
    ----------
    app : ASGI application
    pages : ASGI application
        Serves all that is not a route of BentoML.
    routes : mapping of str to UploadForm or None
        Routes of the API, and what they take: files or nothing.
    settings : Settings
    """

    def __init__(
        self, app: ASGIApp, *, pages: ASGIApp, routes: Mapping[str, UploadForm | None], settings: Settings
    ) -> None:
        self.app, self.pages, self.routes, self.settings = app, pages, routes, settings
        self.requests_in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # there are none, and BentoML would count each path
            await send({"type": "websocket.close"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        scope.setdefault("state", {})
        given = Headers(scope=scope).get("x-request-id", "")
        body = RequestBody(scope, receive)
        response = ResponseSender(
            scope,
            send,
            body,
            request_id=given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
            stall_seconds=self.settings.stall_seconds,
        )
        try:
            await self._route(scope, body, response)
        except RequestError as error:
            await ErrorResponse(error)(scope, body, response)
        except ResponseStalled:
            pass  # the server closes the connection, since the response is incomplete
        except Exception:
            logger.exception("Request %s failed.", response.request_id)
            if not response.status:
                await ErrorResponse(RequestError.from_status(500))(scope, body, response)
            elif not response.complete:  # it cannot be replaced any more; the server closes the connection
                raise
        finally:
            if scope["path"] not in HEALTH_PATHS:
                _log_request(scope, response, 1000 * (time.perf_counter() - started))

    async def _route(self, scope: Scope, body: RequestBody, response: ResponseSender) -> None:
        path = scope["path"]
        if path in BENTOML_PATHS:
            await self.app(scope, body, response)
        elif path not in self.routes:
            await self.pages(scope, body, response)
        elif scope["method"] != "POST":
            raise RequestError.from_status(405, {"Allow": "POST"})
        else:
            self._authenticate(Headers(scope=scope))
            with self._slot():
                # A worker that accepted one connection tends to accept the next ones too. A client whose next request
                # would wait connects again instead, and often reaches an idle worker.
                response.close = self.settings.processes > 1 and self.requests_in_progress > 1
                await self._call_api(self.routes[path], scope, body, response)

    async def _call_api(
        self, form: UploadForm | None, scope: Scope, body: RequestBody, response: ResponseSender
    ) -> None:
        if form is None:
            await self.app(scope, body, response)
            return
        files = await read_files(
            Request(scope, body),
            form,
            max_bytes=self.settings.max_bytes,
            stall_seconds=self.settings.stall_seconds,
        )
        try:
            scope["state"]["files"] = files
            await self.app(scope, body, response)
        finally:
            for file in files:
                file.file.close()

    def _authenticate(self, headers: Headers) -> None:
        if not self.settings.token:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # As bytes, since a header may hold characters beyond ASCII, and in constant time.
        matches = hmac.compare_digest(token.strip().encode("latin-1"), self.settings.token.encode())
        if scheme.lower() != "bearer" or not matches:
            message = "The header 'Authorization: Bearer <token>' with the token of the service is required."
            raise RequestError(401, "unauthorised", message, {"WWW-Authenticate": 'Bearer realm="genreflow"'})

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Count a request while it is in progress, or refuse it."""
        if self.requests_in_progress >= self.settings.max_requests_per_process:
            message = (
                f"Too many concurrent requests (limit {self.settings.max_requests}); "
                f"retry after {RETRY_AFTER_SECONDS} s."
            )
            raise RequestError(429, "overloaded", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self.requests_in_progress += 1
        try:
            yield
        finally:
            self.requests_in_progress -= 1


def _log_request(scope: Scope, response: ResponseSender, milliseconds: float) -> None:
    host, port = scope.get("client") or ("-", 0)
    logger.info(
        "%s:%s %s %s %s %.1fms id=%s%s",
        host,
        port,
        scope["method"],
        quote(scope["path"], safe="/")[:200],  # a path may contain a line break
        response.status or "aborted",
        milliseconds,
        response.request_id,
        f" error={response.error_code}" if response.error_code else "",
    )
