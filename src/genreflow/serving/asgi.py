"""BentoML's application, with what stands in front of it and a true description of its routes."""

from contextlib import suppress

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from genreflow.errors import GenreflowError
from genreflow.serving.front import Front
from genreflow.serving.openapi import describe
from genreflow.serving.prefork import Tally, split
from genreflow.serving.schema import settings

# What BentoML shows people: pages that ask other hosts for more, the files of these, and its own description.
BENTOML_PAGES = frozenset({"index", "static_content", "assets", "openapi-spec"})
# Of open files and connections. Systems often allow 1,024 for the sake of select(), which nothing here calls.
DESCRIPTORS = 8192


class FrontedService(bentoml.Service):
    """A service of BentoML's behind `Front`; ``bentoml.service(service_class=...)`` takes it."""

    def to_asgi(self, is_main: bool = True):
        app = super().to_asgi(is_main)
        document = describe(self)
        routes = app.router.routes
        routes[:] = [
            Route("/", _to_page),
            Route("/docs.json", lambda request: JSONResponse(document)),
            *(route for route in routes if route.name not in BENTOML_PAGES),
        ]
        # BentoML's timer holds a request's memory for as long as it might have taken; `Front` has another one.
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # BentoML's supervisor needs none

        unwanted = {TimeoutMiddleware}
        if not BentoMLContainer.tracing.exporter_type.get():  # half a millisecond a request, for nobody
            unwanted.add(OpenTelemetryMiddleware)
        app.user_middleware[:] = [each for each in app.user_middleware if each.cls not in unwanted]
        limits = settings()
        _prepare_worker()
        processes = limits.processes if _is_loaded(limits.bundle) else 1
        under_way = Tally(processes)
        under_way.join(split(processes))
        app.add_middleware(Front, routes=routes, limits=limits, under_way=under_way)
        return app


async def _to_page(request: Request) -> Response:
    # Relative, so that it also holds behind a proxy that serves all this under a path.
    return RedirectResponse("ui", headers={"Cache-Control": "no-cache"})


def _is_loaded(bundle: str) -> bool:
    """Load the model now, to have it in all processes."""
    from genreflow.inference.predictor import load_predictor

    with suppress(GenreflowError):  # it is raised again where BentoML makes the service, and told there
        load_predictor(bundle)
        return True
    return False


def _prepare_worker() -> None:
    """Set up the process that is about to serve the application: BentoML has no options for this."""
    # Only now: BentoML's supervisor needs neither an HTTP server nor the model.
    import uvicorn.lifespan.on  # noqa: F401  imported here, it is shared by all processes
    from uvicorn.config import HTTP_PROTOCOLS

    from genreflow.serving.connection import Connection

    HTTP_PROTOCOLS["auto"] = f"{Connection.__module__}:{Connection.__qualname__}"
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
