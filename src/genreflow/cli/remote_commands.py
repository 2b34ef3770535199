"""`genreflow push` and `genreflow pull`: DVC's own, with one sentence where the remote storage goes away."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

# Loggers in which DVC reports each file that it could not transfer.
_LOGGERS = ("dvc", "dvc_data", "dvc_objects")


@click.command()
@click.argument("targets", nargs=-1)
@click.option("-r", "--remote", help="Name of the DVC remote.  [default: core.remote of .dvc/config]")
def push(targets: tuple[str, ...], remote: str | None) -> None:
    """Send data, features and models to the DVC remote.

    As `dvc push` does, for the outs of this commit or TARGETS. What the remote has already is not sent again, so that
    a second call continues where an outage ended the first one.
    """
    _transfer("push", targets, remote)


@click.command()
@click.argument("targets", nargs=-1)
@click.option("-r", "--remote", help="Name of the DVC remote.  [default: core.remote of .dvc/config]")
def pull(targets: tuple[str, ...], remote: str | None) -> None:
    """Fetch data, features and models from the DVC remote.

    As `dvc pull` does, for the outs of this commit or TARGETS. What is here already is not fetched again.
    """
    _transfer("pull", targets, remote)


def _transfer(direction: str, targets: tuple[str, ...], remote: str | None) -> None:
    """Push or pull, and print how many files that were.

    Raises
    ------
    GenreflowError
        Some files could not be transferred, or none.
    """
    from dvc.exceptions import DvcException, FileTransferError
    from dvc.repo import Repo

    from genreflow.errors import GenreflowError, counted
    from genreflow.logs import describe

    place = remote or "the remote"
    again = f"nothing is lost, and `genreflow {direction}` continues"
    with _collected_errors() as reasons:
        try:
            with Repo() as repo:
                name = remote or repo.config["core"].get("remote") or ""
                place = repo.config["remote"].get(name, {}).get("url", place)
                done = getattr(repo, direction)(targets=list(targets) or None, remote=remote)
        except DvcException as error:
            problem = " ".join(str(error).split()).rstrip(".")
            if not isinstance(error, FileTransferError) or not reasons:
                raise GenreflowError(f"dvc {direction}: {problem}.") from error
            raise GenreflowError(f"{place}: must be reachable; got {reasons[0]}: {problem}; {again}.") from error
        except Exception as error:
            # Of the remote's file system, before the first file.
            if (sentence := describe(error)) is None:
                raise
            raise GenreflowError(f"dvc {direction}: {sentence}; {again}.") from error
    number = done if isinstance(done, int) else done["stats"]["fetched"]
    click.echo(f"{counted(number, 'file')} {'sent to' if direction == 'push' else 'fetched from'} {place}.")


class _Reasons(logging.Handler):
    """Collects why files could not be transferred, instead of printing it for each of them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        reason = " ".join(str(error or record.getMessage()).split()).rstrip(".")
        self.reasons.append(reason[:300])


@contextmanager
def _collected_errors() -> Iterator[list[str]]:
    """Collect what DVC, which is imported already, logs as errors while the block runs, instead of printing it."""
    handler, loggers = _Reasons(), [logging.getLogger(name) for name in _LOGGERS]
    former = [logger.handlers for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler]
    try:
        yield handler.reasons
    finally:
        for logger, handlers in zip(loggers, former, strict=True):
            logger.handlers = handlers
