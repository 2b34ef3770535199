"""Atomic writes: the previous content stays until the new one is complete, and nothing temporary is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from genreflow.files import (
    atomic_directory,
    atomic_file,
    read_json,
    remove_leftovers,
    temporary_path,
    write_csv,
    write_json,
    write_text,
)


@pytest.fixture(params=["file", "directory"])
def write(request):
    """Write content to a target atomically; `interrupt` is called before the rename."""

    def write(target, content, interrupt=lambda: None):
        if request.param == "file":
            with atomic_file(target) as temporary:
                temporary.write_text(content)
                interrupt()
        else:
            with atomic_directory(target) as temporary:
                (temporary / "content").write_text(content)
                interrupt()

    return write


def content(target):
    return (target / "content" if target.is_dir() else target).read_text()


def test_a_new_target_is_complete_and_nothing_else_is_left(write, tmp_path):
    target = tmp_path / "new" / "target.txt"
    write(target, "one")
    assert content(target) == "one"
    assert list(target.parent.iterdir()) == [target]


def test_the_previous_content_is_replaced(write, tmp_path):
    target = tmp_path / "target.txt"
    write(target, "one")
    write(target, "two", interrupt=lambda: pytest.fail(content(target)) if content(target) != "one" else None)
    assert content(target) == "two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_previous_content(write, tmp_path, exception):
    def interrupt():
        raise exception

    target = tmp_path / "target.txt"
    write(target, "one")
    with pytest.raises(exception):
        write(target, "two", interrupt)
    assert content(target) == "one"
    assert list(tmp_path.iterdir()) == [target]


def test_modes_follow_the_umask(write, tmp_path):
    def modes():
        return {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}

    previous = os.umask(0o027)
    try:
        write(tmp_path / "target", "one")
        assert modes() == {0o640}
        if (tmp_path / "target").is_dir():
            assert (tmp_path / "target").stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(previous)


def test_a_failed_rename_keeps_the_previous_directory(tmp_path):
    target = tmp_path / "target"
    with atomic_directory(target) as temporary:
        (temporary / "content").write_text("one")
    with pytest.raises(FileNotFoundError), atomic_directory(target) as temporary:
        temporary.rmdir()
    assert content(target) == "one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_replaced_and_not_followed(write, tmp_path):
    write(tmp_path / "original", "one")
    target = tmp_path / "link"
    target.symlink_to(tmp_path / "original")
    write(target, "two")
    assert not target.is_symlink()
    assert (content(tmp_path / "original"), content(target)) == ("one", "two")


def test_temporary_paths_have_the_suffix_of_their_target_and_differ(tmp_path):
    with temporary_path(tmp_path / "model.keras") as one, temporary_path(tmp_path / "model.keras") as two:
        assert one != two
        assert {one.suffix, two.suffix} == {".keras"}
        assert {one.parent, two.parent} == {tmp_path}


WRITER = """
import sys, time
from pathlib import Path
from genreflow.files import atomic_directory, atomic_file
with atomic_file(Path(sys.argv[1], "target.csv")) as file, atomic_directory(Path(sys.argv[1], "target")) as directory:
    file.write_text("two")
    (directory / "content").write_text("two")
    print("written", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_leaves_can_be_removed(tmp_path):
    write_text(tmp_path / "target.csv", "one")
    write_text(tmp_path / "other.csv", "one")
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = {tmp_path / "target.csv", tmp_path / "other.csv"}
    assert len(set(tmp_path.iterdir()) - kept) == 2
    remove_leftovers(tmp_path, "other.csv")
    assert len(set(tmp_path.iterdir()) - kept) == 2
    remove_leftovers(tmp_path, "target.csv")
    assert [path.name for path in set(tmp_path.iterdir()) - kept if path.is_dir()] != []
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == kept
    assert (tmp_path / "target.csv").read_text() == "one"


def test_readers_never_see_a_part(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, ["0"] * 20_000)
    code = (
        "import sys; from pathlib import Path; from genreflow.files import write_json\n"
        "for n in range(200): write_json(Path(sys.argv[1]), [str(n)] * 20_000)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path])
    read = 0
    while process.poll() is None:
        value = read_json(path)
        assert len(value) == 20_000
        assert len(set(value)) == 1
        read += 1
        time.sleep(0.001)
    assert process.returncode == 0
    assert read > 0


def test_json_is_indented_utf8_and_refuses_nan(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"genre": "Musique concrète"})
    assert path.read_bytes() == '{\n  "genre": "Musique concrète"\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"genre": "Musique concrète"}


def test_csv_has_the_given_columns_only(tmp_path):
    write_csv(tmp_path / "rows.csv", ("a", "b"), [{"a": 1, "b": 2, "c": 3}, {"b": 'x,"y'}])
    assert (tmp_path / "rows.csv").read_bytes() == b'a,b\n1,2\n,"x,""y"\n'


REPLACE = """
import sys
from pathlib import Path
from genreflow.files import atomic_directory
for number in range(300):
    with atomic_directory(Path(sys.argv[1])) as temporary:
        (temporary / "content").write_text(str(number))
"""


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="directories cannot be exchanged")
def test_a_directory_exists_at_any_time_while_it_is_replaced(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    process = subprocess.Popen([sys.executable, "-c", REPLACE, str(target)])
    seen = 0
    while process.poll() is None:
        assert target.is_dir()
        seen += 1
    assert process.returncode == 0
    assert seen > 100
    assert content(target) == "299"


def test_a_file_system_that_cannot_exchange_directories_replaces_them_in_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("genreflow.files._exchange", lambda first, second: False)
    for text in ("one", "two"):
        with atomic_directory(tmp_path / "target") as temporary:
            (temporary / "content").write_text(text)
    assert content(tmp_path / "target") == "two"
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "target") as temporary:
        shutil.rmtree(temporary)
    assert content(tmp_path / "target") == "two"
    assert list(tmp_path.iterdir()) == [tmp_path / "target"]


def test_leftovers_of_nested_temporary_paths_are_removed(tmp_path):
    with temporary_path(tmp_path / "raw") as outer, temporary_path(outer) as inner:
        names = [outer.name, inner.name]
    for name in (*names, ".raw.json", ".rawer.01234567.tmp", "raw.01234567.tmp"):
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path, "raw")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".raw.json", ".rawer.01234567.tmp", "raw.01234567.tmp"]
    remove_leftovers(tmp_path / "missing", "raw")
