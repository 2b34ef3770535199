"""What an operator may set, each by an environment variable."""

import os
from dataclasses import dataclass, field, fields

from genreflow.errors import ParameterError


@dataclass(frozen=True)
class Settings:
    """Limits of the service and where its bundle is.

    Parameters
    ----------
    bundle : str
        ``GENREFLOW_BUNDLE``: folder of the bundle, from the project folder or the bento's.
    token : str
        ``GENREFLOW_TOKEN``: what a client must send as ``Authorization: Bearer <token>`` to have audio classified;
        empty asks for none.
    processes : int > 0
        ``GENREFLOW_PROCESSES``: processes that answer, a core each; on systems other than Linux one with two threads.
    max_megabytes : float > 0 [MB]
        ``GENREFLOW_MAX_MEGABYTES``: the largest request body that is read.
    max_minutes : float > 0 [min]
        ``GENREFLOW_MAX_MINUTES``: the longest audio that is classified.
    max_work_seconds : float > 0 [s]
        ``GENREFLOW_MAX_WORK_SECONDS``: processor time after which no further file of a batch is begun.
    max_files : int > 0
        ``GENREFLOW_MAX_FILES``: files in one batch.
    max_requests : int > 0
        ``GENREFLOW_MAX_REQUESTS``: requests under way or waiting; those beyond are turned away with 429.
    stall_seconds : float > 0 [s]
        ``GENREFLOW_STALL_SECONDS``: a client that sends nothing for so long is given up, and one
        that has not sent the head of a request by then, or does not read its answer.
    """

    bundle: str = "models/champion"
    token: str = field(default="", repr=False)
    processes: int = 2
    max_megabytes: float = 200.0
    max_minutes: float = 15.0
    max_work_seconds: float = 15.0
    max_files: int = 64
    max_requests: int = 32
    stall_seconds: float = 15.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is not str and not 0 < value < float("inf"):
                raise ParameterError(f"{_variable(each.name)} is {value}; a number greater than 0 is right.")
        if not self.token.isascii() or any(not letter.isprintable() or letter.isspace() for letter in self.token):
            raise ParameterError("GENREFLOW_TOKEN holds a space or a letter that no HTTP header can; ASCII is right.")

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
        for each in fields(cls):
            text = os.environ.get(_variable(each.name), "")
            try:
                if text:
                    values[each.name] = each.type(text)
            except ValueError:
                raise ParameterError(
                    f"{_variable(each.name)} is {text!r}; a number such as {each.default} is right."
                ) from None
        return cls(**values)


def _variable(name: str) -> str:
    return f"GENREFLOW_{name.upper()}"
