"""BentoML's application, with what stands in front of it and a true description of its routes."""

import bentoml
from starlette.responses import JSONResponse
from starlette.routing import Route

from genreflow.serving.front import Front
from genreflow.serving.openapi import describe
from genreflow.serving.schema import settings


class FrontedService(bentoml.Service):
    """A service of BentoML's behind `Front`; ``bentoml.service(service_class=...)`` takes it."""

    def to_asgi(self, is_main: bool = True):
        app = super().to_asgi(is_main)
        document = describe(self)
        app.router.routes.insert(0, Route("/docs.json", lambda request: JSONResponse(document)))
        app.add_middleware(Front, routes=app.router.routes, limits=settings())
        return app
