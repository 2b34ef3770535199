"""Files that DVC could not finish are repaired, others are left alone."""

import json
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from genreflow.stages import dvc_files
from genreflow.stages.dvc_files import (
    PATHS_IN_USE,
    delete_damaged_paths_in_use,
    repair_dvc_files,
    set_damaged_lock_aside,
)

STAGE = {
    "cmd": "python -m genreflow.stages check",
    "deps": [{"path": "src", "hash": "md5", "md5": f"{0x1A:032x}.dir", "size": 2, "nfiles": 1}],
    "params": {"params.yaml": {"tune.trials": 8}},
    "outs": [{"path": "data/checked", "hash": "md5", "md5": f"{0x2B:032x}", "size": 20}],
}
TEXT = yaml.safe_dump({"schema": "2.0", "stages": {"check": STAGE, "tune": STAGE}}, sort_keys=False)


def test_a_whole_file_stays(tmp_path):
    lock = tmp_path / "dvc.lock"
    set_damaged_lock_aside(lock)
    lock.write_text(TEXT)
    set_damaged_lock_aside(lock)
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]


@pytest.mark.parametrize(
    ("end", "kept"),
    [("schema", False), ("stages:", False), ("cmd:", False), ("genreflow", True), ("path:", False), ("hash", False)],
)
def test_a_part_is_set_aside_unless_dvc_can_read_it(tmp_path, end, kept):
    """A part that ends after a value is a file with fewer results."""
    lock, part = tmp_path / "dvc.lock", TEXT[: TEXT.index(end) + len(end)]
    lock.write_text(part)
    set_damaged_lock_aside(lock)
    assert lock.exists() == kept
    assert (lock if kept else tmp_path / "dvc.lock.damaged").read_text() == part


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"- 1", b"schema: '2.0'\nstages: 3", bytes(100)])
def test_what_is_no_lock_file_is_set_aside(tmp_path, content):
    (tmp_path / "dvc.lock").write_bytes(content)
    set_damaged_lock_aside(tmp_path / "dvc.lock")
    assert (tmp_path / "dvc.lock.damaged").read_bytes() == content


IN_USE = json.dumps({"write": {"data/checked": {"pid": 1, "cmd": "dvc repro"}}, "read": {}})


def test_whole_paths_in_use_stay(tmp_path):
    path = tmp_path / "rwlock"
    delete_damaged_paths_in_use(path)
    path.write_text(IN_USE)
    delete_damaged_paths_in_use(path)
    assert path.read_text() == IN_USE


def test_paths_in_use_that_are_being_written_stay(tmp_path, caplog, monkeypatch):
    path = tmp_path / "rwlock"
    path.write_text("")
    # DVC goes on writing while the list is not read.
    pauses = iter([lambda: path.write_text(IN_USE[:30]), lambda: path.write_text(IN_USE)])
    monkeypatch.setattr(dvc_files, "time", SimpleNamespace(sleep=lambda seconds: next(pauses)()))
    delete_damaged_paths_in_use(path)
    assert (path.read_text(), caplog.messages, list(pauses)) == (IN_USE, [], [])


@pytest.mark.parametrize("content", [b"", IN_USE[:30].encode(), b"\xff\xfe", bytes(100), b"[" * 100_000])
def test_damaged_paths_in_use_are_deleted(tmp_path, content):
    path = tmp_path / "rwlock"
    path.write_bytes(content)
    delete_damaged_paths_in_use(path)
    assert not path.exists()


def test_dvc_runs_after_the_repair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("init --no-scm", "stage add --name a --outs b 'touch b'"):
        subprocess.run([sys.executable, "-m", "dvc", *shlex.split(command)], check=True)
    PATHS_IN_USE.write_text(IN_USE[:30])
    assert subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode != 0, (
        "there is nothing to repair"
    )
    repair_dvc_files()
    subprocess.run([sys.executable, "-m", "dvc", "repro"], check=True)
    assert (tmp_path / "b").exists()
