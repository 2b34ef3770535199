"""Trials of a study as runs in MLflow, written without delaying the training."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.entities import Metric, Run

from genreflow.tracking.datasets import TrainingDataset
from genreflow.tracking.orphans import PARENT, process_tag
from genreflow.tracking.runs import SOURCE, LoggedRun, as_text
from genreflow.tracking.system_metrics import SAMPLE_INTERVAL_S, SystemMetricsSampler
from genreflow.tracking.writer import RunHandle, now_ms

# Tag of a trial: its number in Optuna.
TRIAL = "genreflow.trial"
# MLflow's status of a run, by how the trial ended.
STATUS = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "infeasible": "KILLED",
    "failed": "FAILED",
    "interrupted": "FAILED",
}


@dataclass
class _Trial:
    run: RunHandle
    best: float = -math.inf
    samples: int = 0
    ended: bool = False


class StudyTrials:
    """The trials of a study, each a child run; the `genreflow.tuning.run_trial.TrialTracker` of a study.

    Everything is written by the writer of the study's run, with the times at which it happened.

    Parameters
    ----------
    study : LoggedRun
        From `genreflow.tracking.study.study_run`.
    tags : mapping of str to any, optional
        Of every trial, such as `genreflow.tracking.lineage.lineage_tags`.
    name : str
        Prefix of the name of each run, before its number and its parameter ``architecture``.
    objective : str
        The metric whose maximum over the epochs counts. MLflow's tables show the last value of a metric, so each trial
        also gets ``best_<objective>``, and the study gets that of its best finished trial.
    dataset : TrainingDataset, optional
        What the trials are trained on.
    sample_interval : float > 0 [s]
        Of the system metrics.
    """

    def __init__(
        self,
        study: LoggedRun,
        *,
        tags: Mapping[str, object] | None = None,
        name: str = "trial",
        objective: str = "val_track_accuracy",
        dataset: TrainingDataset | None = None,
        sample_interval: float = SAMPLE_INTERVAL_S,
    ) -> None:
        self._study, self._tags, self._name, self._objective = study, dict(tags or {}), name, objective
        self._client, self._writer = study.client, study.writer
        self._inputs = [dataset.to_input(self._tags)] if dataset else []
        self._sample_interval = sample_interval
        self._trials: dict[int, _Trial] = {}
        self._lock = threading.Lock()
        self._sampler: SystemMetricsSampler | None = None
        if self._inputs:
            study.log_inputs(self._inputs)

    def start(self, number: int, params: Mapping[str, object], tags: Mapping[str, object] | None = None) -> None:
        """Create the run of a trial.

        Parameters
        ----------
        number : int >= 0
            Optuna's.
        params, tags : mapping of str to any
            Written as text.
        """
        run, started = RunHandle(f"{self._name} {number}"), now_ms()

        def create() -> None:
            run.run_id = self._create(number, started, tags, params)

        self._writer.submit(create, label=run.label)
        self._writer.log_params(run, params)
        if self._inputs:
            self._writer.log_inputs(run, self._inputs)
        with self._lock:
            self._trials[number] = _Trial(run)
            if self._sampler is None:
                self._sampler = SystemMetricsSampler(self._on_sample, interval=self._sample_interval)

    def log_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add a point to each learning curve of a trial."""
        with self._lock:
            trial = self._trials[number]
            trial.best = max(trial.best, metrics.get(self._objective, trial.best))
        self._writer.log_metrics(trial.run, metrics, epoch)

    def end(
        self,
        number: int,
        status: str,
        *,
        tags: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """End the run of a trial as FINISHED, KILLED (pruned, infeasible) or FAILED."""
        ended = now_ms()
        with self._lock:
            trial = self._trials[number]
            trial.ended = True
            best, samples = trial.best, trial.samples
        final = dict(metrics or {})
        if best > -math.inf:
            final[f"best_{self._objective}"] = best
        self._writer.log_metrics(trial.run, final)
        if self._sampler is not None:
            self._writer.log_metrics(trial.run, self._sampler.sample(), samples)
        self._writer.set_tags(trial.run, tags or {})
        self._writer.end_run(trial.run, status, end_time=ended)
        if status == "FINISHED" and best > -math.inf:
            label = f"best accuracy of {self._study.handle.label}"
            self._writer.submit(lambda: self._update_best(number, best, ended), label=label)

    def run_id(self, number: int) -> str | None:
        """Return the run of a trial, or None as long as MLflow has not created it."""
        return self._trials[number].run.run_id if number in self._trials else None

    def end_orphaned(self, states: Mapping[int, str]) -> None:
        """End the runs of trials that have ended in Optuna, but whose worker died before it ended the run.

        A trial whose worker died before MLflow had created its run gets one.

        Parameters
        ----------
        states : mapping of int to str
            How trials ended, by number: a key of `STATUS`. Trials whose worker may still write are best left out.
        """
        if states:
            ended = dict(states)
            self._writer.submit(lambda: self._end_orphaned(ended), label="status of interrupted trials")

    def stop(self) -> None:
        """Stop sampling the load. What is queued is written by the writer of the study's run."""
        if self._sampler is not None:
            self._sampler.stop()

    def _on_sample(self, sample: Mapping[str, float]) -> None:
        with self._lock:
            active = [(trial.run, trial.samples) for trial in self._trials.values() if not trial.ended]
            for trial in self._trials.values():
                trial.samples += not trial.ended
        for run, step in active:
            self._writer.log_metrics(run, sample, step)

    def _create(
        self,
        number: int,
        start_time: int,
        tags: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
    ) -> str:
        """Create the run of a trial; if the response to an earlier attempt was lost, there is still only one run."""
        tags = SOURCE | self._tags | process_tag() | dict(tags or {}) | {PARENT: self._study.run_id, TRIAL: number}
        name = f"{self._name} {number}"
        if architecture := (params or {}).get("architecture"):
            name = f"{name}, {architecture}"
        run = self._client.create_run(
            self._study.experiment_id, start_time=start_time, tags=as_text(tags), run_name=name
        )
        first, *others = find_trial(self._study, number) or [run]
        for other in others:
            self._client.delete_run(other.info.run_id)
        return first.info.run_id

    def _end_orphaned(self, states: Mapping[int, str]) -> None:
        for number, state in states.items():
            runs = find_trial(self._study, number) or [self._client.get_run(self._create(number, now_ms()))]
            for run in runs:
                # A worker may also die when the run has ended, and before its result is in the study.
                if run.info.status == "RUNNING" or (state == "interrupted" and run.info.status != STATUS[state]):
                    self._client.set_tag(run.info.run_id, "trial", state)
                    self._client.set_tag(run.info.run_id, "error", _ORPHANED[state == "interrupted"])
                    self._client.set_terminated(run.info.run_id, STATUS[state])

    def _update_best(self, number: int, best: float, timestamp: int) -> None:
        """Write the best accuracy of all workers' trials to the study, as the last value, which MLflow shows."""
        name = f"best_{self._objective}"
        known = self._client.get_metric_history(self._study.run_id, name)
        if best > max((value.value for value in known), default=-math.inf):
            step = max([number, *(value.step for value in known)])
            self._client.log_batch(self._study.run_id, metrics=[Metric(name, best, timestamp, step)])


_ORPHANED = {
    True: "the worker was interrupted or died during the trial",
    False: "the worker died before its last writes, which may be missing",
}


def find_trial(study: LoggedRun, number: int) -> list[Run]:
    """Return the runs of a trial: one, or none."""
    return study.client.search_runs(
        [study.experiment_id], f"tags.`{PARENT}` = '{study.run_id}' and tags.`{TRIAL}` = '{number}'"
    )
