"""Parameters of `bundle` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class BundleParams(FrozenModel):
    """How the served model answers."""

    abstain_below: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="confidence of a track under which the model abstains; null: chosen on validation",
    )
    refuse_above: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="distance from the training music above which a track is refused as unfamiliar; null: chosen so "
        "that at most 5 % of known tracks by other artists are refused",
    )
