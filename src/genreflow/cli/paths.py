"""Types of arguments and options that are paths: what cannot be read or written is refused before the work begins."""

import os
from pathlib import Path

import click

from genreflow.errors import ParameterError
from genreflow.files import require_writable


class InputPath(click.ParamType[Path]):
    """A path to read. The command itself reports one at which nothing is."""

    name = "path"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        _require_path(param, value)
        try:
            os.stat(value)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            raise ParameterError(f"{_named(param, value)} must be readable; got {_reason(error)}.") from None
        return Path(value)


class OutputPath(click.ParamType[Path]):
    """A file to write, or a folder; missing parent folders are created when it is written.

    Parameters
    ----------
    folder : bool
        Whether it is a folder, which may exist.
    """

    name = "path"

    def __init__(self, *, folder: bool = False) -> None:
        self.folder = folder

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        _require_path(param, value)
        path, where = Path(value), _named(param, value)
        try:
            if path.is_dir() and not self.folder:
                raise ParameterError(f"{where} must be a file; got a folder.")
            if path.exists() and not path.is_file() and not path.is_dir():  # renaming a file to it would remove it
                raise ParameterError(f"{where} must be a file; got a device or a named pipe.")
            os.lstat(path.with_name(f".{path.name}.12345678.tmp{path.suffix}"))  # its name must not be too long, either
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise ParameterError(f"{where} must be writable; got {_reason(error)}.") from None
        try:
            require_writable(path if self.folder else path.parent)
        except OSError as error:
            raise ParameterError(f"{where} must be writable; got {error.strerror} in {error.filename}.") from None
        return path


def _require_path(param: click.Parameter | None, value: str | Path) -> None:
    """Refuse an empty argument, as of an unset variable in a script: as a path, it would be the working directory."""
    if not str(value):
        name = param.opts[0] if isinstance(param, click.Option) else "the argument"
        raise ParameterError(f"{name}: must be a path; got an empty one.")


def _named(param: click.Parameter | None, value: str | Path) -> str:
    option = param.opts[0] if isinstance(param, click.Option) else ""
    return f"{option} {value}".strip() + ":"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
