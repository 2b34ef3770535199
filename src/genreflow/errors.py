"""Exceptions of genreflow. A message is one sentence: where, what must be, and what was got."""

from pathlib import Path
from typing import Literal

AudioFault = Literal["undecodable", "unusable", "too_long"]


class GenreflowError(Exception):
    """An error that the user can correct. The command line prints it without a traceback and exits with code 2."""


class ParameterError(GenreflowError):
    """A parameter, an option or an input is unknown, out of range or inconsistent with another one."""


class DamagedFileError(ParameterError):
    """A result of a stage is missing, damaged, or of another version.

    Parameters
    ----------
    path : Path
    message : str
        One sentence, which names the file and the command that makes it anew.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type["DamagedFileError"], tuple[Path, str]]:
        return type(self), (self.path, str(self))


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 file``, ``2 files``.

    Parameters
    ----------
    number : int >= 0
    singular : str
    plural : str, optional
        By default `singular` with an ``s``.
    """
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


class AudioError(GenreflowError):
    """A file that cannot be classified.

    Parameters
    ----------
    code : {"undecodable", "unusable", "too_long"}
        ``undecodable``: no decoder can read the file. ``unusable``: the decoded audio has no samples, NaN, or only
        silence. ``too_long``: its duration exceeds the limit.
    message : str
        One sentence, which names the file if the audio comes from one.
    """

    def __init__(self, code: AudioFault, message: str) -> None:
        super().__init__(message)
        self.code: AudioFault = code

    def __reduce__(self) -> tuple[type["AudioError"], tuple[AudioFault, str]]:
        # By default an exception is pickled with its message as the only argument, which `__init__` rejects.
        return type(self), (self.code, str(self))
