"""Validate params.yaml, before any other stage runs.

DVC removes the outs of a stage before it runs the stage: an invalid parameter that only its own stage found would cost
the results of that stage.
"""

from genreflow.datasets.sources import DOWNLOADABLE, check_sources
from genreflow.errors import ParameterError
from genreflow.files import write_text
from genreflow.params import load_params
from genreflow.stages import CHECKED


def main() -> None:
    data = load_params().data
    check_sources(data)
    if {data.source, *(part.source for part in data.sources)} & set(DOWNLOADABLE):
        try:  # DVC does not run a stage with a missing dependency
            data.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(
                f"params.yaml: data.path must be a folder that downloads can be written to; got {data.path} "
                f"({error.strerror})."
            ) from None
    write_text(CHECKED, "params.yaml is valid\n")
