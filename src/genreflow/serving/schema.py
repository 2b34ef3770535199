"""What the routes take and give, as BentoML's specs; `genreflow.serving.openapi` describes them."""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from bentoml import IODescriptor
from pydantic import BaseModel, Field
from starlette.requests import Request

from genreflow.serving.settings import Settings
from genreflow.serving.upload import Refusal, read_files

settings = cache(Settings.from_environment)


class _Upload(IODescriptor):
    """A form with one field of files, read by `read_files`.

    The handler is given a list of ``UploadFile``, or the `Refusal` to answer with: an exception raised here would
    become an answer of BentoML's own.
    """

    field: ClassVar[str]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        limits = settings()
        try:
            files = await read_files(
                request,
                cls.field,
                max_files=cls.max_files(),
                max_bytes=limits.max_bytes,
                stall_seconds=limits.stall_seconds,
            )
        except Refusal as refusal:
            return cls.model_construct(**{cls.field: refusal})
        return cls.model_construct(**{cls.field: files})

    @staticmethod
    def max_files() -> int:
        return 1


class AudioUpload(_Upload):
    field = "audio"
    audio: Path = Field(description="The audio file.")


class AudioUploads(_Upload):
    field = "audios"
    audios: list[Path] = Field(description="Audio files: the field is sent once for each.")

    @staticmethod
    def max_files() -> int:
        return settings().max_files


class NoInput(IODescriptor):
    """A body that is not looked at."""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        return cls()


class ErrorDetail(BaseModel):
    code: str = Field(description="A word for programs.")
    message: str = Field(description="A sentence for people.")


class ErrorAnswer(BaseModel):
    error: ErrorDetail


class SegmentAnswer(BaseModel):
    start: float = Field(ge=0, description="Seconds from the beginning.")
    end: float = Field(ge=0, description="Seconds from the beginning.")
    genre: str
    confidence: float = Field(ge=0, le=1)


LEAKING = "Only there, and true, where the model was made with a split that leaks: its figures flatter."


class ModelAnswer(BaseModel):
    name: str
    version: str | None
    leaking: bool = Field(default=False, description=LEAKING)


class _Answer(BaseModel):
    genre: str | None = Field(description="Null where the model abstains.")
    confidence: float = Field(ge=0, le=1, description="The highest probability.")
    probabilities: dict[str, float] = Field(description="Every genre, the likeliest first.")
    segments: list[SegmentAnswer]
    duration: float = Field(ge=0, description="Seconds.")
    short: bool = Field(description="The audio is shorter than a segment and was padded with silence.")
    model: ModelAnswer


class Answer(_Answer, IODescriptor):
    pass


class FileAnswer(_Answer):
    file: str = Field(description="Its name, as it was sent.")


class FileError(ErrorAnswer):
    file: str = Field(description="Its name, as it was sent.")


class BatchAnswer(IODescriptor):
    results: list[FileAnswer | FileError] = Field(description="In the order sent.")


class ModelCard(IODescriptor):
    name: str
    version: str | None
    leaking: bool = Field(default=False, description=LEAKING)
    architecture: str
    labels: list[str]
    segment_seconds: float = Field(gt=0)
    sample_rate: int = Field(gt=0, description="Hz.")
    abstain_below: float = Field(ge=0, le=1)
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    hash: str
