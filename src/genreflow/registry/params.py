"""Parameters of `gate` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class GateParams(FrozenModel):
    min_probability: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="that the candidate is better than the champion, from which it is promoted",
    )
