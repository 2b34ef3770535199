"""``POST /feedback``: what a listener claims about an answer. BentoML has no part in it: no prediction waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from genreflow.feedback.feedback_records import (
    Claim,
    ClaimedError,
    FeedbackRecords,
    UnknownGenreError,
    UnknownPredictionError,
)
from genreflow.files import parse_json
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.settings import Settings
from genreflow.serving.upload import limited_body

PATH = "/feedback"
MAX_BYTES = 16_000
_LONGEST_COMMENT = 1000
# Records are written in the background: how long to wait for one that is not there yet [s], each time.
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.0)


class FeedbackInput(BaseModel):
    """Body of ``POST /feedback``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: str = Field(pattern="^[0-9a-f]{32}$", description="Of an answer of /classify or /classify_batch.")
    genre: str | None = Field(description="A genre of the model; null for none of them.")
    comment: str = Field("", max_length=_LONGEST_COMMENT, description="For those who review the feedback.")


class FeedbackOutput(BaseModel):
    """Response of ``POST /feedback``."""

    prediction_id: str
    genre: str | None
    comment: str
    time: str = Field(description="When it was given first, in UTC.")


def feedback_endpoint(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint, for a service that keeps records in `settings.feedback_dir`."""
    records = FeedbackRecords(Path(settings.feedback_dir))

    async def feedback(request: Request) -> Response:
        try:
            given = await _read_input(request, settings.stall_seconds)
            claim = await _claim(records, given)
        except RequestError as error:
            return ErrorResponse(error)
        return JSONResponse({"prediction_id": given.prediction_id, **asdict(claim)})

    return feedback


async def _read_input(request: Request, stall_seconds: float) -> FeedbackInput:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise _malformed(f"Content-Type must be application/json; got {media_type or 'none'}.")
    body = limited_body(request, max_bytes=MAX_BYTES, stall_seconds=stall_seconds)
    content = b"".join([chunk async for chunk in body])
    try:
        text = content.decode()
        given = FeedbackInput.model_validate(parse_json(text))
        f"{given.genre}{given.comment}".encode()  # JSON can write halves of characters, which no file can hold
    except ValidationError as error:
        raise _malformed(_describe(error)) from None
    except ValueError:
        raise _malformed("The body must be a JSON object in UTF-8.") from None
    return given


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "The body"
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}."


async def _claim(records: FeedbackRecords, given: FeedbackInput) -> Claim:
    unknown = ""
    for wait in _WAITS:
        try:
            return await run_in_threadpool(records.claim, given.prediction_id, given.genre, given.comment)
        except UnknownPredictionError as error:
            unknown = str(error)
            await asyncio.sleep(wait)
        except UnknownGenreError as error:
            raise RequestError(422, "unknown_genre", str(error)) from None
        except ClaimedError as error:
            raise RequestError(409, "already_given", str(error)) from None
        except (OSError, MemoryError) as error:
            if refusal := RequestError.from_lack_of_resources(error, no_space_for="feedback; retry later"):
                raise refusal from error
            raise
    raise RequestError(404, "unknown_prediction", unknown)


def _malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_request", message)


def feedback_facts(settings: Settings) -> dict[str, Any] | None:
    """Return what the page tells its users about feedback; None if the service takes none."""
    if not settings.feedback_dir:
        return None
    return {"days": settings.feedback_days, "audio": settings.feedback_audio}
