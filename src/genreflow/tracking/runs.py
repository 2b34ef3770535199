"""A run of MLflow: parameters, curves, how it ended, and what it came from."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

# Written at most this often, so that the UI shows curves as they grow and an epoch pays next to nothing.
FLUSH_SECONDS = 2.0
# Tags of a trial: the run of its study, and Optuna's number of it.
PARENT, TRIAL = "mlflow.parentRunId", "genreflow.trial"


@dataclass
class LoggedRun:
    """A run under way, known by its id: threads may each have their own, since none is "the active run".

    Parameters
    ----------
    client : MlflowClient
    experiment_id, run_id : str
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    _pending: list[Metric] = field(default_factory=list, repr=False)
    _flushed: float = field(default_factory=time.monotonic, repr=False)

    def log_epoch(self, metrics: Mapping[str, float], step: int) -> None:
        """Points on the learning curves; they are written in batches, the last when the run ends.

        Parameters
        ----------
        metrics : mapping of str to float
        step : int >= 0
            The epoch.
        """
        now = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now, int(step)) for name, value in metrics.items()]
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Figures of the whole run, written at once."""
        self.log_epoch(metrics, step)
        self.flush()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters, written as text; MLflow's cannot be changed afterwards."""
        written = [Param(name, str(value)) for name, value in params.items()]
        for start in range(0, len(written), 100):  # MLflow's limit for one call
            self.client.log_batch(self.run_id, params=written[start : start + 100])

    def set_tags(self, tags: Mapping[str, object]) -> None:
        if tags:
            self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def log_artifact(self, path: Path | str) -> None:
        """A file, for people to look at."""
        self.client.log_artifact(self.run_id, str(path))

    def end(self, status: str = "FINISHED", tags: Mapping[str, object] | None = None) -> None:
        """Write what is held back, and end the run as FINISHED, KILLED or FAILED."""
        try:
            self.flush()
            self.set_tags(tags or {})
        finally:
            self.client.set_terminated(self.run_id, status)

    def flush(self) -> None:
        """Write what `log_epoch` holds back."""
        pending, self._pending, self._flushed = self._pending, [], time.monotonic()
        for start in range(0, len(pending), 1000):  # MLflow's limit for one call
            self.client.log_batch(self.run_id, metrics=pending[start : start + 1000])


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> LoggedRun:
    """A run that its caller ends; `start_run` is the one that ends by itself."""
    run = client.create_run(experiment_id, run_name=name, tags=texts(source() | dict(tags or {})))
    logged = LoggedRun(client, experiment_id, run.info.run_id)
    logged.log_params(params or {})
    return logged


@contextmanager
def start_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> Iterator[LoggedRun]:
    """A run from here to the end of the block.

    It ends FINISHED; KILLED when the block is interrupted; FAILED, with a tag ``error``, on any other exception, which
    goes on to the caller.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    name : str
    params, tags : mapping of str to any, optional
        Written as text.
    """
    run = create_run(client, experiment_id, name, params=params, tags=tags)
    with ending(run):
        yield run


def lineage_tags(root: Path | str = ".", **hashes: str) -> dict[str, str]:
    """What a run came from.

    Parameters
    ----------
    root : Path
        Project folder; its git revision is asked for, and whether tracked files differ from it.
    **hashes : str
        Such as ``data_hash``, ``split_hash``.

    Returns
    -------
    dict of str to str
        `hashes` with ``git_revision`` and ``git_dirty`` ("true", "false") where `root` is in a git repository, and
        ``dvc_experiment`` inside ``dvc exp run``.
    """
    tags = {name: str(value) for name, value in hashes.items()}
    if revision := _git(root, "rev-parse", "HEAD"):
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        tags |= {"git_revision": revision, "git_dirty": str(bool(changed)).lower()}
        tags["mlflow.source.git.commit"] = revision  # the UI's column "Version"
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = experiment
    return tags


@contextmanager
def ending(run: LoggedRun, write: Callable[[Callable[[], None]], object] = lambda call: call()) -> Iterator[None]:
    """End `run` with the block, as `start_run` says; `write` is given what does it."""
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
        write(lambda: run.end(status, tags))


def find_trial(study: LoggedRun, number: int) -> list[Run]:
    """The runs of a trial: one, or none."""
    return study.client.search_runs(
        [study.experiment_id], f"tags.`{PARENT}` = '{study.run_id}' and tags.`{TRIAL}` = '{number}'"
    )


def source() -> dict[str, object]:
    """What the UI shows in its column "Source"."""
    return {"mlflow.source.name": "genreflow", "mlflow.source.type": "LOCAL"}


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Values as MLflow's tags hold them."""
    return {key: str(value) for key, value in values.items()}


def _git(root: Path | str, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
