"""Writes to a real MLflow server that goes away: nothing waits for it, and what is lost is reported."""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from mlflow import MlflowClient

from genreflow.errors import GenreflowError
from genreflow.tracking.datasets import TrainingDataset
from genreflow.tracking.retries import REQUEST_LIMITS
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.tracking.study import study_run
from genreflow.tracking.summary import describe_best_trial, log_reports
from genreflow.tracking.trials import StudyTrials, find_trial
from genreflow.tracking.writer import MlflowWriter, RunHandle
from mlflow_server import Server
from waiting import wait_for

DATASET = TrainingDataset(
    name="demo", digest="4f1c0ffee1234567", source="data/demo.yaml", profile={"train": 8, "genres": ["a", "b"]}
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def running(server):
    """The server, running, whatever the test before did to it."""
    if not server.runs:
        server.start()
    return server


@pytest.fixture
def client(running):
    return MlflowClient(tracking_uri=running.uri, registry_uri=running.uri)


@pytest.fixture
def experiment_id(client):
    return ensure_experiment(client).experiment_id


@pytest.fixture
def warnings(caplog):
    """Messages of level WARNING, as a function since they are collected while the test runs."""
    caplog.set_level(logging.INFO, "genreflow")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def history(client, run_id, name):
    return sorted(client.get_metric_history(run_id, name), key=lambda point: point.step)


@pytest.mark.slow
def test_writes_of_a_trial_arrive_when_an_unreachable_server_is_back(running, client, experiment_id, warnings, caplog):
    with study_run(client, experiment_id, "away", close_timeout=300) as study:
        trials = StudyTrials(study, dataset=DATASET)
        trials.start(0, {"learning_rate": 0.1})
        trials.log_epoch(0, 0, {"val_track_accuracy": 0.5, "loss": 1.0})
        running.kill()
        # If one of these calls waited for the server, it would never return.
        for epoch in range(1, 20):
            trials.log_epoch(0, epoch, {"val_track_accuracy": 0.5 + epoch / 100, "loss": 1 / epoch})
        trials.end(0, "FINISHED", tags={"trial": "finished"}, metrics={"parameters": 1234})
        trials.start(1, {"learning_rate": 0.2}, {"worker": "w"})
        trials.log_epoch(1, 0, {"val_track_accuracy": 0.4})
        trials.end(1, "KILLED", tags={"trial": "pruned"})
        ended = int(time.time() * 1000)
        assert trials.run_id(1) is None
        wait_for(warnings)
        running.start()
        trials.stop()
    assert study.writer.close() == 0
    first, second = (client.get_run(trials.run_id(number)) for number in (0, 1))
    assert len(warnings()) == 1
    assert "does not answer" in warnings()[0]
    assert sum("is back" in record.getMessage() for record in caplog.records) == 1
    assert [len(find_trial(study, number)) for number in (0, 1)] == [1, 1]
    points = history(client, first.info.run_id, "loss")
    expected = [(0, 1.0), *((epoch, 1 / epoch) for epoch in range(1, 20))]
    assert [(point.step, point.value) for point in points] == expected
    times = [point.timestamp for point in points]
    assert times == sorted(times)
    for run in (first, second):
        assert run.info.start_time <= run.info.end_time <= ended, "the times are those of the writes"
        assert run.inputs.dataset_inputs[0].dataset.digest == DATASET.digest
    assert first.info.start_time <= times[0] <= times[-1] <= first.info.end_time
    assert (first.info.status, first.data.tags["trial"]) == ("FINISHED", "finished")
    assert (first.data.metrics["parameters"], first.data.metrics["best_val_track_accuracy"]) == (1234, 0.69)
    assert (second.info.status, second.data.params) == ("KILLED", {"learning_rate": "0.2"})
    assert second.data.tags["worker"] == "w"
    assert client.get_run(study.run_id).data.metrics["best_val_track_accuracy"] == 0.69


@pytest.mark.slow
def test_a_server_that_stays_away_is_not_waited_for_and_the_loss_is_reported(
    running, client, experiment_id, warnings, tmp_path
):
    with study_run(client, experiment_id, "gone", close_timeout=2) as study:
        trials = StudyTrials(study)
        trials.start(0, {"learning_rate": 0.1})
        wait_for(lambda: trials.run_id(0))
        running.kill()
        for epoch in range(3):
            trials.log_epoch(0, epoch, {"val_track_accuracy": 0.5, "loss": 1.0})
        trials.end(0, "FINISHED")
        trials.start(1, {})
        trials.stop()
        describe_best_trial(study, number=0, run_id=None, facts={}, lineage={})
    lost = study.writer.close()
    # Metric values and end of trial 0, the study's best accuracy; the run of trial 1; description and end of the study.
    assert lost >= 6
    report = warnings()[-1]
    assert f"{lost} writes are lost" in report
    assert running.uri in report
    assert "trial 0 (11 metric values)" in report  # two of three epochs, the best one, and four system metrics
    assert "trial 1" in report
    assert "description of the study" in report
    assert "study gone" in report
    assert sum("are lost" in message for message in warnings()) == 1
    assert not log_reports(client, study.run_id, [tmp_path], artifact_path="study", timeout=0.5)
    assert "1 write is lost" in warnings()[-1]


@pytest.mark.slow
def test_a_server_that_goes_away_during_a_request_is_found_again(running, client, experiment_id, warnings, caplog):
    """MLflow itself would retry the request for four minutes."""
    run = client.create_run(experiment_id).info.run_id
    writer, killed = MlflowWriter(client), threading.Event()

    def write():
        if not killed.is_set():
            running.kill()
            killed.set()
        client.log_metric(run, "loss", 1.0, step=0)

    writer.submit(write, label="trial 0")
    wait_for(lambda: killed.is_set() and warnings())
    running.start()
    assert writer.close(timeout=300) == 0
    assert "does not answer" in warnings()[0]
    assert "is back" in caplog.text
    assert [point.value for point in history(client, run, "loss")] == [1.0]


@pytest.mark.slow
def test_a_server_that_does_not_answer_at_the_start_is_named(running, monkeypatch, warnings):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri.replace("//", "//user:secret@"))
    assert open_client().tracking_uri.endswith(running.uri[-5:])
    running.kill()
    with pytest.raises(GenreflowError, match=running.uri) as refused:
        open_client(timeout=0.5)
    assert len(warnings()) == 1
    assert "secret" not in str(refused.value) + warnings()[0]


def test_a_write_that_the_store_refuses_does_not_stop_the_others(tmp_path, warnings):
    writer, done = MlflowWriter(_local_client(tmp_path)), []
    run = RunHandle("trial 0", "no-such-run")
    writer.log_metrics(run, {"loss": 1.0}, step=0)
    writer.log_metrics(run, {"loss": 1.0}, step=1)
    writer.end_run(run, "FINISHED")
    writer.submit(lambda: done.append(1), label="trial 1")
    assert writer.close() == 2
    assert done == [1]
    assert len(warnings()) == 2
    assert "refused a write of trial 0" in warnings()[0]
    assert "2 writes are lost: trial 0 (2 metric values)" in warnings()[1]


def test_closing_waits_as_long_as_writes_succeed(tmp_path, warnings):
    client, done, release = _local_client(tmp_path), [], threading.Event()
    writer = MlflowWriter(client)
    # Each one takes far less than the timeout, also on a busy machine, and all together take longer.
    for number in range(25):
        writer.submit(lambda number=number: (time.sleep(0.2), done.append(number)), label="trial 0")
    assert writer.close(timeout=4) == 0
    assert done == list(range(25))
    writer = MlflowWriter(client)
    writer.submit(release.wait, label="trial 1")
    assert writer.close(timeout=0.5) == 1
    assert writer.close(timeout=0.5) == 1
    assert len(warnings()) == 1
    assert "1 write is lost: trial 1" in warnings()[0]
    release.set()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit(release.wait, label="trial 1")


def test_metric_values_are_written_together_after_the_flush_interval(tmp_path):
    client = _local_client(tmp_path)
    run = RunHandle("run", client.create_run(client.create_experiment("flush")).info.run_id)
    slow = MlflowWriter(client, flush_interval=3600)
    for step in range(30):
        slow.log_metrics(run, {"loss": float(step)}, step)
    time.sleep(0.5)
    assert client.get_metric_history(run.run_id, "loss") == []
    assert slow.close() == 0
    assert [point.value for point in history(client, run.run_id, "loss")] == list(range(30))
    quick = MlflowWriter(client, flush_interval=0.1)
    quick.log_metrics(run, {"loss": -1.0}, 30)
    wait_for(lambda: len(client.get_metric_history(run.run_id, "loss")) == 31)
    assert quick.close() == 0


def test_batches_stay_within_the_limits_of_mlflow(tmp_path):
    client = _local_client(tmp_path)
    run = RunHandle("run", client.create_run(client.create_experiment("many")).info.run_id)
    writer = MlflowWriter(client)
    writer.log_params(run, {f"p{i}": i for i in range(250)})
    writer.set_tags(run, {f"t{i}": i for i in range(250)})
    writer.log_metrics(run, {f"m{i}": i for i in range(1100)})
    assert writer.close() == 0
    data = client.get_run(run.run_id).data
    assert (len(data.params), len(data.metrics)) == (250, 1100)
    assert {f"t{i}" for i in range(250)} <= set(data.tags)


@pytest.mark.slow
def test_a_locked_database_is_retried_in_order(tmp_path, warnings, capfd):
    client = _local_client(tmp_path)
    run = client.create_run(client.create_experiment("locked"))
    writer = MlflowWriter(client)
    lock = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    for value in range(5):
        writer.submit(lambda value=value: client.set_tag(run.info.run_id, "last", value), label="trial 0")
    wait_for(warnings)
    lock.execute("ROLLBACK")
    lock.close()
    assert writer.close() == 0
    assert client.get_run(run.info.run_id).data.tags["last"] == "4"
    assert len(warnings()) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_the_writes_of_each_thread_are_performed_in_order(tmp_path):
    done: list[tuple[int, int]] = []
    writer = MlflowWriter(_local_client(tmp_path))

    def submit(thread: int) -> None:
        for number in range(100):
            writer.submit(lambda number=number: done.append((thread, number)), label="x")

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close() == 0
    assert len(done) == 400
    for thread in range(4):
        assert [number for who, number in done if who == thread] == list(range(100))


def test_importing_changes_neither_environment_nor_loggers_and_a_writer_keeps_the_users_limits():
    """In a process of its own, since this one has had writers."""
    script = """
import logging, os
before = dict(os.environ)
import mlflow
watched = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "urllib3.connectionpool", "mlflow", "alembic")]
loggers = [(list(logger.filters), logger.level) for logger in watched]
environment = dict(os.environ)
from genreflow.tracking import datasets, lineage, retries, runs, store, study, summary, system_metrics, trials, writer
assert dict(os.environ) == environment
assert [(list(logger.filters), logger.level) for logger in watched] == loggers
os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "7"
writer.MlflowWriter(mlflow.MlflowClient("http://127.0.0.1:9"))
print({name: os.environ[name] for name in retries.REQUEST_LIMITS})
"""
    environment = {name: value for name, value in os.environ.items() if name not in REQUEST_LIMITS}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert eval(done.stdout) == REQUEST_LIMITS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}


def _local_client(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    client.search_experiments()
    return client
