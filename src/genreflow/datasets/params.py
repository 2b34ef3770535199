"""Parameters of `data` in params.yaml."""

from pathlib import Path

from pydantic import Field

from genreflow.datasets.request import Component
from genreflow.frozen import FrozenModel


class DataParams(FrozenModel):
    source: str = Field(description="name of the source")
    path: Path = Field(description="the folder or file that the source reads")
    tracks: Path = Field(description="optional table of tracks: path, genre, group, split")
    genres: tuple[str, ...] = Field(default=(), description="a subset of the genres; empty takes all")
    subset: str | None = Field(default=None, description="of fma: small, medium, large or full; null: what is there")
    sources: tuple[Component, ...] = Field(default=(), description="of a combination, what it combines")
