"""The ASGI application of the service: BentoML's, behind `AdmissionMiddleware`, and the pages beside it."""

import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from genreflow.monitoring.last_check import CHECK_FILE
from genreflow.serving import ui
from genreflow.serving.bentoml_patches import configured_address, log_as_json, replace_timeout_middleware
from genreflow.serving.feedback_route import PATH, feedback_endpoint
from genreflow.serving.metrics import LAST_CHECK
from genreflow.serving.middleware import AdmissionMiddleware
from genreflow.serving.openapi import describe
from genreflow.serving.prediction_log import monitoring
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.schema import UploadInput
from genreflow.serving.settings import settings
from genreflow.serving.supervisor import prepare_supervisor
from genreflow.serving.worker import ending_service_on_error, start_errors

if TYPE_CHECKING:
    from genreflow.inference.predictor import Predictor

T = TypeVar("T")

# Set in the image that BentoML makes; in a container, other machines decide who can connect.
_CONTAINER_VARIABLE = "BENTOML_CONTAINERIZED"


@cache
def load_predictor(directory: str, threads: int) -> "Predictor":
    """Return the predictor of a bundle, the same one for each call."""
    return make_predictor(directory, threads)


def make_predictor(directory: str, threads: int) -> "Predictor":
    """Load the bundle that a directory has now."""
    from genreflow.inference.predictor import Predictor

    return Predictor(directory, threads=threads)


class GuardedService(bentoml.Service[T]):
    """A BentoML service behind `AdmissionMiddleware`, for ``bentoml.service(service_class=...)``.

    The pages are served beside BentoML's application, not mounted in it, since its metrics would keep a time series for
    every path. They replace BentoML's own pages, which load files from other hosts.
    """

    def inject_config(self) -> None:
        """Merge this service's configuration into BentoML's, which calls this in supervisor and workers as they start.

        Settings are read here, not when the class is decorated, where an error would be a traceback.
        """
        with start_errors():
            limits = settings()
        if limits.log_format == "json":
            log_as_json()
        self.config["workers"] = limits.processes
        self.config["monitoring"] = monitoring(limits)
        self.config["http"] = {"host": "0.0.0.0" if _CONTAINER_VARIABLE in os.environ else "127.0.0.1"}
        super().inject_config()
        prepare_supervisor(limits, working_dir=self.working_dir, address=configured_address())

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the application; BentoML calls this in its workers."""
        limits = settings()
        app = super().to_asgi(is_main)
        with ending_service_on_error(), start_errors():  # BentoML would log a traceback of the class's constructor
            load_predictor(limits.bundle, limits.threads)
        replace_timeout_middleware(app)
        document = describe(self, limits)

        async def openapi(request: Request) -> Response:
            return JSONResponse(document)

        async def refuse(request: Request, error: Exception) -> Response:
            return ErrorResponse(RequestError.from_lack_of_resources(error) or RequestError.from_status(500))

        posted = [Route(PATH, feedback_endpoint(limits), methods=["POST"])] if limits.feedback_dir else []
        own = [Route("/docs.json", openapi), *posted, *ui.routes]
        pages = Starlette(routes=own, exception_handlers={OSError: refuse})
        routes = {
            method.route: method.input_spec.form(limits) if issubclass(method.input_spec, UploadInput) else None
            for method in self.apis.values()
        }
        before_metrics = None
        if limits.prediction_log:
            before_metrics = partial(LAST_CHECK.show, Path(limits.prediction_log, CHECK_FILE))
        return AdmissionMiddleware(
            app,
            pages=pages,
            routes=routes,
            settings=limits,
            before_metrics=before_metrics,
            posted_pages=[route.path for route in posted],
        )
