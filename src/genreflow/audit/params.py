"""Parameters of `audit` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class AuditParams(FrozenModel):
    min_seconds: float = Field(default=1.0, ge=0, description="shorter tracks are left out [s]")
    silence_db: float = Field(default=-60.0, le=0, description="tracks that peak below are left out [dBFS]")
    clipped_share: float = Field(default=0.001, ge=0, le=1, description="more samples flat at full scale are noticed")
    near_duplicates: bool = Field(default=True, description="look for the same recording in other guise")
