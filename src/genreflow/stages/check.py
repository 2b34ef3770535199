"""params.yaml -> nothing but the certainty that it holds no mistake, before any stage touches what is there.

DVC removes the outs of a stage before it runs it: a mistake found by the stage that it concerns would cost its results.
"""

from genreflow.datasets.sources import SOURCES
from genreflow.datasets.split_methods import METHODS
from genreflow.errors import ParameterError
from genreflow.files import write_text
from genreflow.params import load_params
from genreflow.stages import CHECKED, run_stage


def main() -> None:
    params = load_params()
    for name, value, known in (
        ("data.source", params.data.source, SOURCES),
        ("split.method", params.split.method, METHODS),
    ):
        if value not in known:
            raise ParameterError(f"params.yaml: {name} is {value!r}; one of {', '.join(known)} is right.")
    write_text(CHECKED, "params.yaml is sound\n")


if __name__ == "__main__":
    run_stage(main)
