"""The DVC remote on a real S3 server: pushed, pulled by a clone, and away in the middle of a push."""

import os
import subprocess
from pathlib import Path

import pytest

from s3_server import S3Server, s3_server

pytestmark = pytest.mark.slow
FILES = 60


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def run(*command: str | Path, cwd: Path, s3: S3Server, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | s3.environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def repository(s3, tmp_path):
    """A repository with a folder of random files, tracked by DVC, and a remote of its own."""
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    for number in range(FILES):
        (folder / "data" / str(number)).write_bytes(os.urandom(100_000))
    run("git", "init", "--quiet", cwd=folder, s3=s3)
    run("dvc", "init", "--quiet", cwd=folder, s3=s3)
    run("dvc", "remote", "add", "--default", "store", f"s3://{s3.bucket}/{tmp_path.name}", cwd=folder, s3=s3)
    run("dvc", "add", "--quiet", "data", cwd=folder, s3=s3)
    run("git", "add", "--all", cwd=folder, s3=s3)
    run(
        "git",
        *("-c", "user.name=t", "-c", "user.email=t@example.org"),
        *("commit", "--quiet", "--message", "data"),
        cwd=folder,
        s3=s3,
    )
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


def test_a_push_that_an_outage_ends_says_so_in_one_sentence_and_the_next_one_continues(repository, s3, tmp_path):
    before = content(repository)
    s3.relay.cut_after(2_000_000)
    try:
        failed = run("genreflow", "push", cwd=repository, s3=s3, code=2)
        assert s3.relay.is_cut
    finally:
        s3.relay.cut()
        s3.relay.connect()
    assert failed.stderr.strip().count("\n") == 0, failed.stderr
    sentence = failed.stderr
    assert f"s3://{s3.bucket}/{tmp_path.name}" in sentence
    assert "`genreflow push` continues" in sentence
    sent = s3.keys(tmp_path.name)
    assert 0 < len(sent) < FILES + 1
    assert content(repository) == before

    done = run("genreflow", "push", cwd=repository, s3=s3)
    assert f"{FILES + 1 - len(sent)} files sent to" in done.stdout, "it sends what is missing, and no more"
    assert len(s3.keys(tmp_path.name)) == FILES + 1
    assert "0 files sent to" in run("genreflow", "push", cwd=repository, s3=s3).stdout

    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", repository, clone, cwd=tmp_path, s3=s3)
    s3.relay.cut()
    try:
        failed = run("genreflow", "pull", cwd=clone, s3=s3, code=2)
    finally:
        s3.relay.connect()
    assert len(failed.stderr.strip().splitlines()) == 1
    assert "`genreflow pull` continues" in failed.stderr
    run("genreflow", "pull", cwd=clone, s3=s3)
    assert content(clone) == before


def test_what_a_user_can_correct_about_a_remote_is_one_sentence(repository, s3, tmp_path):
    for command, problem in (
        (("genreflow", "push", "--remote", "nowhere"), "nowhere"),
        (("genreflow", "push", "no-such-file"), "no-such-file"),
    ):
        done = run(*command, cwd=repository, s3=s3, code=2)
        assert problem in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    run("dvc", "remote", "modify", "store", "url", "s3://no-such-bucket/x", cwd=repository, s3=s3)
    done = run("genreflow", "push", cwd=repository, s3=s3, code=2)
    assert len(done.stderr.strip().splitlines()) == 1
    (tmp_path / "elsewhere").mkdir()
    done = run("genreflow", "push", cwd=tmp_path / "elsewhere", s3=s3, code=2)
    assert len(done.stderr.strip().splitlines()) == 1
