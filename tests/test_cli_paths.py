"""Paths that cannot be read or written are refused before a command begins its work."""

import os
import sys

import pytest

from genreflow import cli

LONG = "a" * 300


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a folder, a file, a named pipe and a link to nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path


def refused(monkeypatch, capfd, *arguments):
    """Run a command that must end with exit code 2, and return the one line on standard error."""
    monkeypatch.setattr(sys, "argv", ["genreflow", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("genreflow: ")
    return line


@pytest.mark.parametrize(
    "target",
    [
        "folder",
        f"{LONG}.csv",
        "b" * 245 + ".csv",
        "file/x.csv",
        "pipe.csv",
        "/proc/x.csv",
        "/dev/null",
    ],
    ids=lambda target: target[:12],
)
@pytest.mark.parametrize(
    ("command", "option"),
    [(("classify", "file"), "--output"), (("audit", "folder"), "--html")],
    ids=["classify", "audit"],
)
def test_an_output_that_cannot_be_written_is_refused(folder, monkeypatch, capfd, command, option, target):
    before = sorted(folder.rglob("*"))
    line = refused(monkeypatch, capfd, *command, option, target)
    assert option in line
    assert target in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("target", ["file", LONG, "/proc/x", "pipe.csv"])
def test_a_folder_of_results_that_cannot_be_written_is_refused(folder, monkeypatch, capfd, target):
    assert "--folder" in refused(monkeypatch, capfd, "reproduce", "--folder", target)


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", LONG),
        ("classify", "file", "--bundle", LONG),
        ("audit", LONG),
        ("audit", "folder", "--tracks", LONG),
        ("use", LONG),
        ("models", LONG),
        ("models", "--shape", LONG),
    ],
    ids=" ".join,
)
def test_an_argument_of_any_length_is_answered(folder, monkeypatch, capfd, arguments):
    assert LONG[:50] in refused(monkeypatch, capfd, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", ""),
        ("classify", "file", "--bundle", ""),
        ("classify", "file", "--output", ""),
        ("audit", ""),
        ("audit", "folder", "--tracks", ""),
        ("audit", "folder", "--html", ""),
        ("use", ""),
        ("reproduce", "--folder", ""),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_working_directory(folder, monkeypatch, capfd, arguments):
    line = refused(monkeypatch, capfd, *arguments)
    assert "empty" in line
    assert [word for word in arguments if word.startswith("--")] == [
        word for word in ("--bundle", "--output", "--tracks", "--html", "--folder") if word in line
    ]


def test_a_bundle_that_is_a_file_is_refused(folder, monkeypatch, capfd):
    assert "file" in refused(monkeypatch, capfd, "classify", "file", "--bundle", "file")


def test_missing_folders_of_an_output_are_not_created_before_it_is_written(folder, monkeypatch, capfd):
    refused(monkeypatch, capfd, "classify", "file", "--output", "new/folder/x.csv")
    assert not (folder / "new").exists()
