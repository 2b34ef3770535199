"""What a base log-mel spectrogram is: the numbers that make it, and the arrays that librosa computes from them once."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from genreflow.errors import ParameterError
from genreflow.files import atomic_file

# Part of every feature key: raise it when, and only when, the same spec gives other numbers than before.
FEATURE_VERSION = 2

LevelReference = Literal["max", "minmax", "full_scale"]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The parameters of a base log-mel spectrogram.

    A spectrogram is ``uint8`` of shape (frames, n_mels), low band first: 255 is the reference level, 0 is `top_db`
    below it, so that one step is ``top_db / 255`` dB (0.31 dB at 80). Eight bits are what imported spectrograms have,
    a quarter of the memory of float32, and exactly the same in training and in the service.

    Parameters
    ----------
    sample_rate : int > 0 [Hz]
    n_fft : int > 0 [samples]
        Length of the Hann window and of the transform.
    hop_length : int > 0 [samples]
    n_mels : int > 0
        Bands of the Slaney-style mel filter bank that ``librosa.filters.mel`` gives.
    fmin, fmax : float [Hz]
        ``0 <= fmin < fmax <= sample_rate / 2``.
    top_db : float > 0 [dB]
        Dynamic range kept below the reference.
    level_reference : {"max", "minmax", "full_scale"}
        ``max``: 255 is the loudest cell of the clip. ``minmax``: likewise, and 0 is its softest (cut at `top_db`).
        ``full_scale``: 255 is a sine of full scale in the band that passes most of it; the only one that keeps
        differences of level between clips.
    clip_seconds : float > 0 [s]
        Audio is taken in clips of this length, each with a level reference of its own.
    frames_kept : int > 0 or None
        Frames kept of a clip, evenly spaced without averaging; None keeps all of them.
    """

    # pydantic's, where params.yaml is checked against this class; an unknown key must not pass
    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float = 11025.0
    top_db: float = 80.0
    level_reference: LevelReference = "max"
    clip_seconds: float = 30.0
    frames_kept: int | None = None

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "top_db", "clip_seconds"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"features.{name} is {getattr(self, name)}; it must be greater than 0.")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ParameterError(
                f"features.fmin and features.fmax are {self.fmin} and {self.fmax}; "
                f"0 <= fmin < fmax <= sample_rate / 2 = {self.sample_rate / 2:g} Hz must hold."
            )
        if self.hop_length > self.n_fft:
            raise ParameterError(
                f"features.hop_length is {self.hop_length}; it must not exceed features.n_fft = {self.n_fft}."
            )
        if self.level_reference not in ("max", "minmax", "full_scale"):
            raise ParameterError(
                f"features.level_reference is {self.level_reference!r}; one of max, minmax, full_scale is right."
            )
        if self.frames_kept is not None and not 0 < self.frames_kept <= self.frames_computed:
            raise ParameterError(
                f"features.frames_kept is {self.frames_kept}; "
                f"a clip of {self.clip_seconds:g} s has 1 to {self.frames_computed} frames."
            )

    @property
    def clip_samples(self) -> int:
        """Samples of a clip."""
        return round(self.clip_seconds * self.sample_rate)

    @property
    def frames_computed(self) -> int:
        """Frames of a clip before any are dropped: those centred on multiples of `hop_length`."""
        return 1 + self.clip_samples // self.hop_length

    @property
    def frames_per_clip(self) -> int:
        """Frames of a clip as stored."""
        return self.frames_kept or self.frames_computed

    @property
    def frame_rate(self) -> float:
        """Stored frames in a second of audio [1/s]."""
        return self.frames_per_clip / self.clip_seconds

    def frames(self, seconds: float) -> int:
        """Stored frames in a stretch of `seconds`, at least one."""
        return max(1, math.floor(seconds * self.frame_rate + 0.5))

    def seconds(self, frames: int) -> float:
        """Seconds that `frames` stored frames last."""
        return frames / self.frame_rate

    def to_dict(self) -> dict:
        return asdict(self)

    @property
    def key(self) -> str:
        """Sixteen hex digits that name this spec and the version of the code that computes it."""
        text = json.dumps([FEATURE_VERSION, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FilterBank:
    """The arrays a spec stands for, computed once (by librosa) and shipped, so that the service needs no librosa.

    Parameters
    ----------
    mel : np.ndarray [shape=(n_mels, 1 + n_fft // 2), dtype=float32]
    window : np.ndarray [shape=(n_fft,), dtype=float32]
    """

    mel: np.ndarray
    window: np.ndarray

    def save(self, path: Path, *, spec: FeatureSpec | None = None) -> None:
        """Write the arrays, and the key of the spec where one is given."""
        key = {} if spec is None else {"key": np.array(spec.key)}
        with atomic_file(path) as temporary:
            np.savez_compressed(temporary, mel=self.mel, window=self.window, **key)

    @classmethod
    def load(cls, path: Path) -> "FilterBank":
        with np.load(path) as arrays:
            return cls(mel=arrays["mel"], window=arrays["window"])
