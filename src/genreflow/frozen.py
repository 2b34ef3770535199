"""The base of every group of parameters in params.yaml: frozen, and strict about names."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Parameters that are checked once and never change; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
