"""Run a stage: ``python -m genreflow.stages NAME``, with the name that it has in dvc.yaml."""

import importlib
import sys

from genreflow.logs import configure_logging, exit_with_errors


def main(name: str) -> None:
    """Run a stage; see `exit_with_errors`."""
    configure_logging()
    with exit_with_errors():
        importlib.import_module(f"genreflow.stages.{name.replace('-', '_')}").main()


if __name__ == "__main__":
    main(sys.argv[1])
