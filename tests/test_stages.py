"""Steps of the stages that need neither DVC nor a fit, in a temporary project folder."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from genreflow.files import write_json
from genreflow.stages import STUDY, TRIALS, run_artifacts, study_report
from genreflow.stages.best_trial import BestTrial
from genreflow.stages.register import flat_metrics
from genreflow.stages.train import curve_rows
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.training.options import FitOptions
from genreflow.training.params import SegmentParams


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty project folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("genreflow"), "propagate", True)
    return tmp_path


def write_study(mlflow_run: str | None) -> None:
    """Write a study without any trial."""
    record = {"study": "genre-0123456789", "objectives": ["track_accuracy"], "trials": [], "leaking": False}
    empty = {"pareto_front": [], "chosen": None, "importances": {}, "log_scale": []}
    write_json(TRIALS, record | empty | {"mlflow_run": mlflow_run})


def test_the_study_report_is_an_artifact_of_the_studys_run(folder):
    client = open_client(folder)
    run_id = client.create_run(ensure_experiment(client, folder).experiment_id).info.run_id
    write_study(run_id)
    study_report.main()
    artifacts = {item.path for item in client.list_artifacts(run_id, "study")}
    assert artifacts == {"study/study.html", "study/pareto_front.csv"}


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", None], ids=["server away", "run of another store"])
def test_the_study_report_does_not_need_mlflow(folder, monkeypatch, caplog, uri):
    monkeypatch.setattr(run_artifacts, "TIMEOUT_S", 0.2)
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    write_study("0" * 32)
    study_report.main()
    assert (folder / STUDY / "study.html").exists()
    assert any(record.levelno == logging.WARNING and "0" * 32 in record.getMessage() for record in caplog.records)


def test_a_study_without_an_mlflow_run_is_drawn(folder):
    write_study(None)
    study_report.main()
    assert (folder / STUDY / "study.html").exists()
    assert not list(folder.glob("mlflow.db*"))


def run(stage: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "genreflow.stages", stage]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_stage_shows_what_it_logs(folder):
    write_study(None)
    done = run("study-report")
    assert (done.returncode, done.stderr) == (0, "")
    assert str(STUDY) in done.stdout


def test_an_error_of_a_stage_is_one_line_and_exit_code_2(folder):
    done = run("study-report")
    assert done.returncode == 2
    assert str(TRIALS) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_the_study_searched_replaces_the_options_of_params_yaml():
    best = BestTrial("study", "efficient", {}, 0.02, {"batch_size": 64}, {"seconds": 8.0})
    found = best.fit_options(FitOptions(batch_size=16, mixup=0.3))
    assert (found.batch_size, found.mixup, found.learning_rate) == (64, 0.3, 0.02)
    assert best.fit_options(FitOptions(learning_rate=0.5)).learning_rate == 0.5
    segments = best.segment_params(SegmentParams(hop_seconds=1.0, track_cap=3.0))
    assert (segments.seconds, segments.hop_seconds, segments.track_cap) == (8.0, 2.0, 3.0)


def test_learning_curves_are_rows_from_epoch_1():
    rows = curve_rows({"loss": [2.0, 1.0], "val_loss": [3.0, 2.5]}, {"leaking": "true"})
    assert rows == [
        {"epoch": 1, "leaking": "true", "loss": 2.0, "val_loss": 3.0},
        {"epoch": 2, "leaking": "true", "loss": 1.0, "val_loss": 2.5},
    ]
    assert curve_rows({}, {}) == []


def test_metrics_of_a_version_are_named_after_part_and_unit():
    metrics = {"test": {"track": {"accuracy": 0.5}, "segment": {"accuracy": 0.25}}}
    assert flat_metrics(metrics) == {"test_track_accuracy": 0.5, "test_segment_accuracy": 0.25}
