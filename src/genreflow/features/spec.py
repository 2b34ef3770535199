"""What a base log-mel spectrogram is: its parameters, and the arrays that librosa computes from them once."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from genreflow.constraints import messages
from genreflow.errors import ParameterError
from genreflow.files import DAMAGED_NPZ, atomic_file
from genreflow.frozen import FrozenModel

# Part of every feature key. Increase it if, and only if, the same spec gives other values than before.
FEATURE_VERSION = 3

LevelReference = Literal["max", "minmax", "full_scale"]


class RowSpec(Protocol):
    """What the rows of a feature store are: frames of log-mel spectrograms, or embeddings of segments.

    Attributes
    ----------
    stage : str
        The stage of dvc.yaml that writes such a store.
    row_type : str
        NumPy's type of a value.
    """

    stage: ClassVar[str]
    row_type: ClassVar[str]

    @property
    def key(self) -> str:
        """Identifies the spec and the version of the code that computes the rows."""
        ...

    @property
    def row_size(self) -> int:
        """Values of a row."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters by name, ready for JSON."""
        ...


class FeatureSpec(FrozenModel):
    """Parameters of a base log-mel spectrogram: `features` in params.yaml.

    A spectrogram is uint8 of shape (frames, n_mels), low band first. 255 is the reference level and 0 is `top_db` below
    it: a step is ``top_db / 255`` dB, or 0.31 dB at 80 dB. Published spectrograms have eight bits too, it is a quarter
    of the memory of float32, and training and service read identical values.

    The filter bank is Slaney's, as ``librosa.filters.mel`` computes it; the window is a periodic Hann window.

    The reference level of a clip is that of its loudest bin (``max``), or that of a full-scale sine in the band that
    passes most of it (``full_scale``), which alone preserves level differences between clips. With ``minmax`` 255 is
    the loudest bin and 0 the softest one, limited by `top_db`.
    """

    stage: ClassVar[str] = "featurize"
    row_type: ClassVar[str] = "|u1"

    sample_rate: int = Field(default=22050, gt=0, description="[Hz]")
    n_fft: int = Field(default=2048, gt=0, description="length of the FFT and of its window [samples]")
    hop_length: int = Field(default=512, gt=0, description="at most n_fft [samples]")
    n_mels: int = Field(default=128, gt=0, description="number of mel bands")
    fmin: float = Field(default=0.0, ge=0, description="lowest frequency of the filter bank [Hz]")
    fmax: float = Field(default=11025.0, gt=0, description="highest frequency, at most sample_rate / 2 [Hz]")
    top_db: float = Field(default=80.0, gt=0, description="dynamic range below the reference level [dB]")
    level_reference: LevelReference = Field(default="max", description="the level that 255 stands for")
    clip_seconds: float = Field(default=30.0, gt=0, description="length of a clip, which has one reference level [s]")
    frames_kept: int | None = Field(
        default=None, gt=0, description="frames kept per clip, evenly spaced and not averaged; null: all"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fmin >= self.fmax:
            raise ValueError(f"features.fmin must be < features.fmax ({self.fmax:g}); got {self.fmin:g}")
        if self.fmax > self.sample_rate / 2:
            raise ValueError(
                f"features.fmax must be <= features.sample_rate / 2 ({self.sample_rate / 2:g}); got {self.fmax:g}"
            )
        if self.hop_length > self.n_fft:
            raise ValueError(f"features.hop_length must be <= features.n_fft ({self.n_fft}); got {self.hop_length}")
        if self.frames_kept is not None and self.frames_kept > self.frames_computed:
            raise ValueError(
                f"features.frames_kept must be <= {self.frames_computed}, the frames of a clip of "
                f"{self.clip_seconds:g} s; got {self.frames_kept}"
            )
        return self

    def replace(self, **changes: Any) -> "FeatureSpec":
        """Return a spec with other values of some parameters.

        Raises
        ------
        ParameterError
            A value is out of range, or does not match the others.
        """
        try:
            return FeatureSpec(**self.to_dict() | changes)
        except ValidationError as error:
            raise ParameterError("\n".join(messages(error, FeatureSpec, source="feature spec"))) from None

    @property
    def clip_samples(self) -> int:
        """Length of a clip [samples]."""
        return round(self.clip_seconds * self.sample_rate)

    @property
    def frames_computed(self) -> int:
        """Frames of a clip before `frames_kept` applies; they are centred on multiples of `hop_length`."""
        return 1 + self.clip_samples // self.hop_length

    @property
    def frames_per_clip(self) -> int:
        """Frames of a clip as stored."""
        return self.frames_kept or self.frames_computed

    @property
    def frame_rate(self) -> float:
        """Stored frames per second [Hz]."""
        return self.frames_per_clip / self.clip_seconds

    def frames(self, seconds: float) -> int:
        """Return the number of stored frames in `seconds`, at least 1."""
        return max(1, math.floor(seconds * self.frame_rate + 0.5))

    def seconds(self, frames: int) -> float:
        """Return the duration of `frames` stored frames [s]."""
        return frames / self.frame_rate

    @property
    def row_size(self) -> int:
        """Mel bands of a frame."""
        return self.n_mels

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters by name, ready for JSON."""
        return self.model_dump()

    @property
    def key(self) -> str:
        """Sixteen hex digits that identify this spec and `FEATURE_VERSION`."""
        text = json.dumps([FEATURE_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FilterBank:
    """The arrays of a spec. librosa computes them once, and they are stored, so that the service needs no librosa.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, 1 + n_fft // 2), dtype=float32]
        Weights of the mel bands.
    window : np.ndarray [shape=(n_fft,), dtype=float32]
    """

    mel: np.ndarray
    window: np.ndarray

    def check(self, spec: FeatureSpec) -> None:
        """Check that the shapes are those of a spec.

        Raises
        ------
        ParameterError
            They are not.
        """
        expected = (spec.n_mels, 1 + spec.n_fft // 2), (spec.n_fft,)
        if (self.mel.shape, self.window.shape) != expected:
            raise ParameterError(
                f"filter bank: mel and window must have the shapes {expected[0]} and {expected[1]}; got "
                f"{self.mel.shape} and {self.window.shape}."
            )

    def save(self, path: Path, *, spec: FeatureSpec | None = None) -> None:
        """Write the arrays as ``.npz``, atomically.

        Parameters
        ----------
        path : Path
        spec : FeatureSpec, optional
            Its key is stored with the arrays.
        """
        with atomic_file(path) as temporary:
            if spec is None:
                np.savez_compressed(temporary, mel=self.mel, window=self.window)
            else:
                np.savez_compressed(temporary, mel=self.mel, window=self.window, key=np.array(spec.key))

    @classmethod
    def load(cls, path: Path) -> "FilterBank":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            The file is missing or damaged.
        """
        try:
            with np.load(path) as arrays:
                return cls(mel=arrays["mel"], window=arrays["window"])
        except DAMAGED_NPZ as error:
            reason = getattr(error, "strerror", None) or str(error).removesuffix(".") or type(error).__name__
            raise ParameterError(f"{path}: must be a filter bank; got {reason}.") from error
