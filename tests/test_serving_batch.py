"""Folders of audio to tables."""

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from genreflow.errors import GenreflowError, ParameterError
from genreflow.serving.batch import PENDING, classify_files, find_audio, iter_results
from genreflow.serving.predictor import Predictor
from serving_toy import LABELS, write_tone, write_toy_bundle


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
    (folder / "notes.txt").write_text("no audio")
    (folder / "b" / "._bass.wav").write_bytes(b"what some systems leave beside a file")
    (folder / "a" / "up").symlink_to(folder)
    return folder


def test_folders_are_searched_and_files_taken_as_they_are(songs, tmp_path):
    found = find_audio([songs])
    assert [str(path.relative_to(songs)) for path in found] == [
        "a/long drone.flac",
        "a/words.mp3",
        "b/bass.wav",
        "whistle.ogg",
    ]
    assert find_audio([songs / "notes.txt", songs / "b", songs / "b" / "bass.wav"]) == [
        songs / "notes.txt",
        songs / "b" / "bass.wav",
    ]
    with pytest.raises(ParameterError, match=r"gone\.wav does not exist"):
        find_audio([songs, songs / "gone.wav"])
    with pytest.raises(ParameterError, match="No audio"):
        find_audio([tmp_path])


def test_every_kind_of_table_tells_the_same_in_the_order_given(songs, bundle, tmp_path):
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
    assert list(rows[0])[:7] == ["file", "genre", "confidence", "duration", "short", "error", "message"]
    assert [row["genre"] for row in rows] == ["whistle", "", "drone", "bass"]
    assert [row["error"] for row in rows] == ["", "undecodable", "", ""]
    assert float(rows[2]["p_drone"]) == lines[2]["probabilities"]["drone"]
    assert rows[0]["short"] == "True"

    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["genre"] for row in table] == ["whistle", None, "drone", "bass"]
    assert table[2]["p_drone"] == lines[2]["probabilities"]["drone"]
    assert table[1]["message"] == lines[1]["error"]["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.parquet"]


def test_abstentions_are_counted_apart(songs, tmp_path):
    write_toy_bundle(tmp_path / "shy", abstain_below=1.0)
    summary = classify_files([songs / "whistle.ogg"], tmp_path / "shy", output=tmp_path / "out.csv", progress=False)
    assert (summary.classified, summary.abstained) == (0, 1)
    with (tmp_path / "out.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["genre"] == ""
    assert max(float(row[f"p_{label}"]) for label in LABELS) == float(row["confidence"])


def test_results_are_shown_and_the_bar_is_on_standard_error(songs, bundle, capsys):
    shown = []
    classify_files(find_audio([songs]), bundle, show=shown.append)
    assert [result.get("genre") for result in shown] == ["drone", None, "bass", "whistle"]
    streams = capsys.readouterr()
    assert "4/4" in streams.err
    assert streams.out == ""


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_files_are_taken_as_they_are_needed(songs, bundle, n_jobs):
    taken = []

    def endless():
        while True:
            taken.append(songs / "whistle.ogg")
            yield taken[-1]

    results = iter_results(endless(), Predictor(bundle), n_jobs=n_jobs)
    for count in range(1, 101):
        assert next(results)["genre"] == "whistle"
        assert len(taken) < count + n_jobs * PENDING
    results.close()


def test_nothing_is_left_of_a_batch_that_fails(songs, bundle, tmp_path):
    (tmp_path / "out.csv").write_text("of yesterday")

    def stop(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify_files(find_audio([songs]), bundle, output=tmp_path / "out.csv", progress=False, show=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "of yesterday"


def test_faults_of_the_call_are_told_before_any_work(songs, bundle, tmp_path, monkeypatch):
    def call(**changes):
        return classify_files(find_audio([songs]), changes.pop("bundle", bundle), progress=False, **changes)

    with pytest.raises(ParameterError, match=r"\.csv, \.jsonl, \.parquet"):
        call(output=tmp_path / "out.xlsx")
    with pytest.raises(ParameterError, match="n_jobs"):
        call(output=tmp_path / "out.csv", n_jobs=-1)
    with pytest.raises(GenreflowError, match="no bundle"):
        call(bundle=tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParameterError, match="needs pyarrow"):
        call(output=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_vanishes_is_a_row(bundle, tmp_path):
    [result] = iter_results([Path(tmp_path, "gone.wav")], Predictor(bundle))
    assert result["file"] == str(tmp_path / "gone.wav")
    assert result["error"]["code"] == "undecodable"
