"""Parameters of `audit` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class AuditParams(FrozenModel):
    """Thresholds of the audit."""

    min_seconds: float = Field(default=1.0, ge=0, description="tracks shorter than this are left out [s]")
    silence_db: float = Field(default=-60.0, le=0, description="tracks with a lower peak are left out [dBFS]")
    clipped_share: float = Field(
        default=0.001, ge=0, le=1, description="tracks with a larger share of clipped samples are flagged"
    )
    track_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="tracks with a larger share of their genre's audio are flagged, if much longer than the others",
    )
    near_duplicates: bool = Field(default=True, description="find copies at another level, offset, speed or codec")
