"""Error responses: every error has the body ``{"error": {"code", "message"}}``."""

import errno
from collections.abc import Mapping
from typing import Self

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from genreflow.errors import AudioError, AudioFault
from genreflow.files import is_resource_error

AUDIO_STATUS: dict[AudioFault, int] = {"too_long": 413, "undecodable": 415, "unusable": 422}

# Code and message, by status, of errors that Starlette and BentoML report.
LIBRARY_ERRORS = {
    400: ("malformed_request", "The request cannot be read."),
    404: ("not_found", "There is no such path; see /docs.json for the paths of the service."),
    405: ("method_not_allowed", "The path does not support this method; see /docs.json."),
    413: ("too_large", "The request is too large."),
    500: ("internal", "Internal error; the log has the details under the ID in the X-Request-ID header."),
    503: ("not_ready", "The service is not ready."),
    504: ("too_slow", "The request could not be answered in time."),
}

RETRY_AFTER_SECONDS = 1
# Nothing more can be stored; other resources, such as file descriptors, are free again when other requests end.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class RequestError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int in [400, 599]
        HTTP status.
    code : str
        Identifier for programs.
    message : str
        One sentence for people.
    headers : mapping of str to str, optional
        Additional headers of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    @classmethod
    def from_audio_error(cls, error: AudioError) -> Self:
        return cls(AUDIO_STATUS[error.code], error.code, str(error))

    @classmethod
    def from_status(cls, status: int, headers: Mapping[str, str] | None = None) -> Self:
        """Return the error for the status of a response that Starlette or BentoML made."""
        code, message = LIBRARY_ERRORS.get(status) or LIBRARY_ERRORS[500 if status >= 500 else 400]
        return cls(status, code, message, headers)

    @classmethod
    def from_lack_of_resources(
        cls, error: Exception, *, no_space_for: str = "the upload; smaller files may succeed"
    ) -> Self | None:
        """Return the error for a full disk or a lack of other resources, None for any other `error`."""
        if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
            return cls(507, "storage_full", f"The service has no space to store {no_space_for}.")
        if not isinstance(error, MemoryError) and not (isinstance(error, OSError) and is_resource_error(error)):
            return None
        message = "The service has too little memory or too few file descriptors at the moment; retry later."
        return cls(503, "no_resources", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})

    @classmethod
    def overloaded(cls, message: str) -> Self:
        """Return the error for a request that exceeds a limit of concurrency, described by `message`."""
        message = f"{message}; retry after {RETRY_AFTER_SECONDS} s."
        return cls(429, "overloaded", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})

    def to_dict(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "message": self.message}}


class ErrorResponse(JSONResponse):
    """The response for a `RequestError`.

    When it is sent it stores the error's code in the request's state, where `genreflow.serving.messages` finds it.
    """

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.to_dict(), status_code=error.status, headers=error.headers)
        self.code = error.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["error_code"] = self.code
        await super().__call__(scope, receive, send)
