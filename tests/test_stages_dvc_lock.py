"""A dvc.lock that DVC could not finish is set aside, any other one is left alone."""

import pytest
import yaml

from genreflow.stages.dvc_lock import set_damaged_lock_aside

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
