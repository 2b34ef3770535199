"""Parameters of `report` in params.yaml."""

from pydantic import Field

from genreflow.frozen import FrozenModel


class ReportParams(FrozenModel):
    mistakes: int = Field(default=12, ge=0, le=200, description="most confident mistakes in the evaluation report")
    excerpt_seconds: float = Field(
        default=8.0,
        ge=0,
        le=60,
        description="audio of each mistake or label error that the report holds; 0: links to the files in data/raw [s]",
    )
