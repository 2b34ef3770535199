"""A study is a run, each of its trials a child of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from mlflow import MlflowClient
from mlflow.entities import Run

from genreflow.tracking.outbox import attempt
from genreflow.tracking.runs import LoggedRun, ending, source, texts

STUDY = "genreflow.study"


@contextmanager
def study_run(
    client: MlflowClient,
    experiment_id: str,
    study_name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    lead: bool = True,
    turn: Callable[[], AbstractContextManager] = nullcontext,
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
        Written anew at each start of the lead.
    lead : bool
        False for a worker beside the lead: it joins the run, and leaves it as it is when it goes.
    turn : callable
        Gives a context in which one worker of the study is at a time, so that the first alone makes the run.
    """
    tags = source() | dict(tags or {}) | {STUDY: study_name}
    with turn():
        run = _find_study(client, experiment_id, study_name)
        if run is None:
            run = client.create_run(experiment_id, run_name=study_name, tags=texts(tags))
    logged = LoggedRun(client, experiment_id, run.info.run_id)
    logged.log_params({name: value for name, value in (params or {}).items() if name not in run.data.params})
    if not lead:
        yield logged
        return
    client.update_run(logged.run_id, status="RUNNING")
    logged.set_tags(tags)
    left = f"the run of the study {study_name} there looks as if it went on, until the study is started again"
    with ending(logged, lambda end: attempt(client.tracking_uri, end, left)):
        yield logged


def _find_study(client: MlflowClient, experiment_id: str, study_name: str) -> Run | None:
    found = client.search_runs(
        [experiment_id], f"tags.`{STUDY}` = '{study_name}'", max_results=1, order_by=["attributes.start_time ASC"]
    )
    return found[0] if found else None
