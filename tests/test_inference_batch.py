"""Batches: folders of audio files to tables, resumed after interruptions, here and on a Dask cluster."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from dask_cluster import running
from genreflow import cli
from genreflow.bundle import stamp
from genreflow.errors import GenreflowError, ParameterError
from genreflow.inference import batch
from genreflow.inference.audio_files import find_audio
from genreflow.inference.batch import PENDING_PER_WORKER, classify_files, iter_results
from genreflow.inference.dask_batch import iter_results_on_dask
from genreflow.inference.journal import Journal
from genreflow.inference.predictor import Predictor
from serving_toy import LABELS, write_tone, write_toy_bundle
from waiting import wait_for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle").directory


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    write_tone(folder / "b" / "bass.wav", "bass", 3.0)
    write_tone(folder / "a" / "long drone.flac", "drone", 20.0)
    write_tone(folder / "whistle.ogg", "whistle", 1.0)
    (folder / "a" / "words.mp3").write_text("these are words")
    (folder / "notes.md").write_text("no audio")
    (folder / "b" / "._bass.wav").write_bytes(b"metadata that macOS writes beside a file")
    (folder / "a" / "up").symlink_to(folder)
    return folder


def test_folders_are_searched_and_single_files_are_used_as_given(songs, tmp_path):
    found = find_audio([songs])
    assert [str(path.relative_to(songs)) for path in found] == [
        "a/long drone.flac",
        "a/words.mp3",
        "b/bass.wav",
        "whistle.ogg",
    ]
    assert find_audio([songs / "notes.md", songs / "b", songs / "b" / "bass.wav"]) == [
        songs / "notes.md",
        songs / "b" / "bass.wav",
    ]
    with pytest.raises(ParameterError, match=r"gone\.wav"):
        find_audio([songs, songs / "gone.wav"])
    with pytest.raises(ParameterError, match=re.escape(str(tmp_path))):
        find_audio([tmp_path])


def test_all_formats_hold_the_same_results_in_the_given_order(songs, bundle, tmp_path):
    files = [songs / "whistle.ogg", songs / "a" / "words.mp3", songs / "a" / "long drone.flac", songs / "b/bass.wav"]
    predictor = Predictor(bundle)
    for suffix in ("csv", "jsonl", "parquet"):
        summary = classify_files(files, bundle, output=tmp_path / f"out.{suffix}", progress=False)
        assert (summary.files, summary.classified, summary.abstained, summary.failed) == (4, 3, 0, 1)

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in files]
    assert lines[2] == {"file": str(files[2]), **predictor.classify(files[2]).to_dict(predictor.model)}
    assert set(lines[1]) == {"file", "error"}
    assert lines[1]["error"]["code"] == "undecodable"

    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [
        "file", "genre", "reason", "confidence", "unfamiliarity", "duration", "short", "error", "message", "leaking"
    ]  # fmt: skip
    assert list(rows[0]) == [*columns, *(f"p_{label}" for label in LABELS)]
    assert [row["leaking"] for row in rows] == ["False", "", "False", "False"]
    assert [row["genre"] for row in rows] == ["whistle", "", "drone", "bass"]
    assert [row["error"] for row in rows] == ["", "undecodable", "", ""]
    assert float(rows[2]["p_drone"]) == lines[2]["probabilities"]["drone"]
    assert rows[0]["short"] == "True"

    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["genre"] for row in table] == ["whistle", None, "drone", "bass"]
    assert table[2]["p_drone"] == lines[2]["probabilities"]["drone"]
    assert table[1]["message"] == lines[1]["error"]["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.parquet"]


def test_abstentions_are_counted_separately(songs, tmp_path):
    write_toy_bundle(tmp_path / "abstaining", abstain_below=1.0)
    summary = classify_files(
        [songs / "whistle.ogg"], tmp_path / "abstaining", output=tmp_path / "out.csv", progress=False
    )
    assert (summary.classified, summary.abstained) == (0, 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["genre"], row["reason"], row["unfamiliarity"]) == ("", "uncertain", "")
    assert max(float(row[f"p_{label}"]) for label in LABELS) == float(row["confidence"])


def test_unfamiliar_files_have_the_reason_and_the_distance(songs, tmp_path):
    write_toy_bundle(tmp_path / "strict", refuse_above=0.0)
    for suffix in ("csv", "parquet"):
        summary = classify_files(
            [songs / "whistle.ogg"], tmp_path / "strict", output=tmp_path / f"out.{suffix}", progress=False
        )
        assert (summary.classified, summary.abstained) == (0, 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["genre"], row["reason"]) == ("", "unfamiliar")
    [parquet] = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (parquet["genre"], parquet["reason"]) == (None, "unfamiliar")
    assert 0 < parquet["unfamiliarity"] == float(row["unfamiliarity"]) < 0.1


def test_a_leaking_model_is_marked_in_every_row(songs, tmp_path):
    write_toy_bundle(tmp_path / "leaking", leaking=True)
    for suffix in ("csv", "parquet"):
        classify_files([songs / "whistle.ogg"], tmp_path / "leaking", output=tmp_path / f"out.{suffix}", progress=False)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["leaking"] for row in csv.DictReader(file)] == ["True"]
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["leaking"].to_pylist() == [True]


def test_the_progress_bar_is_on_standard_error(songs, bundle, tmp_path, capsys):
    classify_files(find_audio([songs]), bundle, output=tmp_path / "out.csv")
    streams = capsys.readouterr()
    assert "4/4" in streams.err
    assert streams.out == ""


def test_lists_of_files(songs, tmp_path):
    (tmp_path / "a.txt").write_text(f"# a comment\n{songs}/b/bass.wav\n\nnot yet there.wav\n")
    (tmp_path / "b.csv").write_text(f'genre,path\nbass,"{songs}/b/bass.wav"\nnone,\nx,one.mp3\n')
    (tmp_path / "c.M3U8").write_bytes(b"\xef\xbb\xbf#EXTM3U\r\nna\xffme.wav\r\n")
    assert find_audio([tmp_path / "a.txt", tmp_path / "b.csv", tmp_path / "c.M3U8"]) == [
        songs / "b" / "bass.wav",
        tmp_path / "not yet there.wav",
        tmp_path / "one.mp3",
        tmp_path / "na\udcffme.wav",
    ]


def test_an_output_table_is_a_list_of_files(songs, bundle, tmp_path):
    files = find_audio([songs])
    classify_files(files, bundle, output=tmp_path / "out.csv", progress=False)
    assert find_audio([tmp_path / "out.csv"]) == files


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"name\nx.wav\n"), ("a.txt", b"x\0y\n"), ("a.txt", b"#\n")])
def test_the_error_names_an_invalid_list(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParameterError, match=re.escape(name)):
        find_audio([tmp_path / name])


def test_file_names_that_are_not_utf8_give_valid_tables(songs, bundle, tmp_path):
    path = tmp_path / "na\udcffme.wav"
    path.write_bytes((songs / "b" / "bass.wav").read_bytes())
    broken = tmp_path / "\udcffbroken.wav"
    broken.write_bytes(b"no music")
    rows = {suffix: write_and_read([path, broken], bundle, tmp_path / f"out.{suffix}") for suffix in READERS}
    for table in rows.values():
        assert list(table["file"]) == [f"{tmp_path}/na\\xffme.wav", f"{tmp_path}/\\xffbroken.wav"]
        assert list(table["genre"]) == ["bass", None]
    assert rows["csv"]["message"][1].startswith(f"{tmp_path}/\\xffbroken.wav: ")
    assert find_audio([tmp_path / "out.csv"]) == [path, broken]


# Of names that break a line for some reader of text, and of other special ones.
SPECIAL = (
    "new\nline", "carriage\rreturn", "both\r\n", "next\x85line", "line\u2028separator", "paragraph\u2029",
    "\x1c\x0b\x0c",
    "escape\x1b[31m", "tab\t", " spaces ", 'quo"te', "com,ma", "#comment", "back\\slash", "\\x41\\xe9", "ＮＦＫＣ ﬁ",
    "🎵", "NA", " ",
)  # fmt: skip
READERS = {
    "csv": lambda path: pandas.read_csv(path, keep_default_na=False, na_values={"genre": [""]}),
    "jsonl": lambda path: pandas.read_json(path, lines=True),
    "parquet": pandas.read_parquet,
}


def write_and_read(files, bundle, output):
    classify_files(files, bundle, output=output, progress=False)
    return READERS[output.suffix[1:]](output).replace({float("nan"): None})


def test_special_file_names_survive_every_table_and_list(songs, bundle, tmp_path):
    files = [tmp_path / "music" / f"{name}.wav" for name in SPECIAL]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes((songs / "b" / "bass.wav").read_bytes())
    files.append(tmp_path / "music" / "missing\n\r\x85.wav")
    for suffix in READERS:
        table = write_and_read(files, bundle, tmp_path / f"out.{suffix}")
        assert list(table["file"]) == list(map(str, files))
        assert list(table["genre"]) == ["bass"] * len(SPECIAL) + [None]
    assert len((tmp_path / "out.jsonl").read_text("utf-8").splitlines()) == len(files)
    assert find_audio([tmp_path / "out.csv"]) == files
    one_line = [file for file in files if not set("\n\r") & set(file.name)]
    (tmp_path / "list.txt").write_text("".join(f"{file}\r\n" for file in one_line), encoding="utf-8")
    assert find_audio([tmp_path / "list.txt"]) == one_line
    names = ["#EXTM3U", "# one", *(file.name for file in one_line)]
    (tmp_path / "music/relative.m3u").write_text("".join(f"{name}\n" for name in names), "utf-8")
    assert find_audio([tmp_path / "music/relative.m3u"]) == one_line
    assert sorted(find_audio([tmp_path / "music"])) == sorted(files[:-1])


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1:strict"}]
)
def test_any_file_name_is_printed_in_one_line(songs, bundle, tmp_path, locale):
    names = ["na\udcffme.wav", "Ünï🎵.wav", "new\nline.wav", "escape\x1b[31m.wav", "next\x85.wav"]
    for name in names:
        (tmp_path / name).write_bytes((songs / "b" / "bass.wav").read_bytes())
        (tmp_path / f"broken {name}").write_bytes(b"no music")
    for arguments in ([], ["--json"]):
        done = subprocess.run(
            [*CLASSIFY, tmp_path, "--bundle", bundle, *arguments],
            capture_output=True,
            env=os.environ | locale,
            check=False,
        )
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout + done.stderr
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        assert len(lines) == (10 if arguments else 5)
        if arguments:
            assert sum("error" in json.loads(line) for line in lines) == 5
        else:
            assert len(done.stderr.splitlines()) == 5


CLASSIFY = (sys.executable, "-c", "from genreflow.cli import main; main()", "classify")


def test_pipes_sockets_and_devices_are_failed_files(songs, bundle, tmp_path):
    folder = tmp_path / "music"
    (folder / "folder.wav").mkdir(parents=True)
    (folder / "folder.wav/bass.wav").symlink_to(songs / "b" / "bass.wav")
    os.mkfifo(folder / "pipe.wav")
    os.mkfifo(folder / "pipe.mp3")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(folder / "socket.wav"))
    arguments = [folder, folder / "pipe.wav", "/dev/zero", "/dev/null", "--bundle", bundle, "-o", tmp_path / "out.csv"]
    done = subprocess.run([*CLASSIFY, *arguments], capture_output=True, timeout=300, check=False)
    assert done.returncode == 1
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = {os.path.relpath(row["file"], folder): row["error"] for row in csv.DictReader(file)}
    assert rows.pop("folder.wav/bass.wav") == ""
    assert len(rows) == 8
    assert set(rows.values()) <= {"undecodable", "unreadable"}


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.m3u"])
def test_a_pipe_is_no_list_of_files(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ParameterError, match=re.escape(name)):
        find_audio([tmp_path / name])


@pytest.mark.parametrize(
    "name", ["x" * 300, "x/" * 3000 + "y.wav", "nul\0.wav", "loop.wav"], ids=["name", "path", "NUL", "loop"]
)
def test_a_path_that_cannot_exist_is_refused(tmp_path, name):
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(ParameterError, match="path without file"):
        find_audio([tmp_path / name])


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_files_are_consumed_lazily(songs, bundle, n_jobs):
    taken = []

    def endless():
        while True:
            taken.append(songs / "whistle.ogg")
            yield taken[-1]

    results = iter_results(endless(), Predictor(bundle), n_jobs=n_jobs)
    for count in range(1, 101):
        assert next(results)["genre"] == "whistle"
        assert len(taken) < count + n_jobs * PENDING_PER_WORKER
    results.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_batch_keeps_the_previous_table_and_is_resumed(songs, bundle, tmp_path, monkeypatch):
    (tmp_path / "out.csv").write_text("previous")
    files = find_audio([songs])
    calls = []

    def stop(predictor, file):
        calls.append(file)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return classify(predictor, file)

    classify = batch.classify_file
    monkeypatch.setattr(batch, "classify_file", stop)
    with pytest.raises(KeyboardInterrupt):
        classify_files(files, bundle, output=tmp_path / "out.csv", progress=False, n_jobs=1)
    assert names(tmp_path) == [".out.csv.unfinished", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "previous"

    before = len(calls)
    summary = classify_files(files, bundle, output=tmp_path / "out.csv", progress=False, n_jobs=1)
    assert (summary.files, summary.resumed) == (4, 2)
    assert calls[before:] == files[2:]
    assert names(tmp_path) == ["out.csv"]
    classify_files(files, bundle, output=tmp_path / "whole.csv", progress=False)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def interrupt_before_output(songs, bundle, tmp_path, monkeypatch):
    """Return the journal of a batch that ends after the last file and before the output is written."""
    with monkeypatch.context() as patch:
        patch.setattr(batch, "open_output", None)
        with pytest.raises(TypeError):
            classify_files(find_audio([songs]), bundle, output=tmp_path / "out.csv", progress=False, n_jobs=1)
    return tmp_path / ".out.csv.unfinished"


@pytest.mark.parametrize(
    ("damage", "resumed"),
    [
        (lambda data: data, 4),
        (lambda data: data[:-20], 3),  # the last line is incomplete
        (lambda data: data[:-1], 3),
        (lambda data: data + b'[[1, 2], {"fi', 4),
        (lambda data: b"\n".join([*data.split(b"\n")[:2], b"\xff", *data.split(b"\n")[2:]]), 1),  # a damaged disk
        (lambda data: b"", 0),
        (lambda data: data[:30], 0),
        (lambda data: data.replace(b'"bundle": "', b'"bundle": "other'), 0),
        (lambda data: b"\xff" * 100, 0),
    ],
)
def test_the_complete_lines_of_a_damaged_journal_are_used(songs, bundle, tmp_path, monkeypatch, damage, resumed):
    journal = interrupt_before_output(songs, bundle, tmp_path, monkeypatch)
    journal.write_bytes(damage(journal.read_bytes()))
    summary = classify_files(find_audio([songs]), bundle, output=tmp_path / "out.csv", progress=False)
    assert (summary.resumed, summary.files, summary.failed) == (resumed, 4, 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(path) for path in find_audio([songs])]


def test_results_after_an_incomplete_line_are_used(songs, bundle, tmp_path, monkeypatch):
    journal = interrupt_before_output(songs, bundle, tmp_path, monkeypatch)
    journal.write_bytes(journal.read_bytes()[:-20])
    interrupt_before_output(songs, bundle, tmp_path, monkeypatch)
    files = find_audio([songs])
    assert classify_files(files, bundle, output=tmp_path / "out.csv", progress=False).resumed == len(files)


def test_results_of_another_version_of_the_model_are_not_used(songs, bundle, tmp_path, monkeypatch):
    interrupt_before_output(songs, bundle, tmp_path, monkeypatch)
    stamped = stamp(bundle, tmp_path / "stamped", version="4", metrics={}).directory
    assert classify_files(find_audio([songs]), stamped, output=tmp_path / "out.csv", progress=False).resumed == 0


def test_changed_and_unreadable_files_are_classified_again(bundle, tmp_path, monkeypatch):
    (tmp_path / "songs").mkdir()
    for name in ("bass", "drone", "whistle"):
        write_tone(tmp_path / "songs" / f"{name}.wav", name, 2.0)
    journal = interrupt_before_output(tmp_path / "songs", bundle, tmp_path, monkeypatch)
    write_tone(tmp_path / "songs" / "bass.wav", "drone", 3.0)
    unreadable = {"file": str(tmp_path / "songs" / "drone.wav"), "error": {"code": "unreadable", "message": "x"}}
    identity = json.loads(journal.read_bytes().partition(b"\n")[0])["bundle"]
    with Journal(journal, identity) as opened:
        opened.add(unreadable)
    summary = classify_files(find_audio([tmp_path / "songs"]), bundle, output=tmp_path / "out.csv", progress=False)
    assert summary.resumed == 1
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["genre"] for row in csv.DictReader(file)] == ["drone", "drone", "whistle"]


def test_a_result_is_on_disk_as_soon_as_it_is_added(tmp_path):
    with Journal(tmp_path / "journal", "bundle") as journal:
        for number in (1, 2):
            journal.add({"file": f"{number}.wav", "genre": "bass"})
            assert (tmp_path / "journal").read_bytes().count(b"\n") == 1 + number


def test_restart_deletes_the_journal(songs, bundle, tmp_path, monkeypatch):
    interrupt_before_output(songs, bundle, tmp_path, monkeypatch)
    files = find_audio([songs])
    assert classify_files(files, bundle, output=tmp_path / "out.csv", resume=False, progress=False).resumed == 0


def test_an_output_in_use_is_refused(songs, bundle, tmp_path):
    with Journal(tmp_path / ".out.csv.unfinished", "another"), pytest.raises(ParameterError, match=r"out\.csv"):
        classify_files(find_audio([songs]), bundle, output=tmp_path / "out.csv", progress=False)


COMMAND = [sys.executable, "-c", "from genreflow.cli import main; main()", "classify"]
# Stops after 60 files, so that it cannot end before it is killed, however late that is.
ENDLESS = """
import itertools, time
from genreflow.inference import batch
classify, calls = batch.classify_file, itertools.count()
def classify_or_stop(predictor, file):
    if next(calls) >= 60:
        time.sleep(3600)
    return classify(predictor, file)
batch.classify_file = classify_or_stop
from genreflow.cli import main
main()
"""


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_kills_lose_and_duplicate_no_file(songs, bundle, tmp_path, kills):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number:03}.flac").symlink_to(songs / "a" / "long drone.flac")
    (folder / "bad.mp3").write_text("words")
    journal = tmp_path / ".out.jsonl.unfinished"
    arguments = ["classify", str(folder), "--bundle", str(bundle), "--output", str(tmp_path / "out.jsonl")]
    lines = 0
    for _ in range(kills):
        with subprocess.Popen([sys.executable, "-c", ENDLESS, *arguments], stderr=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + 300
                while process.poll() is None and time.monotonic() < end:
                    if journal.exists() and journal.read_bytes().count(b"\n") > lines + 30:
                        break
                    time.sleep(0.002)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "out.jsonl").exists()
        grown = journal.read_bytes().count(b"\n")
        assert grown > lines
        lines = grown
    done = subprocess.run([*COMMAND, *arguments[1:], "--json"], capture_output=True, text=True)
    assert done.returncode == 1  # one file is no audio
    summary = json.loads(done.stdout)
    assert (summary["files"], summary["classified"], summary["failed"]) == (401, 400, 1)
    assert 30 * kills <= summary["resumed"] <= 401
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [result["file"] for result in results] == [str(path) for path in find_audio([folder])]
    assert names(tmp_path) == ["many", "out.jsonl"]


# Files named "long" take ten minutes, in which their threads cannot be interrupted.
INTERRUPTED = """
import sys, time
from genreflow.inference import batch
classify = batch.classify_file
batch.classify_file = lambda predictor, file: time.sleep(600) if "long" in file.name else classify(predictor, file)
from genreflow.cli import main
main()
"""


@pytest.mark.parametrize("output", [True, False])
def test_ctrl_c_ends_at_once_and_keeps_the_rows(songs, bundle, tmp_path, output):
    for name in ("a.wav", "b.wav", "long 1.wav", "long 2.wav", "z.wav"):
        shutil.copy(songs / "b" / "bass.wav", tmp_path / name)
    journal = tmp_path / ".out.csv.unfinished"
    more = ["--output", str(tmp_path / "out.csv")] if output else []
    arguments = ["classify", str(tmp_path), "--bundle", str(bundle), "--jobs", "2", *more]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it in the background
    ) as process:
        try:
            if output:
                wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 3, 300)
            else:
                process.stdout.readline()
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=200)  # while the threads sleep
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted" in printed
    for word in ("Traceback", "Aborted", "terminate called", "Exception"):
        assert word not in printed
    if output:
        assert str(journal) in printed
        assert "2 of 5 files" in printed
        done = subprocess.run([*COMMAND, *arguments[1:], "--json"], capture_output=True, text=True)
        assert json.loads(done.stdout)["resumed"] == 2
        assert not journal.exists()


def test_a_finished_output_is_replaced_by_restart_alone(songs, bundle, tmp_path):
    output = tmp_path / "out.csv"
    command = [*COMMAND, str(songs / "b" / "bass.wav"), "--bundle", str(bundle), "--output", str(output)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    output.write_text("edited")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--restart" in refused.stderr
    assert output.read_text() == "edited"
    assert subprocess.run([*command, "--restart"], capture_output=True).returncode == 0
    assert "bass.wav" in output.read_text()


@pytest.mark.parametrize(("file", "code"), [("b/bass.wav", 0), ("a/words.mp3", 1), ("gone.wav", 2)])
def test_the_exit_code_is_1_if_a_file_failed(songs, bundle, tmp_path, file, code):
    for more in ([], ["--output", str(tmp_path / "out.csv")]):
        command = [*COMMAND, str(songs / file), "--bundle", str(bundle), *more]
        assert subprocess.run(command, capture_output=True).returncode == code


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    pytest.importorskip("distributed")
    with running(tmp_path_factory.mktemp("dask") / "elsewhere", workers=2) as started:
        yield started


def test_a_cluster_writes_the_same_table_as_this_machine(songs, bundle, tmp_path, two_workers, monkeypatch):
    monkeypatch.chdir(songs)  # relative paths: the workers have another working directory
    files = [*find_audio(["."]), Path("gone.wav")]
    here, classify = [], batch.classify_file
    with monkeypatch.context() as patch:
        patch.setattr(batch, "classify_file", lambda predictor, file: here.append(file) or classify(predictor, file))
        summary = classify_files(
            files, bundle, output=tmp_path / "there.jsonl", scheduler=two_workers.address, progress=False
        )
    assert (summary.classified, summary.failed) == (3, 2)
    # Files that no worker can read are tried again on this machine.
    assert sorted(map(str, here)) == ["a/words.mp3", "gone.wav"]
    classify_files(files, bundle, output=tmp_path / "here.jsonl", progress=False)
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()


def test_playlists_of_what_workers_classified_are_those_of_this_machine(songs, bundle, tmp_path, two_workers):
    texts = {}
    for name, options in (("here", []), ("there", ["--scheduler", two_workers.address])):
        output = ["--output", str(tmp_path / f"{name}.csv"), "--playlists", str(tmp_path / "lists" / name)]
        ended = CliRunner().invoke(cli.cli, ["classify", str(songs), "--bundle", str(bundle), *output, *options])
        assert ended.exit_code == 1, ended.output  # words.mp3
        texts[name] = {path.name: path.read_bytes() for path in (tmp_path / "lists" / name).iterdir()}
    assert texts["there"] == texts["here"]
    assert sum(text.count(b"#EXTINF") for text in texts["there"].values()) == 3


def test_the_command_uses_the_scheduler_of_the_environment(songs, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("genreflow.distributed._CONNECT_SECONDS", 1)
    arguments = ["classify", str(songs / "b"), "--bundle", str(bundle), "--output", str(tmp_path / "out.csv")]
    ended = CliRunner().invoke(cli.cli, arguments, env={"DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:9"})
    assert isinstance(ended.exception, ParameterError)
    assert "tcp://127.0.0.1:9" in str(ended.exception)


def test_the_error_names_a_worker_with_another_bundle(songs, tmp_path, two_workers):
    bundle = write_toy_bundle(tmp_path / "bundle")
    write_toy_bundle(tmp_path / "bundle", temperature=2.0)
    with pytest.raises(GenreflowError, match=rf"Dask worker tcp://.*: bundle {tmp_path / 'bundle'} must be"):
        list(iter_results_on_dask(two_workers.address, [songs / "whistle.ogg"], bundle))


@pytest.mark.slow
def test_a_killed_worker_loses_and_duplicates_no_file(songs, bundle, tmp_path):
    pytest.importorskip("distributed")
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number:03}.flac").symlink_to(songs / "a" / "long drone.flac")
    files, journal = find_audio([folder]), tmp_path / ".out.jsonl.unfinished"
    with running(tmp_path / "elsewhere") as started:
        victim, _ = started.start_worker(), started.start_worker()
        started.wait_for_workers(2)

        def kill_midway():
            wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 50, 300)
            victim.kill()
            victim.wait()

        killer = threading.Thread(target=kill_midway)
        killer.start()
        summary = classify_files(
            files, bundle, output=tmp_path / "out.jsonl", scheduler=started.address, progress=False
        )
        killer.join()
    assert victim.poll() is not None
    assert (summary.classified, summary.failed) == (600, 0)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == [str(file) for file in files]


def peak(command) -> float:
    """Run a command and return its peak resident memory [MiB]."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    run = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(run.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_number_of_files(songs, bundle, tmp_path, suffix):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number:05}.ogg").symlink_to(songs / "whistle.ogg")

    def call(name, *paths):
        output = tmp_path / f"{name}.{suffix}"
        return [*COMMAND, *map(str, paths), "--bundle", str(bundle), "--output", str(output)]

    few = peak(call("few", *sorted(folder.iterdir())[:100]))
    assert peak(call("many", folder)) < few + 50
    if suffix == "csv":
        assert len((tmp_path / "many.csv").read_text().splitlines()) == 10_001


def test_invalid_arguments_are_refused_before_any_work(songs, bundle, tmp_path, monkeypatch):
    def call(**changes):
        return classify_files(find_audio([songs]), changes.pop("bundle", bundle), progress=False, **changes)

    with pytest.raises(ParameterError, match="suffix"):
        call(output=tmp_path / "out.xlsx")
    with pytest.raises(ParameterError, match="n_jobs"):
        call(output=tmp_path / "out.csv", n_jobs=-1)
    with pytest.raises(GenreflowError, match=r"bundle\.json"):
        call(output=tmp_path / "out.csv", bundle=tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParameterError, match="pyarrow"):
        call(output=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_a_failed_result(bundle, tmp_path):
    [result] = iter_results([Path(tmp_path, "gone.wav")], Predictor(bundle))
    assert result["file"] == str(tmp_path / "gone.wav")
    assert result["error"]["code"] == "undecodable"
