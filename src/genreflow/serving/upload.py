"""What a client sent, read within limits.

BentoML's own reading of a multipart request has no limit, fetches a text part as if it were a URL, and answers 500 to
some malformed bodies; this takes its place for the routes that take audio.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from genreflow.errors import AudioError

# A client that sends a byte now and then would hold its place for ever.
LEAST_BYTES_A_SECOND = 10_000

AUDIO_STATUS = {"too_long": 413, "undecodable": 415, "unusable": 422}


class Refusal(Exception):
    """An answer to a request that is the caller's error.

    Parameters
    ----------
    status : int
        HTTP status, 4xx.
    code : str
        A word for programs.
    message : str
        A sentence for people.
    headers : mapping of str to str, optional
        Of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    @classmethod
    def of(cls, error: AudioError) -> "Refusal":
        return cls(AUDIO_STATUS[error.code], error.code, str(error))

    def to_dict(self) -> dict:
        return {"error": {"code": self.code, "message": self.message}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.to_dict(), status_code=self.status, headers=self.headers)


# Of a file of a batch.
TOO_MUCH = Refusal(
    413, "too_much_work", "The files before this one took all the time that a request may; send it in another one."
)


class _Parser(MultiPartParser):
    # Clips of half a minute stay in memory; what is larger goes to a file that has no name and vanishes when closed.
    spool_max_size = 2_000_000


async def read_files(
    request: Request, field: str, *, max_files: int, max_bytes: int, stall_seconds: float
) -> list[UploadFile]:
    """Read the files of one field of a multipart form.

    Parameters
    ----------
    request : Request
    field : str
        The only field that may be sent.
    max_files : int > 0
    max_bytes : int > 0
        Of the whole body.
    stall_seconds : float > 0 [s]
        The longest wait for the next piece.

    Returns
    -------
    list of UploadFile
        In the order sent, at least one. The caller closes them.

    Raises
    ------
    Refusal
        400 for anything that is not such a form, 408 for a client that stalls, 413 for too much of it.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise _malformed(
            f"The body is {content_type.partition(';')[0].strip() or 'of no stated type'}; "
            f"send multipart/form-data with the audio as a file in the field {field!r}."
        )
    body = _limited(request, max_bytes=max_bytes, stall_seconds=stall_seconds)
    try:
        form = await _Parser(request.headers, body, max_files=max_files, max_fields=max_files).parse()
    except MultiPartException as error:
        if not error.message.startswith("Too many files"):
            raise _malformed(f"The multipart body cannot be read: {error.message}") from error
        if max_files == 1:
            raise _malformed(f"More than one file was sent; {request.url.path} takes one, in {field!r}.") from error
        message = f"More than {max_files} files were sent; send them in several requests."
        raise Refusal(413, "too_many_files", message) from error
    except (ValueError, LookupError) as error:  # e.g. a boundary or a header that is not ASCII
        raise _malformed("The multipart body cannot be read.") from error
    sent = form.multi_items()
    refusal = None
    if other := sorted({name for name, _ in sent if name != field}):
        refusal = f"The form has the field {other[0]!r}; {request.url.path} takes only {field!r}."
    elif not sent:
        refusal = f"The form has no field {field!r}; send the audio there, as a file."
    elif any(isinstance(value, str) for _, value in sent):
        refusal = f"The field {field!r} holds text; send the audio itself, as a file (addresses are not fetched)."
    if refusal:
        await form.close()
        raise _malformed(refusal)
    return [value for _, value in sent]


def _malformed(message: str) -> Refusal:
    return Refusal(400, "malformed_request", message)


async def _limited(request: Request, *, max_bytes: int, stall_seconds: float) -> AsyncIterator[bytes]:
    """The body piece by piece, given up when it grows too large or stops coming."""
    too_large = Refusal(413, "too_large", f"The body is larger than {max_bytes / 1e6:g} MB, the limit here.")
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    stream = request.stream()
    begin, received = time.monotonic(), 0
    try:
        while True:
            late = begin + stall_seconds + received / LEAST_BYTES_A_SECOND - time.monotonic()
            if not (chunk := await _next(stream, min(stall_seconds, late))):
                return
            received += len(chunk)
            if received > max_bytes:
                raise too_large
            yield chunk
    except TimeoutError:
        message = f"The body stopped coming, or came slower than {LEAST_BYTES_A_SECOND / 1000:g} kB a second."
        raise Refusal(408, "timeout", message) from None
    except ClientDisconnect:
        raise _malformed("The connection was closed before the body was complete.") from None


async def _next(stream: AsyncIterator[bytes], seconds: float) -> bytes:
    async with asyncio.timeout(seconds):
        return await anext(stream, b"")
