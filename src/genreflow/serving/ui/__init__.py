"""The page at ``/ui``: static files, and the headers that keep it to itself."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

# The style sheet that wavesurfer.js writes into its shadow root; a browser's console tells the hash of a changed one.
_WAVESURFER_STYLE = "'sha256-4hGoO+X6KXe8Gw08N/aBKwvHEYryxn/8CNSB0dTq+m0='"

HEADERS = {
    # Nothing from another host, nothing inline, nothing sent elsewhere; blobs are the audio and wavesurfer.js's worker.
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
    # Kept by the browser, but asked for again: a new version of the service has a new page.
    "Cache-Control": "no-cache",
}  # fmt: skip


class _Files(StaticFiles):
    """The files of the page, and ``limits.json``: what the service takes, so that the page can say no before it
    decodes."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path == "limits.json":
            response: Response = JSONResponse(_limits())
        else:
            response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def _limits() -> dict:
    from genreflow.serving.schema import settings

    limits = settings()
    return {"max_seconds": limits.max_seconds, "max_bytes": limits.max_bytes}


async def _with_slash(request: Request) -> Response:
    # Relative, so that it also holds behind a proxy that serves all this under a path.
    return RedirectResponse("ui/", headers={"Cache-Control": "no-cache"})


# Mounted at the root: BentoML's mounts do not answer the path without its slash.
page = Starlette(routes=[Route("/ui", _with_slash), Mount("/ui", _Files())])
