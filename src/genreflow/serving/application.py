"""The ASGI application of the service: BentoML's, behind `AdmissionMiddleware`, and the pages beside it."""

from typing import TypeVar

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from genreflow.serving import ui
from genreflow.serving.address import check_address
from genreflow.serving.bentoml_patches import replace_timeout_middleware
from genreflow.serving.middleware import AdmissionMiddleware
from genreflow.serving.openapi import describe
from genreflow.serving.schema import UploadInput
from genreflow.serving.settings import settings

T = TypeVar("T")


class GuardedService(bentoml.Service[T]):
    """A BentoML service behind `AdmissionMiddleware`, for ``bentoml.service(service_class=...)``.

    The pages are served beside BentoML's application, not mounted in it, since its metrics would keep a time series for
    every path. They replace BentoML's own pages, which load files from other hosts.
    """

    def inject_config(self) -> None:
        check_address()  # BentoML calls this in its supervisor before it listens
        super().inject_config()

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        app = super().to_asgi(is_main)
        replace_timeout_middleware(app)
        limits = settings()
        document = describe(self, limits)

        async def openapi(request: Request) -> Response:
            return JSONResponse(document)

        pages = Starlette(routes=[Route("/docs.json", openapi), *ui.routes])
        routes = {
            method.route: method.input_spec.form(limits) if issubclass(method.input_spec, UploadInput) else None
            for method in self.apis.values()
        }
        return AdmissionMiddleware(app, pages=pages, routes=routes, settings=limits)
