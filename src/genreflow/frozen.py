"""The base class of the parameter models."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """An immutable set of parameters; unknown names and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
