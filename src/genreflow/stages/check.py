"""params.yaml -> nothing but the certainty that it holds no mistake, before any stage touches what is there.

DVC removes the outs of a stage before it runs it: a mistake found by the stage that it concerns would cost its results.
"""

from genreflow.datasets.sources import DOWNLOADED, check_sources
from genreflow.errors import ParameterError
from genreflow.files import write_text
from genreflow.params import load_params
from genreflow.stages import CHECKED, run_stage


def main() -> None:
    data = load_params().data
    check_sources(data.source, subset=data.subset, components=data.sources)
    if {data.source, *(part.source for part in data.sources)} & set(DOWNLOADED):
        try:  # DVC does not start a stage whose dependency is not there
            data.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(
                f"params.yaml: data.path is {data.path}, which cannot be made a folder for downloads: {error.strerror}."
            ) from None
    write_text(CHECKED, "params.yaml is sound\n")


if __name__ == "__main__":
    run_stage(main)
