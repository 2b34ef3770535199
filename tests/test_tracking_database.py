"""MLflow's database: complete or not there, also after interruptions; broken ones; any path; projects that move."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from genreflow.bundle import Bundle
from genreflow.cli import cli
from genreflow.errors import GenreflowError
from genreflow.registry.model_registry import Registry
from genreflow.sqlite import database_path, sqlite_url
from genreflow.tracking.database import prepare_database
from genreflow.tracking.store import ensure_experiment, open_client, relocate_project
from serving_toy import write_toy_bundle
from sqlite_faults import DAMAGES

# Characters that mean something in a URL, a template, a quoted string or a shell.
HOSTILE = ["100% {0} {name} %41 müsic 音楽", "a?b=c&d;e x#1 sqlite:", 'it\'s "hi"', "back\\slash"]

# Imports once, then opens the databases in forked processes: MLflow's import takes longer than a database.
OPENERS = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from genreflow.tracking.store import ensure_experiment, open_client

def fork(folder, number=signal.SIGKILL, at=0):
    # Open the database in a process that gets a signal before its statement `at`, if that is not 0.
    child = os.fork()
    if child == 0:
        code, statements = 1, []
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background

        def count(*_):
            statements.append(1)
            if len(statements) == at:
                os.kill(os.getpid(), number)

        event.listen(Engine, "before_cursor_execute", count)
        try:
            ensure_experiment(open_client(folder), folder)
            if not at:
                folder.with_suffix(".statements").write_text(str(len(statements)))
            code = 0
        finally:
            os._exit(code)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

root = Path(sys.argv[1])
assert wait(fork(root / "whole")) == 0
"""
INTERRUPTED = (
    OPENERS
    + """
statements = int((root / "whole.statements").read_text())
for name in ("SIGKILL", "SIGTERM", "SIGINT"):
    for step in range(5):
        folder = root / f"{name} {step}"
        code = wait(fork(folder, getattr(signal, name), 1 + step * (statements - 1) // 4))
        assert wait(fork(folder)) == 0, (name, step, code)
        left = sorted(path.name for path in folder.iterdir())
        assert left == ["mlflow.db", "mlflow.db.lock"], left
        print(name, step, code)
"""
)
AT_ONCE = (
    OPENERS
    + """
for number in range(3):
    children = [fork(root / f"at once {number}") for _ in range(4)]
    assert [wait(child) for child in children] == [0] * 4
"""
)


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_an_interruption_at_any_moment_leaves_a_database_that_opens(tmp_path):
    lines = run(INTERRUPTED, tmp_path).splitlines()
    assert len(lines) == 15
    assert not [line for line in lines if line.endswith(" 0")], "some were not interrupted"


@pytest.mark.slow
def test_several_processes_may_open_a_new_project_at_once(tmp_path):
    run(AT_ONCE, tmp_path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a database that is not changed."""
    folder = tmp_path_factory.mktemp("sound")
    ensure_experiment(open_client(folder), folder)
    return folder


def half_created(path):
    """As MLflow leaves it when its first opening is interrupted."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("drop table logged_models")
        connection.execute("update alembic_version set version_num = 'bda7b8c39065'")


def of_an_earlier_version(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update alembic_version set version_num = 'bda7b8c39065'")


def with_a_damaged_page(path):
    """The first page of a table that MLflow does not read when it opens the database."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("select rootpage from sqlite_master where name = 'metrics'").fetchone()
        (size,) = connection.execute("pragma page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)


@pytest.mark.parametrize(
    "damage",
    [
        half_created,
        with_a_damaged_page,
        of_an_earlier_version,
        *DAMAGES,
    ],
)
def test_a_broken_database_is_named_in_one_sentence(sound, tmp_path, damage):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(sound / "mlflow.db", path)
    damage(path)
    for _ in range(2):
        with pytest.raises(GenreflowError, match=str(path)) as caught:
            open_client(tmp_path)
        assert "\n" not in str(caught.value)
        assert "relocate" not in str(caught.value), "it was found sound, and in another folder"


@pytest.mark.slow
def test_a_database_that_is_renamed_is_replaced_by_a_new_one(sound, tmp_path):
    """The journal of the former one must not be applied to it."""
    shutil.copyfile(sound / "mlflow.db", tmp_path / "mlflow.db.broken")
    with closing(sqlite3.connect(tmp_path / "mlflow.db.broken", isolation_level=None)) as writer:
        writer.execute("create table other as select randomblob(100000)")  # unlike a new one
        writer.execute("pragma cache_size = 1")
        writer.execute("begin exclusive")
        writer.execute("create table filler as select randomblob(100000)")
        journal = (tmp_path / "mlflow.db.broken-journal").read_bytes()
    (tmp_path / "mlflow.db-journal").write_bytes(journal)
    assert len(journal) > 512
    run("import sys; from genreflow.tracking.store import open_client; open_client(sys.argv[1])", tmp_path)
    assert open_client(tmp_path).search_experiments()


def test_a_database_that_is_read_only_can_be_read(sound, tmp_path):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(sound / "mlflow.db", path)
    path.chmod(0o444)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o777)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:  # may write everything
                os.setuid(65534)
            prepare_database(path)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "mlflow.db").touch()
    ensure_experiment(open_client(tmp_path), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_full_disk_is_no_broken_database(tmp_path):
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000,) * 2)\n"
    code += "from genreflow.tracking.store import open_client\nfrom genreflow.errors import GenreflowError\n"
    code += "try:\n    open_client(sys.argv[1])\nexcept (GenreflowError, OSError) as error:\n    print(error)"
    printed = run(code, tmp_path)
    assert "must be readable and writable" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()
    open_client(tmp_path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_project_may_have_any_path(tmp_path, monkeypatch, name):
    root = tmp_path / name / "project"
    root.mkdir(parents=True)
    monkeypatch.chdir(root)
    assert database_path(sqlite_url(root / "mlflow.db")) == root / "mlflow.db"
    registry = Registry.open(root)
    bundle = write_toy_bundle(root / "candidate")
    version = registry.register(bundle.directory, metrics={})
    assert registry.fetch(version, root / "champion").hash == bundle.hash
    default = registry.client.get_experiment("0").artifact_location
    assert Path(default) == root / "mlruns" / "0"
    assert list(tmp_path.iterdir()) == [tmp_path / name], "something was written outside"
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["candidate", "champion", "mlruns"]


@pytest.fixture
def original(tmp_path):
    """A project with a registered bundle, in a folder whose URI is encoded."""
    root = tmp_path / "the original"
    root.mkdir()
    bundle = write_toy_bundle(root / "candidate", temperature=1.25)
    Registry.open(root).register(bundle.directory, metrics={})
    return root


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_artifacts_belong_to_the_folder_one_works_in(original, tmp_path, monkeypatch, how):
    there = tmp_path / "elsewhere, 100%"
    (original.rename if how == "moved" else lambda target: shutil.copytree(original, target))(there)
    before = content(original)
    hashed = Bundle.load(there / "candidate").hash
    for call in (lambda: Registry.open(there), lambda: open_client(there)):
        with pytest.raises(GenreflowError, match="genreflow registry relocate"):
            call()
    monkeypatch.chdir(there)
    done = CliRunner().invoke(cli, ["registry", "relocate"])
    assert done.exit_code == 0, done.output
    assert str(original / "mlruns") in done.output
    registry = Registry.open(there)
    assert registry.fetch("1", tmp_path / "fetched").hash == hashed
    version = registry.register(write_toy_bundle(there / "new", temperature=1.5).directory, metrics={})
    assert len(list((there / "mlruns").rglob("model.onnx"))) == 2
    assert content(original) == before, "the former folder was written to"
    if how == "copied":
        shutil.rmtree(original)
    assert registry.fetch(version, tmp_path / "fetched").temperature == 1.5
    assert relocate_project(there) == {}
    stored = (there / "mlflow.db").read_bytes()
    assert original.as_uri().encode() not in stored.replace(b"mlflow.log-model.history", b"")


def test_only_the_projects_own_database_is_relocated(tmp_path, monkeypatch):
    with pytest.raises(GenreflowError, match="no such file"):
        relocate_project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(GenreflowError, match=r"127\.0\.0\.1:1"):
        relocate_project(tmp_path)


def test_a_database_that_projects_share_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_url(tmp_path / "shared.db"))
    for name in ("one", "two"):
        experiment = ensure_experiment(open_client(tmp_path / name), tmp_path / name)
        assert experiment.artifact_location == (tmp_path / "one" / "mlruns").as_uri()
