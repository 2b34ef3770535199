"""The exceptions of genreflow; a message is one sentence: what is wrong, where, and what would be right."""

from typing import Literal

AudioFault = Literal["undecodable", "unusable", "too_long"]


class GenreflowError(Exception):
    """Anything a user can mend; shown without a traceback, exit code 2."""


class ParameterError(GenreflowError):
    """A parameter, an option or a source is unknown, out of range or contradictory."""


class AudioError(GenreflowError):
    """One file cannot be classified.

    Parameters
    ----------
    code : {"undecodable", "unusable", "too_long"}
        ``undecodable``: no decoder reads it; ``unusable``: it decodes, but to nothing one could classify (no samples,
        NaN, silence); ``too_long``: longer than the limit in force.
    message : str
        One sentence, naming the file where it has a name.
    """

    def __init__(self, code: AudioFault, message: str) -> None:
        super().__init__(message)
        self.code: AudioFault = code

    def __reduce__(self) -> tuple:
        # An exception is pickled by its message alone, and one that cannot be brought back breaks a pool of workers.
        return type(self), (self.code, str(self))
