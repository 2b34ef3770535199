"""Validate params.yaml, before any other stage runs.

DVC removes the outs of a stage before it runs the stage: an invalid parameter that only its own stage found would cost
the results of that stage. DVC does not run a stage with a missing dependency either: paths are checked here, too.
"""

from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import DOWNLOADABLE, check_sources
from genreflow.errors import ParameterError
from genreflow.files import write_text
from genreflow.params import load_params
from genreflow.stages import CHECKED


def main() -> None:
    data = load_params().data
    check_sources(data)
    check_paths(data)
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
