"""Uploaded files, read within limits.

This replaces BentoML's own parser, which has no limits, fetches a text part as if it were a URL and answers some
malformed bodies with status 500.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from genreflow.serving.responses import RequestError

# Slowest rate at which a body or a response may be transferred on average [B/s].
MIN_BYTES_PER_SECOND = 10_000
# Longest that a client may take to send a whole body, and that a response may take afterwards [s].
MAX_REQUEST_SECONDS = 300


@dataclass(frozen=True)
class UploadForm:
    """A multipart form with one field of files: its name and the largest number of files."""

    field: str
    max_files: int


async def read_files(
    request: Request, form: UploadForm, *, max_bytes: int, memory_bytes: int, stall_seconds: float
) -> list[UploadFile]:
    """Read the files of a multipart form.

    Parameters
    ----------
    request : Request
    form : UploadForm
    max_bytes : int > 0
        Size of the whole body.
    memory_bytes : int > 0
        A larger file is in an unnamed temporary file instead of in memory.
    stall_seconds : float > 0 [s]
        Longest wait for the next chunk.

    Returns
    -------
    list of UploadFile
        At least one, in the order sent. The caller closes them.

    Raises
    ------
    RequestError
        Status 400 for anything but such a form, 408 for a client that stalls, 413 for too many files or bytes, 507 for
        a full disk, 503 for a lack of other resources.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise _malformed(
            f"Content-Type must be multipart/form-data with the audio as a file in the field {form.field!r}; "
            f"got {media_type or 'none'}."
        )
    body = limited_body(request, max_bytes=max_bytes, stall_seconds=stall_seconds)
    try:
        parser = MultiPartParser(request.headers, body, max_files=form.max_files, max_fields=form.max_files)
        parser.spool_max_size = memory_bytes
        data = await parser.parse()
    except MultiPartException as error:
        raise _parser_error(error, form) from error
    except (ValueError, LookupError) as error:  # e.g. a boundary or a header that is not ASCII
        raise _malformed("The multipart body cannot be parsed.") from error
    except (OSError, MemoryError) as error:
        if refusal := RequestError.from_lack_of_resources(error):
            raise refusal from error
        raise
    items = data.multi_items()
    problem = None
    if other := sorted({name for name, _ in items if name != form.field}):
        problem = f"The form must have only the field {form.field!r}; got {other[0]!r}."
    elif not items:
        problem = f"The form must have the audio as a file in the field {form.field!r}; got no field."
    elif any(isinstance(value, str) for _, value in items):
        problem = f"The field {form.field!r} must be a file; got text (URLs are not fetched)."
    if problem:
        await data.close()
        raise _malformed(problem)
    return [value for _, value in items if not isinstance(value, str)]


def _parser_error(error: MultiPartException, form: UploadForm) -> RequestError:
    if not error.message.startswith("Too many files"):
        return _malformed(f"The multipart body cannot be parsed: {error.message}")
    if form.max_files == 1:
        return _malformed(f"The field {form.field!r} takes one file; got more.")
    message = f"A batch has at most {form.max_files} files; send the others in further requests."
    return RequestError(413, "too_many_files", message)


def _malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)


async def limited_body(request: Request, *, max_bytes: int, stall_seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the body chunk by chunk, until it becomes too large or too slow.

    Raises
    ------
    RequestError
        Status 413 for more than `max_bytes`, at once if they are declared, 408 for a client that stalls, 400 for one
        that ends the connection.
    """
    too_large = RequestError(413, "too_large", f"The body must be at most {max_bytes / 1e6:g} MB.")
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    stream = request.stream()
    started, received = time.monotonic(), 0
    try:
        while True:
            elapsed = time.monotonic() - started
            allowed = min(stall_seconds + received / MIN_BYTES_PER_SECOND, MAX_REQUEST_SECONDS)
            chunk = await _next(stream, min(stall_seconds, allowed - elapsed))
            if not chunk:
                return
            received += len(chunk)
            if received > max_bytes:
                raise too_large
            yield chunk
    except TimeoutError:
        message = (
            f"The body must arrive without pauses of {stall_seconds:g} s, at {MIN_BYTES_PER_SECOND / 1000:g} kB/s or "
            f"more, and within {MAX_REQUEST_SECONDS} s."
        )
        raise RequestError(408, "timeout", message) from None
    except ClientDisconnect:
        raise _malformed("The connection was closed before the body was complete.") from None


async def _next(stream: AsyncIterator[bytes], seconds: float) -> bytes:
    async with asyncio.timeout(seconds):
        return await anext(stream, b"")
