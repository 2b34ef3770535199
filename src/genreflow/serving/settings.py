"""What an operator may set, each by an environment variable."""

import os
from dataclasses import dataclass

from genreflow.errors import ParameterError


@dataclass(frozen=True)
class Settings:
    """Limits of the service and where its bundle is.

    Parameters
    ----------
    bundle : str
        ``GENREFLOW_BUNDLE``: folder of the bundle, from the project folder or the bento's.
    max_megabytes : float > 0 [MB]
        ``GENREFLOW_MAX_MEGABYTES``: the largest request body that is read.
    max_minutes : float > 0 [min]
        ``GENREFLOW_MAX_MINUTES``: the longest audio that is classified.
    max_files : int > 0
        ``GENREFLOW_MAX_FILES``: files in one batch.
    stall_seconds : float > 0 [s]
        ``GENREFLOW_STALL_SECONDS``: a client that sends nothing for so long is given up.
    """

    bundle: str = "models/champion"
    max_megabytes: float = 200.0
    max_minutes: float = 15.0
    max_files: int = 64
    stall_seconds: float = 15.0

    def __post_init__(self) -> None:
        for name in ("max_megabytes", "max_minutes", "max_files", "stall_seconds"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{_variable(name)} is {getattr(self, name)}; it must be greater than 0.")

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)

    @property
    def max_seconds(self) -> float:
        return self.max_minutes * 60

    @classmethod
    def from_environment(cls) -> "Settings":
        """The defaults, replaced by the variables that are set.

        Raises
        ------
        ParameterError
            A variable is no number or out of range.
        """
        values = {}
        for name, field in cls.__dataclass_fields__.items():
            text = os.environ.get(_variable(name), "")
            try:
                if text:
                    values[name] = field.type(text)
            except ValueError:
                raise ParameterError(
                    f"{_variable(name)} is {text!r}; a number such as {field.default} is right."
                ) from None
        return cls(**values)


def _variable(name: str) -> str:
    return f"GENREFLOW_{name.upper()}"
