"""Settings of the demo data, read from YAML."""

from pathlib import Path

import yaml
from pydantic import ConfigDict, Field, ValidationError

from genreflow.constraints import messages
from genreflow.errors import ParameterError
from genreflow.files import require_regular
from genreflow.frozen import FrozenModel


class Settings(FrozenModel):
    """Settings of the demo music; equal settings give equal files."""

    model_config = ConfigDict(strict=True)

    seed: int = Field(default=1, ge=0, lt=2**32)
    artists_per_genre: int = Field(default=10, ge=3, le=90)
    tracks_per_artist: int = Field(default=3, ge=1, le=99)
    seconds: float = Field(default=8.0, ge=2, le=600, description="mean duration; tracks deviate by up to 10 % [s]")
    artists_who_borrow: float = Field(default=0.1, ge=0, le=1, description="share with a trait of a neighbouring genre")
    tracks_that_borrow: float = Field(default=0.2, ge=0, le=1, description="share with one more trait of a neighbour")


def load_settings(path: Path) -> Settings:
    """Read and validate the settings.

    Raises
    ------
    ParameterError
        The file is missing, is not a YAML mapping, or has an unknown or invalid setting; all are reported.
    """
    expected = f"must be a YAML mapping with {', '.join(Settings.model_fields)}"
    try:
        require_regular(path)
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ParameterError(f"data.path: {expected}; got {path}, which is not a file.") from None
    except OSError as error:
        raise ParameterError(f"data.path: {expected}; got {path}: {error.strerror}.") from None
    except RecursionError:
        raise ParameterError(f"{path}: {expected}; got YAML that is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{path}: {expected}; got {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: {expected}; got {type(content).__name__}.")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ParameterError(" ".join(messages(error, Settings, source=str(path)))) from None
