"""The settings of the demo data, read from YAML."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genreflow.errors import ParameterError


class Settings(BaseModel):
    """How the demo music is composed; the same settings give the same files."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seed: int = Field(default=1, ge=0, lt=2**32)
    artists_per_genre: int = Field(default=10, ge=3, le=90)
    tracks_per_artist: int = Field(default=3, ge=1, le=99)
    seconds: float = Field(default=8.0, ge=2, le=600, description="mean length; a track differs by up to 10 % [s]")
    artists_who_borrow: float = Field(default=0.1, ge=0, le=1, description="share with a trait of a neighbouring genre")
    tracks_that_borrow: float = Field(default=0.2, ge=0, le=1, description="share with one trait (more) of a neighbour")


def load_settings(path: Path) -> Settings:
    """Read and check the settings.

    Raises
    ------
    ParameterError
        The file is missing, is no YAML mapping, or holds an unknown or out-of-range setting; all are named.
    """
    known = ", ".join(Settings.model_fields)
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise ParameterError(f"There is no settings file {path}; the demo data needs one with {known}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no readable YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path} must be a mapping with {known}.")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ParameterError("; ".join(_fault(fault, path, known) for fault in error.errors()) + ".") from None


def _fault(fault: dict, path: Path, known: str) -> str:
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{path} has an unknown setting {name}, the known ones are {known}"
    return f"{path}: {name} is {fault['input']!r}, {fault['msg'].replace('Input should', 'it should')}"
