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
