"""The run of a study, which is the parent of the runs of its trials."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from mlflow import MlflowClient
from mlflow.entities import Run

from genreflow.tracking.orphans import PARENT, end_orphaned_runs, process_tag
from genreflow.tracking.runs import SOURCE, LoggedRun, as_text, ending
from genreflow.tracking.writer import CLOSE_TIMEOUT_S, MlflowWriter

# Tag of the run of a study: the study's name.
STUDY = "genreflow.study"


@contextmanager
def study_run(
    client: MlflowClient,
    experiment_id: str,
    study_name: str,
    *,
    name: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    lead: bool = True,
    lock: Callable[[], AbstractContextManager[object]] = nullcontext,
    close_timeout: float = CLOSE_TIMEOUT_S,
) -> Iterator[LoggedRun]:
    """Join the run of a study, which is created if it does not exist: one run for all workers and restarts.

    When the block ends, everything that the study and its trials have queued is written, or reported as lost.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    study_name : str
    name : str, optional
        Of its run, for people; by default that of the study.
    params : mapping of str to any, optional
        MLflow's parameters cannot change: existing ones stay. What may change belongs in `tags`.
    tags : mapping of str to any, optional
        Written anew at each start of the lead worker.
    lead : bool
        The lead worker sets the run's status at the start and end of the block; other workers leave it.
    lock : callable
        Returns a context manager that one worker at a time can enter, so that only one of them creates the run.
    close_timeout : float [s]
        How long to wait at the end for a store that does not answer.
    """
    tags = SOURCE | dict(tags or {}) | {STUDY: study_name}
    with lock():
        found = _find_study(client, experiment_id, study_name)
        if found is None:
            found = client.create_run(experiment_id, run_name=name or study_name, tags=as_text(tags))
    writer = MlflowWriter(client)
    run = _StudyRun(writer, experiment_id, found.info.run_id, label=f"study {study_name}")
    try:
        run.log_params({name: value for name, value in (params or {}).items() if name not in found.data.params})
        if not lead:
            yield run
            return
        end_orphaned_runs(client, experiment_id, study=run.run_id)
        for key, value in process_tag().items():  # before the status: other processes end orphaned runs
            client.set_tag(run.run_id, key, value)
        client.update_run(run.run_id, status="RUNNING")
        run.set_tags(tags)
        with ending(run):
            yield run
    finally:
        writer.close(timeout=close_timeout)


class _StudyRun(LoggedRun):
    """A run that ends when its last trial has ended: a worker that finds the study complete does not prolong it."""

    def end(self, status: str = "FINISHED", tags: Mapping[str, object] | None = None) -> None:
        super().end(status, tags)
        self.writer.submit(lambda: self._end_with_last_trial(status), label=self.handle.label)

    def _end_with_last_trial(self, status: str) -> None:
        last = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{PARENT}` = '{self.run_id}' and attributes.end_time > 0",
            max_results=1,
            order_by=["attributes.end_time DESC"],
        )
        if last:
            self.client.set_terminated(self.run_id, status, end_time=last[0].info.end_time)


def _find_study(client: MlflowClient, experiment_id: str, study_name: str) -> Run | None:
    found = client.search_runs(
        [experiment_id], f"tags.`{STUDY}` = '{study_name}'", max_results=1, order_by=["attributes.start_time ASC"]
    )
    return found[0] if found else None
