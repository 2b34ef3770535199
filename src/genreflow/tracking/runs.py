"""A run of MLflow: parameters, learning curves, and how it ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import DatasetInput

from genreflow.tracking.orphans import end_orphaned_runs, process_tag
from genreflow.tracking.writer import MlflowWriter, RunHandle

# What the UI shows in its column "Source".
SOURCE = {"mlflow.source.name": "genreflow", "mlflow.source.type": "LOCAL"}


class LoggedRun:
    """An active run, which is written to without waiting for MLflow.

    It is addressed by its ID, not as MLflow's "active run", so that threads can each have their own.

    Parameters
    ----------
    writer : MlflowWriter
    experiment_id, run_id : str
    label : str
        Name in log messages.
    """

    def __init__(self, writer: MlflowWriter, experiment_id: str, run_id: str, *, label: str) -> None:
        self.writer, self.experiment_id, self.run_id = writer, experiment_id, run_id
        self.handle = RunHandle(label, run_id)

    @property
    def client(self) -> MlflowClient:
        return self.writer.client

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add a value to each metric.

        Parameters
        ----------
        metrics : mapping of str to float
        step : int >= 0
            The epoch, in learning curves.
        """
        self.writer.log_metrics(self.handle, metrics, step)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write parameters as text; MLflow does not let them change later."""
        self.writer.log_params(self.handle, params)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Write tags as text."""
        self.writer.set_tags(self.handle, tags)

    def log_inputs(self, inputs: list[DatasetInput]) -> None:
        """Write which datasets the run uses."""
        self.writer.log_inputs(self.handle, inputs)

    def end(self, status: str = "FINISHED", tags: Mapping[str, object] | None = None) -> None:
        """End the run as FINISHED, KILLED or FAILED."""
        self.set_tags(tags or {})
        self.writer.end_run(self.handle, status)


def run_name(*parts: str) -> str:
    """Return a name of a run for people, with the local time: "refit efficient, demo, 2026-11-25 14:02"."""
    return ", ".join([*parts, f"{datetime.now():%Y-%m-%d %H:%M}"])


def create_run(
    writer: MlflowWriter,
    experiment_id: str,
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> LoggedRun:
    """Create a run at once, which the caller ends; see `start_run` for one that ends with a block.

    Raises
    ------
    mlflow.exceptions.MlflowException
        The store cannot be reached.
    """
    created = writer.client.create_run(experiment_id, run_name=name, tags=as_text(SOURCE | dict(tags or {})))
    run = LoggedRun(writer, experiment_id, created.info.run_id, label=f"run {name!r}")
    run.log_params(params or {})
    return run


@contextmanager
def start_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> Iterator[LoggedRun]:
    """Create a run that ends with the block.

    It ends as FINISHED; as KILLED if the block is interrupted; as FAILED, with a tag ``error``, if the block raises any
    other exception. Then everything is written, or reported as lost if the store stays unreachable. Runs of killed
    processes are ended first.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    name : str
    params, tags : mapping of str to any, optional
        Written as text.
    """
    end_orphaned_runs(client, experiment_id)
    writer = MlflowWriter(client)
    run = create_run(writer, experiment_id, name, params=params, tags=dict(tags or {}) | process_tag())
    try:
        with ending(run):
            yield run
    finally:
        writer.close()


@contextmanager
def ending(run: LoggedRun) -> Iterator[None]:
    """End a run with the block, as `start_run` describes."""
    status, tags = "FAILED", {}
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except BaseException as error:
        tags = {"error": f"{type(error).__name__}: {error}"[:500]}
        raise
    finally:
        run.end(status, tags)


def as_text(values: Mapping[str, object]) -> dict[str, str]:
    """Return the values as text, as MLflow's tags are."""
    return {key: str(value) for key, value in values.items()}
