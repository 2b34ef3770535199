"""The log of predictions: what is written, rotated, removed and deleted, and what is read of a damaged one."""

import json
import multiprocessing
import os
import resource
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.monitoring import log_files
from genreflow.monitoring.log_files import LogWriter, delete
from genreflow.monitoring.logged_prediction import from_line, to_line
from genreflow.monitoring.window import read_window
from monitoring_toy import tracks, write_log

HASH = "ab" * 32


def made(n: int) -> list:
    return tracks(np.random.default_rng(1), n, each=1)


def lines(directory: Path) -> list[bytes]:
    return [line for path in sorted(directory.glob("predictions.*.jsonl")) for line in path.read_bytes().splitlines()]


def test_a_line_holds_what_was_logged():
    [(_, logged)] = made(1)
    read = from_line(to_line(logged.to_fields()))
    np.testing.assert_array_equal(read.embedding, logged.embedding)
    assert (read.prediction_id, read.bundle, read.genre) == (logged.prediction_id, logged.bundle, logged.genre)
    assert read.time == pytest.approx(logged.time, abs=0.001)
    assert read.to_features() == pytest.approx(logged.to_features(), abs=0.006)
    assert not {"file", "name", "audio", "client"} & json.loads(to_line(logged.to_fields())).keys()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b'{"format": 1}', b'{"format": 2}', b"\xff\xfe", b"1"])
def test_a_damaged_line_is_a_value_error(damage):
    with pytest.raises(ValueError):  # noqa: PT011
        from_line(damage)


def test_a_cut_line_is_left_out_and_counted(tmp_path):
    path = write_log(tmp_path, made(60))
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\n", 0, -1) + 100])
    window = read_window(tmp_path, HASH, last=100)
    assert (len(window.predictions), window.damaged) == (59, 1)


def test_the_newest_predictions_of_the_model_are_read_in_temporal_order(tmp_path):
    found = made(80)
    for number, (_, each) in enumerate(found):
        object.__setattr__(each, "time", 1_000_000.0 + number)
    write_log(tmp_path, found[::-1])
    write_log(tmp_path, made(7), bundle_hash="cd" * 32)
    window = read_window(tmp_path, HASH, last=50)
    assert [each.prediction_id for each in window.predictions] == [each.prediction_id for _, each in found[30:]]
    assert window.other_models == 7
    late = read_window(tmp_path, HASH, last=99, since=datetime.fromtimestamp(1_000_029, UTC))
    assert len(late.predictions) == 51


def test_a_sound_that_was_sent_again_counts_once(tmp_path):
    found = made(60)
    write_log(tmp_path, found + found[:5] * 3)
    window = read_window(tmp_path, HASH, last=500)
    assert (len(window.predictions), window.repeated) == (60, 15)


@pytest.mark.parametrize("case", ["no folder", "empty folder", "empty file", "other model", "too few", "one sound"])
def test_what_cannot_be_compared_is_one_sentence(tmp_path, case):
    log, named = tmp_path / "log", "50"
    if case == "no folder":
        named = "GENREFLOW_PREDICTION_LOG"
    else:
        log.mkdir()
    if case == "empty file":
        (log / "predictions.2026-01-01.0123abcd.jsonl").touch()
    elif case == "other model":
        named = "version 3"
        write_log(log, made(60), bundle_hash="cd" * 32)
    elif case == "too few":
        named = "49"
        write_log(log, made(49))
    elif case == "one sound":
        named = "60 of 1 sound"
        write_log(log, made(1) * 60)
    with pytest.raises(GenreflowError, match=named) as error:
        read_window(log, HASH, last=500)
    assert str(log) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_prediction_is_deleted_everywhere_and_nothing_else(tmp_path):
    found = made(5)
    wanted = found[2][1].prediction_id
    for part in (found, found[2:]):
        write_log(tmp_path, part)
    before = lines(tmp_path)
    assert delete(tmp_path, wanted) == 2
    assert lines(tmp_path) == [line for line in before if wanted.encode() not in line]
    assert len(before) == 8
    assert delete(tmp_path, wanted) == 0
    assert delete(tmp_path / "nowhere", wanted) == 0
    with pytest.raises(ParameterError, match="prediction_id"):
        delete(tmp_path, "")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _append(directory: Path, count: int) -> None:
    writer = LogWriter(directory, days=30, max_bytes=10**9)
    for _ in range(count):
        writer.append(to_line(made(1)[0][1].to_fields()))


def test_nothing_is_lost_while_predictions_are_deleted(tmp_path):
    first = made(30)
    path = write_log(tmp_path, first)
    writers = [multiprocessing.get_context("fork").Process(target=_append, args=(tmp_path, 60)) for _ in range(2)]
    own = LogWriter(tmp_path, days=30, max_bytes=10**9)
    own._path, own._day = path, datetime.now(UTC).date()  # appends to the file from which lines are deleted
    for writer in writers:
        writer.start()
    for _, each in first:
        own.append(to_line(made(1)[0][1].to_fields()))
        assert delete(tmp_path, each.prediction_id) == 1
    for writer in writers:
        writer.join()
    assert len(lines(tmp_path)) == 30 + 120
    assert all(from_line(line) for line in lines(tmp_path))


def test_files_are_rotated_by_day_and_size_and_removed_when_too_old_or_too_many(tmp_path, monkeypatch):
    class Noon(datetime):
        """The clock: no day ends during the test."""

        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 26, 12, tzinfo=tz)

    monkeypatch.setattr(log_files, "datetime", Noon)
    today = Noon.now(UTC).date()
    for age in (1, 29, 30, 31, 400):
        path = tmp_path / f"predictions.{today - timedelta(days=age)}.0123abcd.jsonl"
        path.write_bytes(to_line(made(1)[0][1].to_fields()))
    (tmp_path / "drift.json").write_text("{}")
    writer = LogWriter(tmp_path, days=30, max_bytes=10**9)
    writer.append(b"{}\n")
    ages = sorted((today - log_files.day_of(path)).days for path in log_files.log_files(tmp_path))
    assert ages == [0, 1, 29]
    assert (tmp_path / "drift.json").exists()
    monkeypatch.setattr(log_files, "MAX_FILE_BYTES", 1000)
    for _ in range(20):
        writer.append(b"x" * 599 + b"\n")
    assert all(path.stat().st_size <= 1000 for path in log_files.log_files(tmp_path)[-10:])
    writer.max_bytes = 5000
    for _ in range(5):
        writer.append(b"y" * 599 + b"\n")
    assert sum(path.stat().st_size for path in log_files.log_files(tmp_path)) <= 5000
    assert b"y" * 599 in lines(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the file size that raises an error")
def test_a_full_disk_cuts_no_line(tmp_path):
    row = to_line(made(1)[0][1].to_fields())

    def work() -> None:
        writer = LogWriter(tmp_path, days=30, max_bytes=10**9)
        writer.append(row)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(row) + 50, resource.RLIM_INFINITY))
        try:
            writer.append(row)
        except OSError:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            writer.append(row)
            os._exit(0)
        os._exit(1)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [line + b"\n" for line in lines(tmp_path)] == [row, row]


def test_others_cannot_read_the_log(tmp_path):
    assert write_log(tmp_path, made(1)).stat().st_mode & 0o077 == 0
