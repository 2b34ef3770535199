"""The web pages of the service: the classifier at ``/ui`` and the API documentation at ``/docs``.

Both are static files without a build step; ``/`` redirects to the classifier. The API page shows ``/docs.json``, which
the service provides.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from genreflow.serving.feedback_route import feedback_facts
from genreflow.serving.settings import settings

__all__ = ["routes"]

_FOLDER = Path(__file__).parent

# The style sheet that wavesurfer.js creates in its shadow root. If it has changed, the browser's console shows the new
# hash.
_WAVESURFER_STYLE = "'sha256-4hGoO+X6KXe8Gw08N/aBKwvHEYryxn/8CNSB0dTq+m0='"

# Of every response with a file of the pages.
_HEADERS = {
    # No other hosts, nothing inline. Blobs are the audio that is played and the worker of wavesurfer.js.
    "Content-Security-Policy": "; ".join([
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {_WAVESURFER_STYLE}",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src blob:",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Browsers may store the files but must revalidate them, because a new version of the service has new ones.
    "Cache-Control": "no-cache",
}  # fmt: skip


class _Files(StaticFiles):
    """The files below ``/ui``, with `_HEADERS`."""

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER / "static", html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def _redirect_to(target: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that redirects to a relative URL, which is right under any path prefix of a proxy."""

    async def redirect(request: Request) -> Response:
        return RedirectResponse(target, headers={"Cache-Control": "no-cache"})

    return redirect


async def _docs(request: Request) -> Response:
    return FileResponse(_FOLDER / "docs.html", headers=_HEADERS)


async def _limits(request: Request) -> Response:
    """What the page must know first: by which limits it refuses a file, whether there is a token, and feedback."""
    limits = settings()
    content = {
        "max_seconds": limits.max_seconds,
        "max_bytes": limits.max_bytes,
        "feedback": feedback_facts(limits),
        "requires_token": bool(limits.token),
    }
    return JSONResponse(content, headers=_HEADERS)


routes: list[BaseRoute] = [
    Route("/", _redirect_to("ui")),
    Route("/ui", _redirect_to("ui/")),
    Route("/ui/limits.json", _limits),
    Mount("/ui", _Files()),
    Route("/docs", _docs),
    Route("/docs/", _redirect_to("../docs")),
]
