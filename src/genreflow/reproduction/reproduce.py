"""Fit systems under both protocols, one system after the other, and keep the finished fits."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genreflow.errors import GenreflowError, ParameterError
from genreflow.models import MODELS
from genreflow.models.build import get_architecture
from genreflow.reproduction.records import failed_record, read_record, records_of, write_record
from genreflow.reproduction.results_table import write_tables
from genreflow.reproduction.tasks import KINDS, Kind, ProjectData, Task, make_task
from genreflow.reproduction.worker_process import TaskError, run_in_process

logger = logging.getLogger(__name__)

Records = dict[tuple[str, Kind], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a call of `reproduce` has to do.

    Parameters
    ----------
    records : dict of (str, str) to dict
        Records that exist: finished fits of the same task, and tasks that cannot be made.
    tasks : dict of str to list of Task
        Tasks to run, by system.
    """

    records: Records
    tasks: dict[str, list[Task]]

    @property
    def n_tasks(self) -> int:
        return sum(map(len, self.tasks.values()))


def reproduce(
    names: Sequence[str],
    data: ProjectData,
    folder: Path,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    project: Path = Path(),
) -> list[dict[str, Any]]:
    """Fit systems under their authors' protocol and on a group-disjoint split, and write a table of the results.

    Each finished fit is a record in `folder`. A second call with the same data and options runs only what is missing or
    failed. Each system runs in a process of its own: TensorFlow does not release memory (2 GB after
    `wide_parallel_cnn`), and a process that is killed for lack of memory takes nothing else with it.

    Parameters
    ----------
    names : sequence of str
        Keys of `genreflow.models.MODELS`; empty: all.
    data : ProjectData
    folder : Path
        For ``records/``, ``table.md`` and ``table.csv``.
    minutes : float > 0 or None [min]
        Time limit of a system, half of it for each fit; None: as many epochs as published.
    epochs : int > 0 or None
        Maximum of a fit.
    project : Path
        Directory of MLflow's store.

    Returns
    -------
    list of dict
        The records of `names`, failed ones included.

    Raises
    ------
    ParameterError
        Unknown name.
    """
    systems = [get_architecture(name).name for name in dict.fromkeys(names)]
    if on_embeddings := [name for name in systems if MODELS[name].embedding]:
        raise ParameterError(
            f"The system must be trained on spectrograms; got {on_embeddings[0]}, which is a classifier of embeddings."
        )
    systems = systems or [name for name, row in MODELS.items() if not row.embedding]
    plan = plan_tasks(systems, data, folder, minutes=minutes, epochs=epochs)
    logger.info(
        "%d fits to run, %d already finished",
        plan.n_tasks,
        sum(record["status"] == "finished" for record in plan.records.values()),
    )
    records = plan.records | run_tasks(plan, data, folder, project)
    write_tables(folder, records_of(folder, data.hashes), data)
    return [records[system, kind] for system in systems for kind in KINDS]


def plan_tasks(
    systems: Sequence[str], data: ProjectData, folder: Path, *, minutes: float | None, epochs: int | None
) -> Plan:
    """Find out which fits are missing; tasks that cannot be made are recorded as failed.

    Parameters
    ----------
    systems : sequence of str
    data, folder, minutes, epochs
        As in `reproduce`.

    Returns
    -------
    Plan
    """
    plan = Plan({}, {})
    for system in systems:
        for kind in KINDS:
            try:
                task = make_task(data, system, kind, minutes=minutes and minutes / 2, epochs=epochs)
            except GenreflowError as error:
                logger.warning("%s, %s protocol: failed: %s", system, kind, error)
                plan.records[system, kind] = failed_record(system, kind, str(error), key="", data=data.hashes)
                write_record(folder, plan.records[system, kind])
                continue
            record = read_record(folder, system, kind)
            if record is not None and record["key"] == task.key and record["status"] == "finished":
                plan.records[system, kind] = record
            else:
                plan.tasks.setdefault(system, []).append(task)
    return plan


def run_tasks(plan: Plan, data: ProjectData, folder: Path, project: Path) -> Records:
    """Run the tasks of a plan; each result is written as soon as it is there.

    Returns
    -------
    dict of (str, str) to dict
        Record of each task.
    """
    records: Records = {}
    begin = time.monotonic()
    for tasks in plan.tasks.values():
        remaining = list(tasks)
        while remaining:  # a process that dies leaves tasks without a result
            for result in run_in_process(tuple(remaining), data.store, project):
                task = remaining.pop(0)
                records[task.system, task.kind] = record = _as_record(task, result, data)
                write_record(folder, record)
                write_tables(folder, records_of(folder, data.hashes), data)
                _log_progress(len(records), plan.n_tasks, time.monotonic() - begin, task.minutes)
    return records


def _as_record(task: Task, result: dict[str, Any] | TaskError, data: ProjectData) -> dict[str, Any]:
    if isinstance(result, TaskError):
        logger.warning("  failed: %s", result)
        return failed_record(task.system, task.kind, str(result), key=task.key, data=data.hashes)
    logger.info(
        "  %s: segment accuracy %.1f %%, track accuracy %.1f %% after %g epochs in %.0f s",
        task.split.prefixed(task.part, sep=" "),
        100 * result["segment_accuracy"],
        100 * result["track_accuracy"],
        result["epochs_done"],
        result["seconds"],
    )
    return result


def _log_progress(done: int, total: int, elapsed: float, minutes: float | None) -> None:
    if done < total and minutes is not None:
        logger.info("%d of %d fits done, about %.0f min left", done, total, (total - done) * minutes)
    elif done < total:
        logger.info("%d of %d fits done in %.0f min", done, total, elapsed / 60)
