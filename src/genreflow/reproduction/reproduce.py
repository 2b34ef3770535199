"""System after system, each in a process of its own; what is finished stays finished."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.models import MODELS
from genreflow.models.build import get_architecture
from genreflow.reproduction.records import failure, read_record, records_of, write_record
from genreflow.reproduction.results_table import write_tables
from genreflow.reproduction.tasks import KINDS, Kind, Material, Task, make_task

# That a process has to end in, its run in MLflow included.
GRACE_S = 60


def reproduce(
    names: Sequence[str],
    material: Material,
    folder: Path,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    project: Path = Path(),
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Fit systems under their own protocol and under the honest one, and keep the table of them.

    Every fit that is finished is a record in `folder`; a second call with the same data and options fits only what is
    missing or failed. A system runs in a process of its own, since TensorFlow gives memory back to nobody (after
    `wide_parallel_cnn`, 2 GB of it), and since what the machine kills for its memory then takes nothing with it.

    Parameters
    ----------
    names : sequence of str
        Keys of `genreflow.models.MODELS`; none: all of them.
    material : Material
    folder : Path
        Gets ``records/``, ``table.md`` and ``table.csv``.
    minutes : float > 0 or None
        For a system, half of them for each of its two fits; None: as many epochs as its authors ran.
    epochs : int > 0 or None
        Of a fit at most.
    project : Path
        Where MLflow's store lies.
    say : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        The records of `names`, failed ones included.

    Raises
    ------
    ParameterError
        A name is unknown.
    """
    systems = [get_architecture(name).name for name in dict.fromkeys(names)] or list(MODELS)
    steps = [(system, kind) for system in systems for kind in KINDS]
    found: dict[tuple[str, Kind], dict] = {}
    todo: dict[str, list[Task]] = {}
    for system, kind in steps:
        try:
            task = make_task(material, system, kind, minutes=minutes and minutes / 2, epochs=epochs)
        except GenreflowError as error:
            found[system, kind] = failure(system, kind, str(error), key="", data=material.hashes)
            write_record(folder, found[system, kind])
            say(f"{system}, {kind} protocol: failed, {error}")
            continue
        record = read_record(folder, system, kind)
        if record is not None and record["key"] == task.key and record["status"] == "finished":
            found[system, kind] = record
        else:
            todo.setdefault(system, []).append(task)
    fits = sum(map(len, todo.values()))
    say(f"{fits} fits to do, {sum(record['status'] == 'finished' for record in found.values())} are done already")
    begin, done = time.monotonic(), 0
    announce = partial(_announce, say, count(1), fits)
    for tasks in todo.values():
        left = list(tasks)
        while left:  # a process that dies takes one fit with it; the next goes on with the others
            for task, record in _run(tuple(left), material.store, project, announce, say):
                if record["status"] == "failed":
                    reason = record["reason"]
                    record = failure(task.system, task.kind, reason, key=task.key, data=material.hashes)
                    say(f"  failed: {record['reason']}")
                else:
                    say(f"  {_said(task, record)}")
                write_record(folder, record)
                found[task.system, task.kind] = record
                left.remove(task)
                done += 1
                write_tables(folder, records_of(folder, material.hashes), material)
                if done < fits:
                    say(_remaining(fits - done, done, time.monotonic() - begin, minutes))
    write_tables(folder, records_of(folder, material.hashes), material)
    return [found[step] for step in steps]


def _run(
    tasks: Sequence[Task], store: Path, project: Path, announce: Callable[[Task], None], say: Callable[[str], None]
) -> Iterator[tuple[Task, dict]]:
    """Run tasks in a process of their own, and yield their records as they come.

    Where the process dies, the task at work has failed, and those behind it are not yielded.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tasks, store.resolve(), project.resolve(), theirs), daemon=True)
    process.start()
    theirs.close()
    task = None
    try:
        for task in tasks:
            announce(task)
            kind, content = "", None
            while kind != "record":
                kind, content = ours.recv()
                if kind == "say":
                    say(content)
            yield task, content
        process.join(GRACE_S)
    except EOFError:
        process.join(GRACE_S)
        yield task, {"status": "failed", "reason": _end_of(process.exitcode)}
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
            process.join(GRACE_S)
            process.kill()


def _end_of(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(-code).name}{hint}"


def _work(tasks: Sequence[Task], store: Path, project: Path, pipe: Connection) -> None:
    """What the process does: one task after the other, telling of each."""
    # Control-C reaches every process of a terminal: the parent says what is to happen, by SIGTERM, and so does its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from genreflow.models.keras_import import import_keras

        import_keras()
        from genreflow.reproduction.fits import run_task

        for task in tasks:
            try:
                record = run_task(task, store, project, lambda line: pipe.send(("say", line)))
            except Exception as error:
                record = {"status": "failed", "reason": f"{type(error).__name__}: {error}"[:1000]}
            pipe.send(("record", record))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(say: Callable[[str], None], number: Iterator[int], fits: int, task: Task) -> None:
    say(f"[{next(number)} of {fits}] {task.system}, {task.in_words}")


def _said(task: Task, record: dict) -> str:
    measured = task.split.prefixed(task.part, sep=" ")
    return (
        f"{measured}: {record['segment_accuracy']:.1%} of segments, {record['track_accuracy']:.1%} of tracks, after "
        f"{record['epochs_done']:g} epochs in {record['seconds']:.0f} s"
    )


def _remaining(left: int, done: int, elapsed: float, minutes: float | None) -> str:
    if minutes is not None:
        return f"still to do: {left}, in about {left * minutes / 2:.0f} min"
    return f"still to do: {left}; {done} took {elapsed / 60:.0f} min"
