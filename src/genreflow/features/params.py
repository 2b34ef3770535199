"""Parameters of `features` in params.yaml: a feature spec, of which some values may be left to the architectures."""

from pydantic import Field, ValidationError

from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec, LevelReference
from genreflow.frozen import FrozenModel


class FeatureParams(FrozenModel):
    """A `genreflow.features.spec.FeatureSpec`; null: what the searched architectures need.

    A pretrained network takes the spectrograms that it was trained on. Networks that are trained from scratch are
    better on librosa's defaults, see docs/experiments.md.
    """

    sample_rate: int | None = Field(default=None, gt=0, description="[Hz]")
    n_fft: int | None = Field(default=None, gt=0, description="length of the FFT and of its window [samples]")
    hop_length: int | None = Field(default=None, gt=0, description="at most n_fft [samples]")
    n_mels: int | None = Field(default=None, gt=0, description="number of mel bands")
    fmin: float = Field(default=0.0, ge=0, description="lowest frequency of the filter bank [Hz]")
    fmax: float | None = Field(default=None, gt=0, description="highest frequency, at most sample_rate / 2 [Hz]")
    top_db: float | None = Field(default=None, gt=0, description="dynamic range below the reference level [dB]")
    level_reference: LevelReference | None = Field(default=None, description="the level that 255 stands for")
    clip_seconds: float = Field(default=30.0, gt=0, description="length of a clip, which has one reference level [s]")
    frames_kept: int | None = Field(
        default=None, gt=0, description="frames kept per clip, evenly spaced and not averaged; null: all"
    )

    def resolve(self, default: FeatureSpec) -> FeatureSpec:
        """Return the spec with the values of `default` where these parameters are None.

        Raises
        ------
        ParameterError
            The values do not match each other.
        """
        try:
            return FeatureSpec(**default.to_dict() | self.model_dump(exclude_none=True))
        except ValidationError as error:
            raise ParameterError(f"{error.errors()[0]['ctx']['error']}.") from None
