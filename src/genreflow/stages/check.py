"""Validate params.yaml, before any other stage runs.

DVC removes the outs of a stage before it runs the stage: an invalid parameter that only its own stage found would cost
the results of that stage. DVC does not run a stage with a missing dependency either, and it
fails at some files in a folder, or waits for ever: paths are checked here, too. `make run` runs this module before DVC
starts as well, so that DVC finds a dvc.lock that it can read.
"""

import os
from pathlib import Path

from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import DOWNLOADABLE, check_sources
from genreflow.errors import ParameterError, counted
from genreflow.file_names import one_line, utf8_name
from genreflow.files import require_regular, write_text
from genreflow.params import load_params
from genreflow.stages import CHECKED
from genreflow.stages.dvc_files import repair_dvc_files


def main() -> None:
    repair_dvc_files()
    data = load_params().data
    check_sources(data)
    check_paths(data)
    check_files(data.path)
    write_text(CHECKED, "params.yaml is valid\n")


def check_paths(data: DataParams) -> None:
    """Check that `data.path` and `data.tracks` exist, and create a `data.path` that downloads go to.

    Raises
    ------
    ParameterError
        One of them does not exist.
    """
    if {data.source, *(part.source for part in data.sources)} & set(DOWNLOADABLE) and str(data.path)[0] != "~":
        try:
            data.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ParameterError(
                f"params.yaml: data.path must be a folder that downloads can be written to; got {data.path} ({reason})."
            ) from None
    if not data.path.exists():
        hint = "`~` is not expanded here" if str(data.path)[0] == "~" else "nothing is there"
        raise ParameterError(
            f"params.yaml: data.path must exist; got {data.path}, but {hint}. `genreflow use DIR` checks a folder and "
            "writes its path."
        )
    if data.tracks is None or not data.tracks.is_file():
        raise ParameterError(
            f"params.yaml: data.tracks must be a CSV file, which may be empty; got {data.tracks or 'null'}."
        )


def check_files(path: Path) -> None:
    """Check that DVC can compute the hash of a file or folder, hidden files included.

    Raises
    ------
    ParameterError
        It would fail or wait for ever: of names that are not UTF-8, broken links, named pipes and devices.
    """
    within = (os.path.join(parent, name) for parent, _, names in os.walk(path) for name in names)
    files = within if path.is_dir() else [os.fspath(path)]
    found = sorted((utf8_name(file), reason) for file in files if (reason := _why_unreadable(file)))
    if found:
        first, reason = found[0]
        raise ParameterError(
            f"params.yaml: data.path must be readable by DVC as a whole; got {counted(len(found), 'file')} that "
            f"{'is' if len(found) == 1 else 'are'} not, such as {one_line(first)} ({reason}). Rename or remove "
            f"{'it' if len(found) == 1 else 'them'}."
        )


def _why_unreadable(path: str) -> str:
    """Return why DVC cannot read a file; empty if it can."""
    try:
        require_regular(Path(path))
    except OSError as error:
        return "a broken link" if os.path.islink(path) and not os.path.exists(path) else str(error.strerror)
    if not os.access(path, os.R_OK):
        return "Permission denied"
    return "" if utf8_name(path) == path else "its name is not UTF-8"
