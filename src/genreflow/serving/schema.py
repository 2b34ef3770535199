"""Inputs and outputs of the routes, as BentoML's IO descriptors; `genreflow.serving.openapi` documents them."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from bentoml import IODescriptor
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.datastructures import UploadFile
from starlette.requests import Request

from genreflow.serving.settings import Settings
from genreflow.serving.upload import UploadForm

if TYPE_CHECKING:
    from genreflow.inference.predictor import Predictor

# BentoML's client sends what has this schema as a file of a multipart form.
AudioFile = Annotated[UploadFile, WithJsonSchema({"type": "file", "format": "audio"})]


# Entries of a bundle's lineage that list hashes of tracks.
TRACK_LISTS = ("train_tracks", "valid_tracks")


class UploadInput(IODescriptor):
    """A multipart form with one field of audio files, which `AdmissionMiddleware` has read."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    media_type: ClassVar[str | None] = "multipart/form-data"

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.multipart_fields = list(cls.model_fields)

    @classmethod
    def form(cls, settings: Settings) -> UploadForm:
        """Return what the middleware reads for this input."""
        raise NotImplementedError


class ClassifyInput(UploadInput):
    audio: AudioFile = Field(description="The audio file.")

    @classmethod
    def form(cls, settings: Settings) -> UploadForm:
        return UploadForm("audio", max_files=1)

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        [file] = request.state.files
        return cls(audio=file)


class ClassifyBatchInput(UploadInput):
    audios: list[AudioFile] = Field(description="Audio files; the field is repeated for each.")

    @classmethod
    def form(cls, settings: Settings) -> UploadForm:
        return UploadForm("audios", max_files=settings.max_files)

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        return cls(audios=request.state.files)


class EmptyInput(IODescriptor):
    """No input: the body is ignored."""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        return cls()


class ErrorDetail(BaseModel):
    code: str = Field(description="Identifier for programs.")
    message: str = Field(description="One sentence for people.")


class ErrorBody(BaseModel):
    error: ErrorDetail


class SegmentClassification(BaseModel):
    start: float = Field(ge=0, description="Seconds from the beginning.")
    end: float = Field(ge=0, description="Seconds from the beginning.")
    genre: str
    confidence: float = Field(ge=0, le=1)


LEAKING = (
    "Present, and true, only if the model was trained with a split that leaks: its metrics are optimistically biased."
)


class ModelVersion(BaseModel):
    name: str
    version: str | None
    leaking: bool = Field(default=False, description=LEAKING)


class _ClassificationFields(BaseModel):
    prediction_id: str = Field(
        pattern="^[0-9a-f]{32}$", description="Random; made by the service for each file that it classifies."
    )
    genre: str | None = Field(description="Null if the model abstains.")
    reason: Literal["unfamiliar", "uncertain"] | None = Field(
        description="Why the model abstains: the audio is unlike the music that it was trained on, or no genre is "
        "probable enough. Null if there is a genre."
    )
    confidence: float = Field(ge=0, le=1, description="The highest probability.")
    unfamiliarity: float | None = Field(
        ge=0,
        le=2,
        description="Distance from the music that the model was trained on: 0 is equal to it, 1 has nothing in common "
        "with it. Above `familiarity.refuse_above` of /model, the audio is unfamiliar. Null if it is not measured.",
    )
    probabilities: dict[str, float] = Field(description="Of every genre, in descending order.")
    segments: list[SegmentClassification]
    duration: float = Field(ge=0, description="Seconds.")
    short: bool = Field(description="Whether the audio is shorter than a segment and was padded with silence.")
    model: ModelVersion


class Classification(_ClassificationFields, IODescriptor):
    """Response of ``/classify``."""


class FileClassification(_ClassificationFields):
    file: str = Field(description="The file name that was sent.")


class FileError(ErrorBody):
    file: str = Field(description="The file name that was sent.")


class BatchClassification(IODescriptor):
    """Response of ``/classify_batch``."""

    results: list[FileClassification | FileError] = Field(description="In the order sent.")


class FamiliarityInfo(BaseModel):
    refuse_above: float = Field(ge=0, le=2, description="Audio with a larger unfamiliarity gets no genre.")
    tracks: int = Field(ge=0, description="Known tracks, by other artists, that this threshold was compared with.")
    share: float = Field(ge=0, le=1, description="Share of these tracks that are refused.")


class ModelInfo(IODescriptor):
    """Response of ``/model``."""

    name: str
    version: str | None
    leaking: bool = Field(default=False, description=LEAKING)
    notice: str | None = Field(default=None, description="What its users must know; absent if there is nothing.")
    architecture: str
    embedder: dict[str, Any] | None = Field(
        default=None,
        description="The pretrained network in the model, with its licence; absent if there is none.",
    )
    labels: list[str]
    segment_seconds: float = Field(gt=0)
    sample_rate: int = Field(gt=0, description="Hz.")
    abstain_below: float = Field(ge=0, le=1)
    familiarity: FamiliarityInfo | None
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    hash: str


def describe_model(predictor: "Predictor") -> dict[str, Any]:
    """Return the fields of `ModelInfo`; the lineage without the hashes of its tracks, which grow with the data."""
    bundle = predictor.bundle
    return {
        **predictor.model,
        **({"notice": bundle.notice} if bundle.notice else {}),
        "architecture": bundle.architecture,
        **({"embedder": bundle.embedder} if bundle.embedder else {}),
        "labels": list(bundle.labels),
        "segment_seconds": round(bundle.spec.seconds(bundle.segment_frames), 3),
        "sample_rate": bundle.spec.sample_rate,
        "abstain_below": bundle.abstain_below,
        "familiarity": None if bundle.familiarity is None else bundle.familiarity.to_dict(),
        "metrics": bundle.metrics,
        "lineage": {name: value for name, value in bundle.lineage.items() if name not in TRACK_LISTS},
        "hash": bundle.hash,
    }
