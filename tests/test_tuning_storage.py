"""Optuna's SQLite database: complete or not there, in one file when a study ends; broken ones; any path."""

import os
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing as closed
from pathlib import Path

import optuna
import pytest

from genreflow.errors import GenreflowError
from genreflow.sqlite import sqlite_url
from genreflow.tuning.storage import closing, open_storage
from sqlite_faults import DAMAGES, signal_before_statement
from waiting import wait_for

HOSTILE = ["100% sure", "a?b=c", "x#1", "it's", 'say "hi"', "müsic 音楽", "%41", "{0} {name}", "sqlite:", "back\\slash"]


def in_a_process(call: Callable[[], object]) -> int:
    """Run something in a process of its own, and return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            call()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def open_with_signal(url: str, number: int, at: int) -> int:
    """Open a storage, and send the process a signal before its statement `at`; return its exit code."""

    def call() -> None:
        signal_before_statement(number, at)
        open_storage(url)

    return in_a_process(call)


def add_study(url: str, name: str = "a-study") -> None:
    storage = open_storage(url)
    with closing(storage):
        study = optuna.create_study(study_name=name, storage=storage)
        study.tell(study.ask(), 0.5)


def copied_alone(path: Path, folder: Path) -> str:
    """Copy a database without the files beside it, and return the URL of the copy."""
    folder.mkdir()
    shutil.copy(path, folder / path.name)
    return sqlite_url(folder / path.name)


def values(url: str, name: str = "a-study") -> list[list[float]]:
    return [trial.values for trial in optuna.load_study(study_name=name, storage=open_storage(url)).get_trials()]


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGINT))],
)
def test_an_interruption_at_any_moment_leaves_a_database_that_opens(tmp_path, number):
    ended = 0
    for at in range(1, 100, 12):
        path = tmp_path / f"{at}.db"
        code = open_with_signal(sqlite_url(path), number, at)
        if code == 0:
            break
        assert code == -number
        ended += 1
        add_study(sqlite_url(path))
        assert values(copied_alone(path, tmp_path / f"copy {at}")) == [[0.5]]
        assert not list(tmp_path.glob(f".{path.name}*")), "a temporary database is left"
    assert ended >= 3


def test_several_processes_may_create_it_at_once(tmp_path):
    url = sqlite_url(tmp_path / "optuna.db")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                add_study(url, f"study {number}")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert sorted(optuna.get_all_study_names(open_storage(url))) == [f"study {number}" for number in range(4)]


def test_a_copy_of_the_file_alone_holds_the_study(tmp_path):
    path = tmp_path / "optuna.db"
    reader = open_storage(sqlite_url(path))  # another process that has it open
    optuna.get_all_study_names(reader)
    add_study(sqlite_url(path))
    assert values(copied_alone(path, tmp_path / "copy")) == [[0.5]]


def test_the_next_start_completes_the_file_that_a_killed_worker_left(tmp_path):
    path = tmp_path / "optuna.db"

    def killed() -> None:
        optuna.create_study(study_name="a-study", storage=open_storage(sqlite_url(path)))
        os.kill(os.getpid(), signal.SIGKILL)

    open_storage(sqlite_url(path)).engine.dispose()
    assert in_a_process(killed) == -signal.SIGKILL
    assert optuna.get_all_study_names(open_storage(copied_alone(path, tmp_path / "before"))) == []
    open_storage(sqlite_url(path))
    assert optuna.get_all_study_names(open_storage(copied_alone(path, tmp_path / "after"))) == ["a-study"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A database with a study, which is not changed."""
    path = tmp_path_factory.mktemp("sound") / "optuna.db"
    add_study(sqlite_url(path))
    return path


def half_created(path: Path) -> None:
    with closed(sqlite3.connect(path)) as connection, connection:
        connection.execute("drop table trial_heartbeats")
        connection.execute("delete from alembic_version")
        connection.execute("delete from version_info")


def of_an_earlier_version(path: Path) -> None:
    with closed(sqlite3.connect(path)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'v2.6.0.a'")


def of_a_later_version(path: Path) -> None:
    with closed(sqlite3.connect(path)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'v99.0.0.a'")


def of_another_program(path: Path) -> None:
    path.unlink()
    with closed(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table songs (name text)")


@pytest.mark.parametrize(
    "damage",
    [
        of_an_earlier_version,
        of_a_later_version,
        of_another_program,
        *DAMAGES,
    ],
)
def test_a_broken_database_is_named_in_one_sentence(sound, tmp_path, damage):
    path = tmp_path / "optuna.db"
    shutil.copyfile(sound, path)
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):
        with pytest.raises(GenreflowError, match=str(path)) as caught:
            open_storage(sqlite_url(path))
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before, "it was changed"


def test_a_database_that_an_earlier_interruption_left_incomplete_is_completed(sound, tmp_path):
    path = tmp_path / "optuna.db"
    shutil.copyfile(sound, path)
    half_created(path)
    add_study(sqlite_url(path), "another")
    assert values(sqlite_url(path)) == values(sqlite_url(path), "another") == [[0.5]]


def test_an_empty_file_becomes_a_database(tmp_path):
    path = tmp_path / "optuna.db"
    path.touch()
    add_study(sqlite_url(path))
    assert values(sqlite_url(path)) == [[0.5]]


def test_a_full_disk_is_no_broken_database(tmp_path, capfd):
    url = sqlite_url(tmp_path / "optuna.db")

    def on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000,) * 2)
        try:
            open_storage(url)
        except GenreflowError as error:
            os.write(2, str(error).encode())

    assert in_a_process(on_a_full_disk) == 0
    printed = capfd.readouterr().err
    assert "must be readable and writable" in printed
    assert "\n" not in printed
    assert not (tmp_path / "optuna.db").exists()
    add_study(url)


def test_a_database_that_is_read_only_is_no_broken_one(sound, tmp_path, capfd):
    path = tmp_path / "optuna.db"
    shutil.copyfile(sound, path)
    path.chmod(0o444)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o777)

    def as_another_user() -> None:
        if os.geteuid() == 0:  # may write everything
            os.setuid(65534)
        try:
            open_storage(sqlite_url(path))
        except GenreflowError as error:
            os.write(2, str(error).encode())

    assert in_a_process(as_another_user) == 0
    printed = capfd.readouterr().err
    assert f"{path}: must be readable and writable" in printed


def test_a_writer_is_waited_for(sound, tmp_path):
    path = tmp_path / "optuna.db"
    shutil.copyfile(sound, path)

    def writes() -> None:
        with closed(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("begin exclusive")
            (tmp_path / "writing").touch()
            time.sleep(1)
            connection.execute("commit")

    child = os.fork()
    if child == 0:
        try:
            writes()
        finally:
            os._exit(0)
    wait_for((tmp_path / "writing").exists)
    assert values(sqlite_url(path)) == [[0.5]]
    os.waitpid(child, 0)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_database_may_have_any_path(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    url = sqlite_url(folder / "optuna.db")
    add_study(url)
    assert values(url) == [[0.5]]
    assert list(tmp_path.iterdir()) == [folder], "something was written outside"
    assert {path.name for path in folder.iterdir()} <= {"optuna.db", "optuna.db.lock", "optuna.db-wal", "optuna.db-shm"}
