"""Run a stage: ``python -m genreflow.stages NAME``, with the name that it has in dvc.yaml."""

import importlib
import sys

from genreflow.errors import GenreflowError
from genreflow.logs import configure_logging


def main(name: str) -> None:
    """Run a stage; a `GenreflowError` ends it with its message and exit code 2, without a traceback."""
    configure_logging()
    try:
        importlib.import_module(f"genreflow.stages.{name.replace('-', '_')}").main()
    except GenreflowError as error:
        print(f"genreflow: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])
