"""A study is a run, each of its trials a child of it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run

from genreflow.tracking.runs import LoggedRun, create_run, ending, source, texts

PARENT, STUDY, TRIAL = "mlflow.parentRunId", "genreflow.study", "genreflow.trial"


@contextmanager
def study_run(
    client: MlflowClient,
    experiment_id: str,
    study_name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> Iterator[LoggedRun]:
    """The parent run of a study: the same one after a restart, and in every worker of the study.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    study_name : str
    params : mapping of str to any, optional
        MLflow's parameters cannot change: those of the first start stay. What may change belongs in `tags`.
    tags : mapping of str to any, optional
        Written anew at each start.
    """
    tags = source() | dict(tags or {}) | {STUDY: study_name}
    run = _find_study(client, experiment_id, study_name)
    if run is None:
        created = client.create_run(experiment_id, run_name=study_name, tags=texts(tags))
        run = _find_study(client, experiment_id, study_name)
        if run.info.run_id != created.info.run_id:  # another worker of the study was a moment earlier
            client.delete_run(created.info.run_id)
    logged = LoggedRun(client, experiment_id, run.info.run_id)
    client.update_run(logged.run_id, status="RUNNING")
    logged.set_tags(tags)
    logged.log_params({name: value for name, value in (params or {}).items() if name not in run.data.params})
    with ending(logged):
        yield logged


class StudyTrials:
    """The trials of a study, each a child run: what `genreflow.training.tune` writes its trials down with.

    Parameters
    ----------
    study : LoggedRun
        From `study_run`.
    tags : mapping of str to any, optional
        Of every trial, such as `lineage_tags`.
    name : str
        Of a trial's run, before its number.
    objective : str
        The metric whose highest epoch counts. MLflow's tables show the last epoch of a curve, so that each trial gets
        a metric ``best_<objective>`` beside it, and the study the best one of its finished trials.
    """

    def __init__(
        self,
        study: LoggedRun,
        *,
        tags: Mapping[str, object] | None = None,
        name: str = "trial",
        objective: str = "val_track_accuracy",
    ) -> None:
        self.study, self.tags, self.name, self.objective = study, dict(tags or {}), name, objective
        self._running: dict[str, tuple[int, LoggedRun, float]] = {}
        known = study.client.get_run(study.run_id).data.metrics
        self._best = known.get(f"best_{objective}", -math.inf)

    def start(self, number: int, params: Mapping[str, object]) -> str:
        """A trial begins: Optuna's number of it and what it tries; returns its run's id."""
        own = self.tags | {PARENT: self.study.run_id, TRIAL: number}
        run = create_run(self.study.client, self.study.experiment_id, f"{self.name} {number}", params=params, tags=own)
        self._running[run.run_id] = number, run, -math.inf
        return run.run_id

    def epoch(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Points on the learning curves of a trial."""
        number, run, best = self._running[run_id]
        run.log_epoch(metrics, epoch)
        self._running[run_id] = number, run, max(best, metrics.get(self.objective, best))

    def end(self, run_id: str, status: str, tags: Mapping[str, object]) -> None:
        """A trial is over: FINISHED, KILLED (pruned) or FAILED."""
        number, run, best = self._running.pop(run_id)
        run.set_tags(tags)
        if best > -math.inf:
            run.log_epoch({f"best_{self.objective}": best}, 0)
        run.end(status)
        if status == "FINISHED" and best > self._best:
            self._best = best
            self.study.log_metrics({f"best_{self.objective}": best}, number)


def fail_lost_trials(study: LoggedRun, alive: set[int]) -> int:
    """End, as FAILED, the trials that a killed process left running.

    Parameters
    ----------
    study : LoggedRun
    alive : set of int
        Numbers of the trials that Optuna holds to be running.

    Returns
    -------
    int
        How many were ended.
    """
    children = study.client.search_runs(
        [study.experiment_id], f"tags.`{PARENT}` = '{study.run_id}' and status = 'RUNNING'", max_results=10_000
    )
    lost = [run for run in children if int(run.data.tags.get(TRIAL, -1)) not in alive]
    for run in lost:
        study.client.set_tag(run.info.run_id, "error", "its process ended without a word")
        study.client.set_terminated(run.info.run_id, "FAILED")
    return len(lost)


def _find_study(client: MlflowClient, experiment_id: str, study_name: str) -> Run | None:
    found = client.search_runs(
        [experiment_id], f"tags.`{STUDY}` = '{study_name}'", max_results=1, order_by=["attributes.start_time ASC"]
    )
    return found[0] if found else None
