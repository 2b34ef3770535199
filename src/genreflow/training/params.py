"""Parameters of `segments` in params.yaml; those of `train` are in `genreflow.training.options`."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from genreflow.frozen import FrozenModel
from genreflow.models import FrontEnd

ImageSide = Annotated[int, Field(ge=1, le=1024)]


class SegmentParams(FrozenModel):
    """How tracks are cut into segments, and what a model sees of a segment."""

    seconds: float = Field(default=4.0, ge=0.5, le=60, description="length of a segment [s]")
    hop_seconds: float = Field(default=2.0, gt=0, le=60, description="from the start of a segment to the next [s]")
    coefficients: int | None = Field(
        default=None,
        ge=0,
        le=512,
        description="number of MFCC that replace the mel bands; 0: mel bands; null: as the architecture has it",
    )
    image: tuple[ImageSide, ImageSide] | None = Field(
        default=None,
        description="time steps and bands that a segment is resized to; null: as the architecture has it",
    )

    track_cap: float | None = Field(
        default=2.0,
        ge=1,
        description="most training segments of one track in an epoch, as a multiple of the median of all training "
        "tracks; drawn anew for each epoch; null: no limit",
    )

    @model_validator(mode="after")
    def _check_hop(self) -> Self:
        if self.hop_seconds > self.seconds:
            raise ValueError(
                "segments.hop_seconds must be at most segments.seconds, or audio between segments is left out"
            )
        return self

    @property
    def front_end(self) -> FrontEnd:
        """What a model sees of a segment."""
        return FrontEnd(image=self.image, coefficients=self.coefficients)

    def override(self, chosen: Mapping[str, Any]) -> Self:
        """Replace ``seconds`` and ``coefficients`` by what a study chose; segments overlap by the same share as before.

        Parameters
        ----------
        chosen : mapping
            Any of ``seconds`` and ``coefficients``.

        Raises
        ------
        pydantic.ValidationError
            A value is out of range, or another parameter is given.
        """
        seconds = chosen.get("seconds", self.seconds)
        hop_seconds = min(seconds, self.hop_seconds * seconds / self.seconds)  # rounding must not exceed `seconds`
        return self.model_validate({**self.model_dump(), **chosen, "hop_seconds": hop_seconds})
