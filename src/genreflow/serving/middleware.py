"""The outermost middleware: it admits a request or answers it with an error before BentoML sees it."""

import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from urllib.parse import quote

from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from genreflow.serving.cross_origin import check_host, check_origin
from genreflow.serving.health import Health
from genreflow.serving.messages import RequestBody, ResponseSender, ResponseStalled
from genreflow.serving.progress import accepts_progress, answer_with_progress
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.settings import Settings
from genreflow.serving.slots import Slots
from genreflow.serving.upload import UploadForm, read_files
from genreflow.serving.worker import run_lifespan

# BentoML sets this logger up; its own access log, which is switched off, writes to it too.
logger = logging.getLogger("bentoml.access")

# Routes of BentoML itself.
PROBE_PATHS = frozenset({"/livez", "/healthz", "/readyz"})
UNLOGGED_PATHS = PROBE_PATHS | {"/metrics"}
BENTOML_PATHS = UNLOGGED_PATHS | {"/schema.json"}
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# Files up to this size stay in memory, such as clips of half a minute [B]; less while many bodies arrive.
MEMORY_BYTES, CROWDED_MEMORY_BYTES = 2_000_000, 64_000


class AdmissionMiddleware:
    """ASGI middleware around a BentoML application.

    Every request gets a request ID and a line in the access log. Only the routes of the service reach BentoML, whose
    metrics have the path as a label; other paths go to `pages`, which answers unknown ones with 404. A request to a
    route of the API needs the token, or must not come from a page of another site. Its upload is read here, within
    limits; the files are ``request.state.files`` and are closed after the response. It takes one of
    `Settings.max_uploads_per_process` slots until its body is complete, and only then one of
    `Settings.max_requests_per_process`.

    Parameters
    ----------
    app : ASGI application
    pages : ASGI application
        Serves all that is not a route of BentoML.
    routes : mapping of str to UploadForm or None
        Routes of the API, and what they take: files or nothing.
    settings : Settings
    before_metrics : callable, optional
        Called before metrics are reported.
    posted_pages : collection of str
        Paths of `pages` that are part of the API: they take POST, and need the token like its routes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        pages: ASGIApp,
        routes: Mapping[str, UploadForm | None],
        settings: Settings,
        before_metrics: Callable[[], None] | None = None,
        posted_pages: Collection[str] = (),
    ) -> None:
        self.posted_pages = posted_pages
        self.app, self.pages, self.routes, self.settings = app, pages, routes, settings
        self.before_metrics = before_metrics
        self.host_names, self.health = settings.host_names, Health(app)
        self.requests = Slots(
            settings.max_requests_per_process, f"Too many concurrent requests (limit {settings.max_requests})"
        )
        self.uploads = Slots(
            settings.max_uploads_per_process, f"Too many concurrent uploads (limit {settings.max_uploads})"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self.app, scope, receive, send)
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
        scope["state"]["request_id"] = response.request_id
        try:
            await self._route(scope, body, response)
        except RequestError as error:
            await ErrorResponse(error)(scope, body, response)
        except ResponseStalled:
            pass  # the server closes the connection, since the response is incomplete
        except Exception as error:
            logger.exception("Request %s failed.", response.request_id)
            if not response.status:
                refusal = RequestError.from_lack_of_resources(error) or RequestError.from_status(500)
                await ErrorResponse(refusal)(scope, body, response)
            elif not response.complete:  # it cannot be replaced any more; the server closes the connection
                raise
        finally:
            self.health.record(response.status)
            if scope["path"] not in UNLOGGED_PATHS:
                _log_request(scope, response, 1000 * (time.perf_counter() - started))

    async def _route(self, scope: Scope, body: RequestBody, response: ResponseSender) -> None:
        path, headers = scope["path"], Headers(scope=scope)
        if not self.settings.token:
            check_host(headers, scope.get("server"), self.host_names)
        if path in BENTOML_PATHS:
            if path in PROBE_PATHS and not await self.health.is_good():
                raise RequestError.from_status(503)
            if path == "/metrics" and self.before_metrics is not None:
                self.before_metrics()
            await self.app(scope, body, response)
        elif path not in self.routes and path not in self.posted_pages:
            await self.pages(scope, body, response)
        elif scope["method"] != "POST":
            raise RequestError.from_status(405, {"Allow": "POST"})
        elif path in self.posted_pages:
            self._authenticate(headers)
            with self.uploads.taken():
                await self.pages(scope, body, response)
        else:
            self._authenticate(headers)
            await self._call_api(self.routes[path], scope, body, response)

    async def _call_api(
        self, form: UploadForm | None, scope: Scope, body: RequestBody, response: ResponseSender
    ) -> None:
        self.requests.require()  # now, and not only when the whole body has been sent
        with ExitStack() as stack:
            if form is not None:
                scope["state"]["files"] = files = await self._read_files(form, Request(scope, body))
                for file in files:
                    stack.callback(file.file.close)
            stack.enter_context(self.requests.taken())
            # A worker that accepted one connection tends to accept the next ones too. A client whose next request
            # would wait connects again instead, and often reaches an idle worker.
            response.close = self.settings.processes > 1 and self.requests.used > 1
            if form is not None and accepts_progress(Headers(scope=scope)):
                await answer_with_progress(self.app, scope, body, response)
            else:
                await self.app(scope, body, response)

    async def _read_files(self, form: UploadForm, request: Request) -> list[UploadFile]:
        with self.uploads.taken():
            crowded = self.uploads.used > self.settings.max_requests_per_process
            return await read_files(
                request,
                form,
                max_bytes=self.settings.max_bytes,
                memory_bytes=CROWDED_MEMORY_BYTES if crowded else MEMORY_BYTES,
                stall_seconds=self.settings.stall_seconds,
            )

    def _authenticate(self, headers: Headers) -> None:
        if not self.settings.token:
            check_origin(headers, self.host_names)
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # As bytes, since a header may hold characters beyond ASCII, and in constant time.
        matches = hmac.compare_digest(token.strip().encode("latin-1"), self.settings.token.encode())
        if scheme.lower() != "bearer" or not matches:
            message = "The header 'Authorization: Bearer <token>' with the token of the service is required."
            raise RequestError(401, "unauthorised", message, {"WWW-Authenticate": 'Bearer realm="genreflow"'})


def _log_request(scope: Scope, response: ResponseSender, milliseconds: float) -> None:
    host, port = scope.get("client") or ("-", 0)
    path = quote(scope["path"], safe="/")[:200]  # it may contain a line break
    logger.info(
        "%s:%s %s %s %s %.1fms id=%s%s",
        host,
        port,
        scope["method"],
        path,
        response.status or "aborted",
        milliseconds,
        response.request_id,
        f" error={response.error_code}" if response.error_code else "",
        extra={
            "fields": {
                "client": host,
                "method": scope["method"],
                "path": path,
                "status": response.status or None,
                "milliseconds": round(milliseconds, 1),
                "request_id": response.request_id,
                "error": response.error_code or None,
            }
        },
    )
