"""The knobs of a fit, with their units and ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from genreflow.models import AS_PUBLISHED, MODELS, FrontEnd
from genreflow.training.speed import processor_gains

Optimiser = Literal["sgd", "momentum", "adam", "adamw", "rmsprop"]
Schedule = Literal["constant", "cosine", "step"]
Keep = Literal["best", "last"]
Precision = Literal["auto", "float32", "bfloat16"]
OPTIMISERS: tuple[str, ...] = get_args(Optimiser)


class FitOptions(BaseModel):
    """How a model is fitted; the defaults suit a few hundred tracks and some dozen epochs.

    The augmentations act on training segments alone. Of tracks of the fault-filtered GTZAN split's training part, in
    folds without a common artist, a small net had 61 % right with those of params.yaml and 55 % without any; another
    one, under stronger ones, 64 % with the equaliser and 59 % without. One run each, standard error 3 points.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=60, ge=1, le=10_000, description="times through the training segments, at most")
    batch_size: int = Field(default=64, ge=1, le=4096, description="segments an update")
    segments_per_epoch: int | None = Field(
        default=None, ge=1, description="an epoch ends after so many, and the next goes on where it stopped; null: all"
    )
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="at its highest; null: the model's own")
    optimiser: Optimiser | None = Field(default=None, description="null: the model's own")
    weight_decay: float = Field(
        default=0.01, ge=0, le=1, description="decoupled: share of a kernel lost an update, per unit of learning rate"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of a label spread over all genres")
    schedule: Schedule = Field(
        default="cosine",
        description="cosine falls from learning_rate to 0 over all epochs, after a short warm-up; step divides it by "
        "ten at each third of them",
    )
    class_weights: bool = Field(
        default=False, description="segments of rare genres count more, in all as those of others"
    )
    precision: Precision = Field(
        default="auto",
        description="of products while fitting; auto: bfloat16 where the processor and the model gain by it",
    )
    keep: Keep = Field(
        default="best",
        description="which epoch's weights: the one with the best track accuracy on validation, or the last one, which "
        "a cosine schedule has come to rest at",
    )
    patience: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="epochs without a better validation before the fit stops; of ``keep: last`` no matter",
    )
    random_crop: bool = Field(default=True, description="segments start anywhere, not only at multiples of the hop")
    stretch: float = Field(default=0.0, ge=0, le=0.5, description="largest change of tempo, as a share")
    band_shift: int = Field(default=0, ge=0, le=64, description="largest shift up or down [mel bands]")
    gain: float = Field(default=0.0, ge=0, le=0.5, description="largest change of level, as a share of the range")
    equaliser: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="largest change of a register's level, as a share of the range; straight lines between registers",
    )
    translation: float = Field(default=0.0, ge=0, le=0.5, description="largest shift along time and bands, as a share")
    zoom: float = Field(default=0.0, ge=0, le=0.5, description="largest change of size along both, as a share")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="largest change of the spread of levels, as a share")
    noise: float = Field(default=0.0, ge=0, le=0.5, description="deviation of noise added to every cell")
    time_masks: int = Field(default=0, ge=0, le=10, description="stretches of frames blanked in a segment")
    time_mask_width: float = Field(default=0.15, ge=0, le=1, description="longest of them, as a share of the frames")
    band_masks: int = Field(default=0, ge=0, le=10, description="groups of neighbouring bands blanked in a segment")
    band_mask_width: float = Field(default=0.15, ge=0, le=1, description="widest of them, as a share of the bands")
    mixup: float = Field(
        default=0.0, ge=0, le=10, description="both parameters of the beta distribution that mixes two segments"
    )
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="of shuffling, augmentation and dropout")

    def resolved(self, architecture: str) -> Self:
        """These options with nothing left open; what is takes the value of the architecture's row.

        Parameters
        ----------
        architecture : str
            A key of `genreflow.models.MODELS`; of another model both have to be given.
        """
        row = MODELS.get(architecture)
        own = {} if row is None else {"learning_rate": row.learning_rate.default, "optimiser": row.optimiser}
        own = {key: value for key, value in own.items() if getattr(self, key) is None}
        if self.precision == "auto":
            gains = row is not None and row.bfloat16 and processor_gains()
            own["precision"] = "bfloat16" if gains else "float32"
        return self.model_copy(update=own)

    @classmethod
    def plain(cls, **values) -> Self:
        """Options without any augmentation, smoothing or decay: what the published systems were fitted with."""
        off = {
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
            "schedule": "constant",
            "random_crop": False,
            "stretch": 0.0,
            "band_shift": 0,
            "gain": 0.0,
            "equaliser": 0.0,
            "translation": 0.0,
            "zoom": 0.0,
            "contrast": 0.0,
            "noise": 0.0,
            "time_masks": 0,
            "band_masks": 0,
            "mixup": 0.0,
        }
        return cls(**{**off, **values})


@dataclass(frozen=True)
class Segmentation:
    """How tracks are cut into what a model sees.

    Parameters
    ----------
    seconds, hop_seconds : float > 0 [s]
        Length of a segment, and from one start to the next.
    front : FrontEnd
        By default as each architecture has it.
    """

    seconds: float
    hop_seconds: float
    front: FrontEnd = AS_PUBLISHED

    def changed(self, chosen: Mapping[str, object]) -> "Segmentation":
        """With other ``seconds`` (neighbours then overlap by the same share as before) or ``coefficients``."""
        seconds = chosen.get("seconds", self.seconds)
        front = replace(self.front, coefficients=chosen.get("coefficients", self.front.coefficients))
        return Segmentation(seconds, self.hop_seconds * seconds / self.seconds, front)
