"""Runs in a real MLflow store: found again, ended rightly, with their curves and where they came from."""

import math
import subprocess

import pytest

from genreflow.tracking import runs
from genreflow.tracking.runs import create_run, lineage_tags, start_run
from genreflow.tracking.store import connect, ensure_experiment, open_client, project_root
from genreflow.tracking.study import StudyTrials, fail_lost_trials, study_run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def store(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = open_client(root)
    return client, ensure_experiment(client, root).experiment_id


def status(client, run_id):
    return client.get_run(run_id).info.status


def test_the_store_is_in_the_project_and_nothing_global_is_set(root, store, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment_id = store
    assert (root / "mlflow.db").is_file()
    assert client.get_experiment(experiment_id).artifact_location == (root / "mlruns").as_uri()
    assert ensure_experiment(client, root).experiment_id == experiment_id
    assert not mlflow.is_tracking_uri_set()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_another_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert connect(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert connect(tmp_path) == "http://tracking.example:5000"


def test_an_experiment_of_dvc_writes_into_the_project_it_was_copied_from(tmp_path):
    for copy in ("tmpab12cd", "standalone/tmpab12cd/nested"):
        folder = tmp_path / ".dvc" / "tmp" / "exps" / copy
        folder.mkdir(parents=True)
        assert project_root(folder) == tmp_path
    assert project_root(tmp_path) == tmp_path


def test_a_run_says_how_it_ended(store):
    client, experiment_id = store
    with start_run(client, experiment_id, "fine", params={"learning_rate": 0.1}, tags={"data_hash": "ab"}) as run:
        assert status(client, run.run_id) == "RUNNING"
    data = client.get_run(run.run_id).data
    assert (status(client, run.run_id), data.params, data.tags["data_hash"]) == (
        "FINISHED",
        {"learning_rate": "0.1"},
        "ab",
    )
    with pytest.raises(ValueError, match="out of memory"), start_run(client, experiment_id, "bad") as run:
        raise ValueError("out of memory")
    assert status(client, run.run_id) == "FAILED"
    assert client.get_run(run.run_id).data.tags["error"] == "ValueError: out of memory"
    with pytest.raises(KeyboardInterrupt), start_run(client, experiment_id, "stopped") as run:
        raise KeyboardInterrupt
    assert status(client, run.run_id) == "KILLED"


def test_curves_are_written_in_batches_and_whole(store, monkeypatch):
    client, experiment_id = store
    monkeypatch.setattr(runs, "FLUSH_SECONDS", 3600)
    with start_run(client, experiment_id, "curves") as run:
        for epoch in range(30):
            run.log_epoch({"loss": 1 / (epoch + 1), "val_loss": math.nan if epoch == 3 else 1.0}, epoch)
        assert client.get_metric_history(run.run_id, "loss") == [], "every epoch was a write of its own"
        monkeypatch.setattr(runs, "FLUSH_SECONDS", 0)
        run.log_epoch({"loss": 0.0}, 30)
        assert len(client.get_metric_history(run.run_id, "loss")) == 31, "the curve did not grow while the run went on"
        monkeypatch.setattr(runs, "FLUSH_SECONDS", 3600)
        run.log_epoch({"loss": 0.5}, 31)
    history = sorted(client.get_metric_history(run.run_id, "loss"), key=lambda point: point.step)
    assert [point.step for point in history] == list(range(32))
    assert [history[0].value, history[9].value, history[31].value] == [1.0, 0.1, 0.5]
    assert math.isnan(sorted(client.get_metric_history(run.run_id, "val_loss"), key=lambda p: p.step)[3].value)


def test_more_parameters_than_mlflow_takes_at_once(store):
    client, experiment_id = store
    run = create_run(client, experiment_id, "many", params={f"p{i}": i for i in range(250)})
    run.log_metrics({f"m{i}": i for i in range(1100)})
    run.end()
    data = client.get_run(run.run_id).data
    assert (len(data.params), len(data.metrics)) == (250, 1100)


def test_a_study_is_found_again_after_a_restart(root, store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-abc", params={"epochs": 5}, tags={"trials": 8}) as first:
        pass
    with pytest.raises(RuntimeError), study_run(client, experiment_id, "genre-abc"):
        raise RuntimeError("the machine went down")
    assert status(client, first.run_id) == "FAILED"
    again_client = type(client)(tracking_uri=client.tracking_uri)
    with study_run(
        again_client, experiment_id, "genre-abc", params={"epochs": 9, "seed": 1}, tags={"trials": 16}
    ) as again:
        assert again.run_id == first.run_id
        assert status(client, first.run_id) == "RUNNING"
    data = client.get_run(first.run_id).data
    assert status(client, first.run_id) == "FINISHED"
    assert (data.params, data.tags["trials"]) == ({"epochs": "5", "seed": "1"}, "16")
    with study_run(client, experiment_id, "genre-abd") as other:
        assert other.run_id != first.run_id


def test_trials_are_children_with_curves_and_an_end(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-trials") as study:
        trials = StudyTrials(study, tags={"git_revision": "c0ffee"})
        ids = []
        # two under way at a time, as with several threads
        for number, (ends, accuracies) in enumerate([("FINISHED", [0.5, 0.8, 0.7]), ("KILLED", [0.9]), ("FAILED", [])]):
            ids.append(trials.start(number, {"architecture": "efficient", "learning_rate": 1e-3}))
            if number == 1:
                trials.end(ids[0], "FINISHED", {"trial": "finished"})
            for epoch, accuracy in enumerate(accuracies):
                trials.epoch(ids[number], epoch, {"val_track_accuracy": accuracy, "loss": 1.0})
            if number:
                trials.end(ids[number], ends, {"trial": ends.lower()})
    finished, pruned, failed = (client.get_run(run_id) for run_id in ids)
    assert [run.info.status for run in (finished, pruned, failed)] == ["FINISHED", "KILLED", "FAILED"]
    assert [run.info.run_name for run in (finished, pruned, failed)] == ["trial 0", "trial 1", "trial 2"]
    for run in (finished, pruned, failed):
        assert run.data.tags["mlflow.parentRunId"] == study.run_id
        assert run.data.tags["git_revision"] == "c0ffee"
        assert run.data.params == {"architecture": "efficient", "learning_rate": "0.001"}
    assert finished.data.metrics == {"val_track_accuracy": 0.7, "best_val_track_accuracy": 0.8, "loss": 1.0}
    assert len(client.get_metric_history(ids[0], "val_track_accuracy")) == 3
    assert pruned.data.tags["trial"] == "killed"
    # a pruned trial is no result of the study
    assert client.get_run(study.run_id).data.metrics == {"best_val_track_accuracy": 0.8}


def test_the_best_of_a_study_survives_a_restart(store):
    client, experiment_id = store

    def try_one(number, accuracy):
        with study_run(client, experiment_id, "genre-best") as study:
            trials = StudyTrials(study)
            run_id = trials.start(number, {})
            trials.epoch(run_id, 0, {"val_track_accuracy": accuracy})
            trials.end(run_id, "FINISHED", {})
        return client.get_run(study.run_id).data.metrics["best_val_track_accuracy"]

    assert [try_one(n, accuracy) for n, accuracy in enumerate([0.6, 0.4, 0.7])] == [0.6, 0.6, 0.7]


def test_trials_of_a_killed_process_do_not_run_for_ever(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-lost") as study:
        before = StudyTrials(study)
        lost, alive = before.start(0, {}), before.start(1, {})
        assert fail_lost_trials(study, alive={1}) == 1
        assert (status(client, lost), status(client, alive)) == ("FAILED", "RUNNING")
        before.end(alive, "FINISHED", {})
        assert fail_lost_trials(study, alive=set()) == 0


def test_lineage_knows_the_revision_and_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert lineage_tags(tmp_path, data_hash="ab") == {"data_hash": "ab"}

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "params.yaml").write_text("a: 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    tags = lineage_tags(tmp_path, split_hash="cd")
    assert (tags["git_revision"], tags["git_dirty"], tags["split_hash"]) == (git("rev-parse", "HEAD"), "false", "cd")
    (tmp_path / "params.yaml").write_text("a: 2\n")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-bass")
    tags = lineage_tags(tmp_path)
    assert (tags["git_dirty"], tags["dvc_experiment"]) == ("true", "bold-bass")
