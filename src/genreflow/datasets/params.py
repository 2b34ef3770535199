"""Parameters of `data` in params.yaml."""

from pathlib import Path

from pydantic import Field

from genreflow.frozen import FrozenModel


class ComponentParams(FrozenModel):
    """One of the sources of a combination."""

    source: str = Field(description="name of the source")
    path: Path = Field(description="where it is, relative to the folder of the combination")
    subset: str | None = Field(default=None, description="subset of a published dataset")
    genres: dict[str, str] = Field(
        default={}, description="the source's genres by their names here; genres not listed are left out, {}: keep all"
    )
    per_genre: int | None = Field(default=None, ge=1, description="maximum number of tracks per genre; null: no limit")


class DataParams(FrozenModel):
    """Which tracks are ingested."""

    source: str = Field(description="name of the source")
    path: Path = Field(description="the folder or file that the source reads")
    tracks: Path | None = Field(default=None, description="table of tracks: path, genre, group, split")
    genres: tuple[str, ...] = Field(default=(), description="subset of the genres; []: all")
    subset: str | None = Field(default=None, description="subset of fma: small, medium, large or full; null: detect")
    sources: tuple[ComponentParams, ...] = Field(default=(), description="the sources of a combination")
