"""Trials of a study as runs of MLflow, written down without ever making the training wait."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from genreflow.tracking import runs
from genreflow.tracking.lineage import Lineage
from genreflow.tracking.outbox import Outbox
from genreflow.tracking.runs import PARENT, TRIAL, LoggedRun, find_trial, source, texts
from genreflow.tracking.system import Sampler

# MLflow's word for how a trial ended.
STATUS = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "infeasible": "KILLED",
    "failed": "FAILED",
    "interrupted": "FAILED",
}


@dataclass
class _Trial:
    number: int
    run_id: str | None = None
    best: float = -math.inf
    pending: list[Metric] = field(default_factory=list)
    flushed: float = field(default_factory=time.monotonic)
    samples: int = 0
    over: bool = False


class StudyTrials:
    """The trials of a study, each a child run: what `genreflow.tuning.study` writes its trials down with.

    Nothing but `close` waits for MLflow: all is written by an `Outbox`, with the times at which it happened.

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
    dataset : Lineage, optional
        What the trials are trained on.
    outbox : Outbox, optional
        An own one by default.
    """

    def __init__(
        self,
        study: LoggedRun,
        *,
        tags: Mapping[str, object] | None = None,
        name: str = "trial",
        objective: str = "val_track_accuracy",
        dataset: Lineage | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.study, self.tags, self.name, self.objective = study, dict(tags or {}), name, objective
        self.client, self.outbox = study.client, outbox or Outbox(study.client.tracking_uri)
        self._inputs = [dataset.as_input(self.tags)] if dataset else []
        self._trials: dict[int, _Trial] = {}
        self._turn = threading.Lock()
        self._sampler: Sampler | None = None
        if self._inputs:
            self.outbox.put(lambda: self._log_inputs(study.run_id), of="the study")

    def start(self, number: int, params: Mapping[str, object], tags: Mapping[str, object] | None = None) -> None:
        """A trial begins: Optuna's number of it and what it tries."""
        trial, now = _Trial(number), _now()
        written = [Param(key, str(value)) for key, value in params.items()]

        def create() -> None:
            trial.run_id = self._create(number, now, tags)

        self._put(trial, create)
        for at in range(0, len(written), 100):  # MLflow's limit for one call
            self._put(trial, lambda some=written[at : at + 100]: self.client.log_batch(trial.run_id, params=some))
        if self._inputs:
            self._put(trial, lambda: self._log_inputs(trial.run_id))
        with self._turn:
            self._trials[number] = trial
            self._sampler = self._sampler or Sampler(self._sampled)

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Points on the learning curves of a trial."""
        with self._turn:
            trial = self._trials[number]
            trial.best = max(trial.best, metrics.get(self.objective, trial.best))
            trial.pending += _points(metrics, epoch)
            self._flush(trial, every=runs.FLUSH_SECONDS)

    def end(
        self,
        number: int,
        status: str,
        *,
        tags: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """A trial is over: FINISHED, KILLED (pruned) or FAILED."""
        now, final = _now(), dict(metrics or {})
        sample = self._sampler.now()
        with self._turn:
            trial = self._trials[number]
            best, trial.over = trial.best, True
            if best > -math.inf:
                final[f"best_{self.objective}"] = best
            trial.pending += [*_points(final, 0), *_points(sample, trial.samples)]
            self._flush(trial)
        if tags:
            written = [RunTag(key, str(value)) for key, value in tags.items()]
            self._put(trial, lambda: self.client.log_batch(trial.run_id, tags=written))
        self._put(trial, lambda: self.client.set_terminated(trial.run_id, status, end_time=now))
        if status == "FINISHED" and best > -math.inf:
            self._put(trial, lambda: self._note_best(number, best, now))

    def settle(self, ended: Mapping[int, str]) -> None:
        """End the runs of trials that are over but look as if they went on, as `settle_trials` does.

        A trial whose process was killed before MLflow heard of it gets its run here.
        """
        known = dict(ended)
        self.outbox.put(lambda: self._settle(known), of="trials that were cut off")

    def run_id(self, number: int) -> str | None:
        """The run of a trial; None as long as MLflow has not made it."""
        return self._trials[number].run_id if number in self._trials else None

    def close(self, *, seconds: float = 120, say: Callable[[str], object] = print) -> int:
        """Write what is held back, for `seconds` at most, and say what was lost; returns how many writes were."""
        if self._sampler is not None:
            self._sampler.stop()
        with self._turn:
            for trial in self._trials.values():
                self._flush(trial)
        return self.outbox.close(seconds=seconds, say=say)

    def _put(self, trial: _Trial, call: Callable[[], object], points: int = 0) -> None:
        self.outbox.put(call, of=f"{self.name} {trial.number}", points=points)

    def _flush(self, trial: _Trial, *, every: float = 0.0) -> None:
        if not trial.pending or time.monotonic() - trial.flushed < every:
            return
        points, trial.pending, trial.flushed = trial.pending, [], time.monotonic()
        for at in range(0, len(points), 1000):  # MLflow's limit for one call
            some = points[at : at + 1000]
            self._put(trial, lambda some=some: self.client.log_batch(trial.run_id, metrics=some), len(some))

    def _sampled(self, sample: Mapping[str, float]) -> None:
        with self._turn:
            for trial in self._trials.values():
                if not trial.over:
                    trial.pending += _points(sample, trial.samples)
                    trial.samples += 1
                    self._flush(trial, every=runs.FLUSH_SECONDS)

    def _settle(self, ended: Mapping[int, str]) -> None:
        for number in ended:
            if not find_trial(self.study, number):
                self._create(number, _now())
        settle_trials(self.study, ended)

    def _create(self, number: int, start_time: int, tags: Mapping[str, object] | None = None) -> str:
        """The run of a trial, one also where the answer to the first try was lost on its way."""
        own = texts(source() | self.tags | dict(tags or {}) | {PARENT: self.study.run_id, TRIAL: number})
        run = self.client.create_run(
            self.study.experiment_id, start_time=start_time, tags=own, run_name=f"{self.name} {number}"
        )
        first, *others = find_trial(self.study, number) or [run]
        for other in others:
            self.client.delete_run(other.info.run_id)
        return first.info.run_id

    def _log_inputs(self, run_id: str) -> None:
        try:
            self.client.log_inputs(run_id, self._inputs)
        except MlflowException as error:
            if error.get_http_status_code() >= 500:
                raise
            self.client.log_inputs(run_id, self._inputs)  # another worker made the same data set just now

    def _note_best(self, number: int, best: float, when: int) -> None:
        """Let the study show the best of all its workers' trials: as the last point, which is the one MLflow shows."""
        name = f"best_{self.objective}"
        known = self.client.get_metric_history(self.study.run_id, name)
        if best > max((point.value for point in known), default=-math.inf):
            step = max([number, *(point.step for point in known)])
            self.client.log_batch(self.study.run_id, metrics=[Metric(name, best, when, step)])


def settle_trials(study: LoggedRun, ended: Mapping[int, str]) -> int:
    """End the runs of trials that are over but look as if they went on: a killed process leaves them so.

    It may have been killed in the trial, or after it, with the trial's last writes still to do.

    Parameters
    ----------
    study : LoggedRun
    ended : mapping of int to str
        How each trial ended, by its number: a key of `STATUS`.

    Returns
    -------
    int
        How many were ended here.
    """
    running = study.client.search_runs(
        [study.experiment_id], f"tags.`{PARENT}` = '{study.run_id}' and status = 'RUNNING'", max_results=10_000
    )
    left = [(run, how) for run in running if (how := ended.get(int(run.data.tags.get(TRIAL, -1))))]
    for run, how in left:
        what = (
            "its process ended without a word" if how == "interrupted" else "its process ended before its last writes"
        )
        trial = LoggedRun(study.client, study.experiment_id, run.info.run_id)
        trial.end(STATUS[how], {"trial": how, "error": what})
    return len(left)


def _points(metrics: Mapping[str, float], step: int) -> list[Metric]:
    now = _now()
    return [Metric(name, float(value), now, int(step)) for name, value in metrics.items()]


def _now() -> int:
    return int(time.time() * 1000)
