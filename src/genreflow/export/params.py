"""Parameters of `bundle` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class BundleParams(FrozenModel):
    abstain_below: float | None = Field(default=None, ge=0, le=1, description="null: from validation")
