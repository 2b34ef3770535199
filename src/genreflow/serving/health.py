"""Whether a worker answers as it should, for the probes of its health."""

import io
import wave
from collections.abc import Sequence

from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Message, Scope

# Statuses that are not the client's fault, except 507, which concerns large uploads only.
UNEXPECTED_STATUSES = frozenset({500, 503, 504})


class Health:
    """The health of one worker: after an unexpected error, probes classify a clip of their own until that succeeds.

    Parameters
    ----------
    app : ASGI application
        Of BentoML, with the route ``/classify``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._in_doubt = app, False

    def record(self, status: int) -> None:
        """Take note of the status of a response."""
        self._in_doubt |= status in UNEXPECTED_STATUSES

    async def is_good(self) -> bool:
        """Return whether there was no unexpected error since the last clip, or a clip is classified now."""
        if self._in_doubt:
            self._in_doubt = not await _classifies(self._app)
        return not self._in_doubt


async def _classifies(app: ASGIApp) -> bool:
    """Post a clip to an application in this process, and return whether the response has status 200."""
    upload = UploadFile(io.BytesIO(_make_clip()), filename="health.wav")
    try:
        return await request(app, "POST", "/classify", files=[upload]) == 200
    except Exception:  # as that of the client's request, which is in the log
        return False


async def request(app: ASGIApp, method: str, path: str, *, files: Sequence[UploadFile] = ()) -> int:
    """Send a request to an application in this process, as from `AdmissionMiddleware`, and return its status."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data")],
        "client": None,
        "server": None,
        "state": {"files": list(files), "request_id": None},
    }
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


def _make_clip() -> bytes:
    """Return a second of a sawtooth wave, as a wav file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(8000)
        clip.writeframes(b"".join((256 * step).to_bytes(2, "little", signed=True) for step in range(-100, 100)) * 40)
    return file.getvalue()
