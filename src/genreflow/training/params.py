"""Parameters of `segments` in params.yaml; those of `train` are `genreflow.training.options.FitOptions`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from genreflow.frozen import FrozenModel
from genreflow.models import FrontEnd
from genreflow.training.options import Segmentation

PositiveSize = Annotated[int, Field(ge=1, le=1024)]


class SegmentParams(FrozenModel):
    seconds: float = Field(default=4.0, ge=0.5, le=60, description="length of a segment [s]")
    hop_seconds: float = Field(default=2.0, gt=0, le=60, description="from one segment's start to the next [s]")
    coefficients: int | None = Field(
        default=None, ge=0, le=512, description="cepstral, for the mel bands; 0: the bands; null: the architecture's"
    )
    image: tuple[PositiveSize, PositiveSize] | None = Field(
        default=None, description="time steps and bands that a segment is resized to; null: the architecture's"
    )

    @model_validator(mode="after")
    def _leave_no_gap(self) -> Self:
        if self.hop_seconds > self.seconds:
            raise ValueError("segments.hop_seconds must not exceed segments.seconds, or audio is left out between them")
        return self

    @property
    def segmentation(self) -> Segmentation:
        front = FrontEnd(image=self.image, coefficients=self.coefficients)
        return Segmentation(self.seconds, self.hop_seconds, front)
