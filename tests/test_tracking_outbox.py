"""A real MLflow server that goes away in the middle of a trial: nothing waits for it, and nothing is lost unsaid."""

import sqlite3
import threading
import time

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from genreflow.errors import GenreflowError
from genreflow.tracking import runs, store
from genreflow.tracking.lineage import Lineage
from genreflow.tracking.outbox import Outbox
from genreflow.tracking.runs import find_trial
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.tracking.study import study_run
from genreflow.tracking.summary import show_best
from genreflow.tracking.trials import StudyTrials
from mlflow_server import Server

TREE = Lineage(
    name="demo", digest="4f1c0ffee1234567", source="data/demo.yaml", facts={"train": 8, "genres": ["a", "b"]}
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def up(server):
    """The server, running, whatever the test before did to it."""
    if not server.answers():
        server.start()
    return server


@pytest.fixture
def client(up):
    return MlflowClient(tracking_uri=up.uri, registry_uri=up.uri)


@pytest.fixture
def experiment_id(client):
    return ensure_experiment(client).experiment_id


def history(client, run_id, name):
    return sorted(client.get_metric_history(run_id, name), key=lambda point: point.step)


@pytest.mark.slow
def test_a_server_away_in_a_trial_gets_it_all_when_it_is_back(up, client, experiment_id, monkeypatch):
    monkeypatch.setattr(runs, "FLUSH_SECONDS", 0)
    said = []
    with study_run(client, experiment_id, "away") as study:
        trials = StudyTrials(study, dataset=TREE, outbox=Outbox(up.uri, say=said.append))
        trials.start(0, {"learning_rate": 0.1})
        trials.epoch(0, 0, {"val_track_accuracy": 0.5, "loss": 1.0})
        up.kill()
        # All of this would never end, or raise, if anything of it waited for the server.
        for epoch in range(1, 20):
            trials.epoch(0, epoch, {"val_track_accuracy": 0.5 + epoch / 100, "loss": 1 / epoch})
        trials.end(0, "FINISHED", tags={"trial": "finished"}, metrics={"parameters": 1234})
        trials.start(1, {"learning_rate": 0.2}, {"worker": "w"})
        trials.epoch(1, 0, {"val_track_accuracy": 0.4})
        trials.end(1, "KILLED", tags={"trial": "pruned"})
        over = int(time.time() * 1000)
        assert trials.run_id(1) is None
        while not said:  # the thread finds out by itself
            time.sleep(0.05)
        up.start()
        assert trials.close(seconds=300) == 0
        first, second = (client.get_run(trials.run_id(number)) for number in (0, 1))
    assert len(said) == 2, said
    assert "does not answer" in said[0]
    assert "is back" in said[1]
    assert [len(find_trial(study, number)) for number in (0, 1)] == [1, 1]
    points = history(client, first.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [
        (0, 1.0),
        *((epoch, 1 / epoch) for epoch in range(1, 20)),
    ]
    times = [point.timestamp for point in points]
    assert times == sorted(times)
    for run in (first, second):
        assert run.info.start_time <= run.info.end_time <= over, "the times are of the writes, not of the trial"
        assert run.inputs.dataset_inputs[0].dataset.digest == TREE.digest
    assert first.info.start_time <= times[0] <= times[-1] <= first.info.end_time
    assert (first.info.status, first.data.tags["trial"]) == ("FINISHED", "finished")
    assert (first.data.metrics["parameters"], first.data.metrics["best_val_track_accuracy"]) == (1234, 0.69)
    assert (second.info.status, second.data.params, second.data.tags["worker"]) == (
        "KILLED",
        {"learning_rate": "0.2"},
        "w",
    )
    assert client.get_run(study.run_id).data.metrics["best_val_track_accuracy"] == 0.69


@pytest.mark.slow
def test_a_server_that_stays_away_is_not_waited_for_and_the_loss_is_said(up, client, experiment_id, capsys):
    said, missed = [], {"best": 0, "best_run_id": None, "facts": {}, "lineage": {}}
    with study_run(client, experiment_id, "gone") as study:
        trials = StudyTrials(study, outbox=Outbox(up.uri))
        trials.start(0, {"learning_rate": 0.1})
        while trials.run_id(0) is None:
            time.sleep(0.05)
        up.kill()
        for epoch in range(3):
            trials.epoch(0, epoch, {"val_track_accuracy": 0.5, "loss": 1.0})
        trials.end(0, "FINISHED")
        trials.start(1, {})
        lost = trials.close(seconds=2, say=said.append)
        show_best(study, **missed)
    # trial 0: parameters perhaps, points, the end, the study's best; trial 1: its run
    assert lost >= 4
    assert len(said) == 1
    assert up.uri in said[0]
    # 3 epochs of two, the best and the four of the system
    assert f"{lost} writes are lost, with 11 points of trial 0." in said[0]
    assert trials.close(seconds=2, say=said.append) == lost
    assert len(said) == 1, "said twice"
    heard = capsys.readouterr().out
    assert "does not say that trial 0 is the best" in heard
    assert "looks as if it went on" in heard
    assert "Traceback" not in heard


@pytest.mark.slow
def test_a_server_that_goes_in_the_middle_of_a_write_is_missed_soon_and_found_again(up, client, experiment_id):
    said, run = [], client.create_run(experiment_id).info.run_id
    box = Outbox(up.uri, say=said.append)

    def write():
        if up.answers() and not said:
            up.kill()
        client.log_metric(run, "loss", 1.0, step=0)

    box.put(write, of="trial 0")
    end = time.monotonic() + 60
    while not said:
        assert time.monotonic() < end, "MLflow itself tries again, for minutes"
        time.sleep(0.05)
    up.start()
    assert box.close(seconds=60) == 0
    assert "does not answer" in said[0]
    assert "is back" in said[1]
    assert [point.value for point in history(client, run, "loss")] == [1.0]


@pytest.mark.slow
def test_a_server_that_is_not_there_is_named_at_the_start(up, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", up.uri.replace("//", "//user:secret@"))
    monkeypatch.setattr(store, "PATIENCE_S", 0.5)
    assert open_client().tracking_uri.endswith(up.uri[-5:])
    up.kill()
    with pytest.raises(GenreflowError, match="does not answer") as refused:
        open_client()
    heard = capsys.readouterr()
    assert up.uri in str(refused.value)
    assert "secret" not in str(refused.value) + heard.err
    assert heard.out == "", "what a program reads as JSON"


def test_a_write_that_the_store_refuses_does_not_hold_up_the_others(tmp_path):
    client, said, done = _local(tmp_path), [], []
    box = Outbox(client.tracking_uri, say=said.append)
    points = [Metric("loss", 1.0, 0, step) for step in range(2)]
    box.put(lambda: client.log_batch("no-such-run", metrics=points), of="trial 0", points=2)
    box.put(lambda: client.set_terminated("no-such-run"), of="trial 1")
    box.put(lambda: done.append(1), of="trial 2")
    assert box.close() == 2
    assert done == [1]
    assert "refused a write of trial 0" in said[0]
    assert "2 writes are lost, with 2 points of trial 0" in said[1]
    assert len(said) == 2


def test_closing_waits_as_long_as_writes_get_through(tmp_path):
    done, free = [], threading.Event()
    box = Outbox(f"sqlite:///{tmp_path}/mlflow.db")
    for number in range(6):
        box.put(lambda number=number: (time.sleep(0.4), done.append(number)), of="trial 0")
    assert box.close(seconds=1) == 0
    assert done == list(range(6))
    box = Outbox(f"sqlite:///{tmp_path}/mlflow.db")
    box.put(free.wait, of="trial 1")
    assert box.close(seconds=0.5, say=done.append) == 1
    assert "1 write is lost, of trial 1" in done[-1]
    free.set()


@pytest.mark.slow
def test_a_locked_database_is_asked_again_and_the_order_stays(tmp_path, capfd):
    client, said = _local(tmp_path), []
    run = client.create_run(client.create_experiment("locked"))
    box = Outbox(client.tracking_uri, say=said.append)
    lock = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    for value in range(5):
        box.put(lambda value=value: client.set_tag(run.info.run_id, "last", value), of="trial 0")
    while not said:
        time.sleep(0.05)
    lock.execute("ROLLBACK")
    lock.close()
    assert box.close() == 0
    assert client.get_run(run.info.run_id).data.tags["last"] == "4"
    assert len(said) == 2, said
    assert "Traceback" not in capfd.readouterr().err


def test_writes_of_many_threads_are_all_done(tmp_path):
    client, done = _local(tmp_path), []
    box = Outbox(client.tracking_uri)
    threads = [
        threading.Thread(target=lambda at=at: [box.put(lambda i=i: done.append((at, i)), of="x") for i in range(100)])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box.close() == 0
    assert sorted(done) == [(at, i) for at in range(4) for i in range(100)]
    for at in range(4):
        assert [i for who, i in done if who == at] == list(range(100))


def _local(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    client.search_experiments()
    return client
