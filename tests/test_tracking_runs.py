"""Runs in a real MLflow store: how they end, their learning curves, studies and trials, and lineage."""

import json
import math
import signal
import subprocess
import sys
import threading
import time

import pytest

from genreflow.tracking.datasets import TrainingDataset
from genreflow.tracking.lineage import lineage_tags
from genreflow.tracking.runs import LoggedRun, start_run
from genreflow.tracking.saved_view import ACCURACY_VIEW
from genreflow.tracking.store import ensure_experiment, open_client, project_root, tracking_uri
from genreflow.tracking.study import study_run
from genreflow.tracking.summary import describe_best_trial, log_reports
from genreflow.tracking.trials import StudyTrials, find_trial
from genreflow.tracking.writer import MlflowWriter
from waiting import wait_for


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
    experiment = client.get_experiment(experiment_id)
    assert experiment.artifact_location == (root / "mlruns").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert ensure_experiment(client, root).experiment_id == experiment_id
    assert not mlflow.is_tracking_uri_set()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_may_name_another_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert tracking_uri(tmp_path) == "http://tracking.example:5000"


def test_a_temporary_copy_of_dvc_stands_for_the_project_it_was_copied_from(tmp_path):
    for copy in ("tmpab12cd", "standalone/tmpab12cd/nested"):
        folder = tmp_path / ".dvc" / "tmp" / "exps" / copy
        folder.mkdir(parents=True)
        assert project_root(folder) == tmp_path
    assert project_root(tmp_path) == tmp_path


def test_a_run_has_the_status_with_which_its_block_ended(store):
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


def test_learning_curves_are_complete(store):
    client, experiment_id = store
    with start_run(client, experiment_id, "curves") as run:
        for epoch in range(30):
            run.log_metrics({"loss": 1 / (epoch + 1), "val_loss": math.nan if epoch == 3 else 1.0}, epoch)
    history = sorted(client.get_metric_history(run.run_id, "loss"), key=lambda point: point.step)
    assert [point.step for point in history] == list(range(30))
    assert [history[0].value, history[9].value, history[29].value] == [1.0, 0.1, 1 / 30]
    assert math.isnan(sorted(client.get_metric_history(run.run_id, "val_loss"), key=lambda p: p.step)[3].value)


def test_a_study_has_the_same_run_after_a_restart(root, store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-abc", params={"epochs": 5}, tags={"trials": 8}) as first:
        pass
    with pytest.raises(RuntimeError), study_run(client, experiment_id, "genre-abc"):
        raise RuntimeError("out of memory")
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


def test_a_study_ends_with_its_last_trial(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-duration", name="study demo, 2026-11-25 14:02") as study:
        trials = StudyTrials(study)
        trials.start(0, {})
        trials.end(0, "FINISHED")
        trials.stop()
        time.sleep(0.05)
    (trial,) = find_trial(study, 0)
    ended = client.get_run(study.run_id).info
    assert (ended.run_name, ended.status, ended.end_time) == (
        "study demo, 2026-11-25 14:02",
        "FINISHED",
        trial.info.end_time,
    )
    with study_run(client, experiment_id, "genre-duration", name="another day") as again:
        pass  # a worker that finds the study complete
    resumed = client.get_run(again.run_id).info
    assert (resumed.run_name, resumed.end_time) == (ended.run_name, ended.end_time)


def test_only_the_lead_worker_changes_the_status_of_a_study(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-workers", tags={"by": "worker"}, lead=False) as first:
        assert status(client, first.run_id) == "RUNNING"
    assert status(client, first.run_id) == "RUNNING", "a worker ended a study that continues elsewhere"
    with study_run(client, experiment_id, "genre-workers", tags={"by": "lead"}) as lead:
        other = study_run(client, experiment_id, "genre-workers", tags={"by": "worker"}, lead=False)
        with pytest.raises(ValueError, match="out of memory"), other:
            raise ValueError("out of memory")
        assert status(client, lead.run_id) == "RUNNING"
    with study_run(client, experiment_id, "genre-workers", lead=False) as late:
        pass
    assert first.run_id == lead.run_id == late.run_id
    assert status(client, late.run_id) == "FINISHED"
    assert client.get_run(late.run_id).data.tags["by"] == "lead"


def test_workers_that_start_at_the_same_time_have_one_run(store):
    client, experiment_id = store
    barrier, found, lock = threading.Barrier(3), [], threading.Lock()

    def work():
        own = type(client)(tracking_uri=client.tracking_uri)
        barrier.wait()
        options = {"params": {"epochs": 5}, "lead": False, "lock": lambda: lock}
        with study_run(own, experiment_id, "genre-at-once", **options) as run:
            found.append(run.run_id)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    runs_of_it = client.search_runs([experiment_id], "tags.`genreflow.study` = 'genre-at-once'")
    assert [run.info.run_id for run in runs_of_it] == [found[0]]


def test_trials_are_child_runs_with_learning_curves_and_a_status(store):
    client, experiment_id = store
    started = int(time.time() * 1000)
    with study_run(client, experiment_id, "genre-trials") as study:
        trials = StudyTrials(study, tags={"git_revision": "c0ffee"})
        # Two are active at the same time.
        for number, (status, accuracies) in enumerate(
            [("FINISHED", [0.5, 0.8, 0.7]), ("KILLED", [0.9]), ("FAILED", [])]
        ):
            trials.start(number, {"architecture": "efficient", "learning_rate": 1e-3}, {"worker": "w"})
            if number == 1:
                trials.end(0, "FINISHED", tags={"trial": "finished"}, metrics={"parameters": 1234})
            for epoch, accuracy in enumerate(accuracies):
                trials.log_epoch(number, epoch, {"val_track_accuracy": accuracy, "loss": 1.0})
            if number:
                trials.end(number, status, tags={"trial": status.lower()})
        trials.stop()
    assert study.writer.close() == 0
    found = finished, pruned, _ = [client.get_run(trials.run_id(number)) for number in range(3)]
    assert [run.info.status for run in found] == ["FINISHED", "KILLED", "FAILED"]
    assert [run.info.run_name for run in found] == [f"trial {number}, efficient" for number in range(3)]
    for number, run in enumerate(found):
        assert run.data.tags["mlflow.parentRunId"] == study.run_id
        assert run.data.tags["genreflow.trial"] == str(number)
        assert (run.data.tags["git_revision"], run.data.tags["worker"]) == ("c0ffee", "w")
        assert run.data.params == {"architecture": "efficient", "learning_rate": "0.001"}
        assert started <= run.info.start_time <= run.info.end_time
    metrics = {name: value for name, value in finished.data.metrics.items() if not name.startswith("system/")}
    assert metrics == {"val_track_accuracy": 0.7, "best_val_track_accuracy": 0.8, "loss": 1.0, "parameters": 1234}
    assert len(client.get_metric_history(trials.run_id(0), "val_track_accuracy")) == 3
    assert pruned.data.tags["trial"] == "killed"
    # A pruned trial is not the best one.
    assert client.get_run(study.run_id).data.metrics == {"best_val_track_accuracy": 0.8}


def test_a_trial_has_system_metrics_and_its_dataset(store):
    client, experiment_id = store
    tags = {"git_revision": "c0ffee", "manifest_hash": "4f1c"}
    profile = {"train": 8, "valid": 2, "genres": ["bass", "drone"]}
    dataset = TrainingDataset(name="demo", digest="4f1c", source="demo", profile=profile)
    with study_run(client, experiment_id, "genre-data") as study:
        trials = StudyTrials(study, tags=tags, dataset=dataset, sample_interval=0.05)
        for number in range(2):
            trials.start(number, {})
        wait_for(lambda: trials.run_id(1) and len(_memory(client, trials.run_id(1))) > 2)
        for number in range(2):
            trials.end(number, "FINISHED")
        trials.stop()
    for run_id in (study.run_id, trials.run_id(0), trials.run_id(1)):
        ((logged, context),) = [(one.dataset, one.tags[0]) for one in client.get_run(run_id).inputs.dataset_inputs]
        assert (logged.name, logged.digest) == ("demo", "4f1c")
        assert (context.key, context.value) == ("mlflow.data.context", "training")
        restore = {"restore": "git checkout c0ffee && dvc checkout"}
        assert json.loads(logged.profile) == {"train": 8, "valid": 2, "genres": "bass, drone", **restore}
        assert json.loads(logged.source) == {"uri": "demo", **restore}
    load = client.get_run(trials.run_id(0)).data.metrics
    assert load["system/process_memory_usage_megabytes"] > 10
    assert 0 <= load["system/cpu_utilization_percentage"] <= 100
    assert 0 < load["system/system_memory_usage_percentage"] <= 100
    points = sorted(_memory(client, trials.run_id(0)), key=lambda point: point.step)
    assert [point.step for point in points] == list(range(len(points)))


def _memory(client, run_id):
    return client.get_metric_history(run_id, "system/process_memory_usage_megabytes")


def test_the_best_accuracy_of_a_study_is_that_of_all_runs_and_workers(store):
    client, experiment_id = store

    def start(number, study):
        worker = LoggedRun(MlflowWriter(client), experiment_id, study.run_id, label="study")
        trials = StudyTrials(worker)
        trials.start(number, {})
        return worker, trials

    def end(worker, trials, number, accuracy):
        trials.log_epoch(number, 0, {"val_track_accuracy": accuracy})
        trials.end(number, "FINISHED")
        trials.stop()
        assert worker.writer.close() == 0
        return client.get_run(worker.run_id).data.metrics["best_val_track_accuracy"]

    with study_run(client, experiment_id, "genre-best") as study:
        assert end(*start(0, study), 0, 0.6) == 0.6
    with study_run(client, experiment_id, "genre-best") as study:
        slow, fast = start(1, study), start(2, study)
        assert end(*fast, 2, 0.4) == 0.6
        assert end(*start(3, study), 3, 0.7) == 0.7
        # It started before the others, and is the best one.
        assert end(*slow, 1, 0.8) == 0.8


def test_runs_of_trials_whose_worker_died_are_ended(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-orphaned") as study:
        killed, resumed = StudyTrials(study), StudyTrials(study)
        for number in range(3):
            killed.start(number, {})
        resumed.start(3, {})
        killed.start(5, {})
        killed.end(5, "FINISHED", tags={"trial": "finished"})
        for _ in range(2):
            # Trials 1 and 2 had ended before the worker was killed, which could not write that. MLflow does not know
            # the last one.
            resumed.end_orphaned({0: "interrupted", 1: "finished", 2: "pruned", 4: "interrupted", 5: "interrupted"})
        resumed.end(3, "FINISHED")
        killed.stop()
        resumed.stop()
    orphaned = [client.get_run(killed.run_id(number)) for number in range(3)]
    assert [run.info.status for run in orphaned] == ["FAILED", "FINISHED", "KILLED"]
    assert [run.data.tags["trial"] for run in orphaned] == ["interrupted", "finished", "pruned"]
    assert all(run.data.tags["error"] for run in orphaned)
    (unknown,) = find_trial(study, 4)
    assert (unknown.info.status, unknown.info.run_name) == ("FAILED", "trial 4")
    (before_its_result,) = find_trial(study, 5)
    assert (before_its_result.info.status, before_its_result.data.tags["trial"]) == ("FAILED", "interrupted")
    ended = client.get_run(resumed.run_id(3))
    assert (ended.info.status, "error" in ended.data.tags) == ("FINISHED", False)


def test_a_trial_whose_run_was_created_twice_has_one(store):
    """The response to the first attempt was lost."""
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-twice") as study:
        twice = {"mlflow.parentRunId": study.run_id, "genreflow.trial": "0"}
        client.create_run(experiment_id, tags=twice, run_name="trial 0")
        trials = StudyTrials(study)
        trials.start(0, {"a": 1})
        trials.end(0, "FINISHED")
        trials.stop()
    (only,) = find_trial(study, 0)
    assert (only.info.run_id, only.info.status, only.data.params) == (trials.run_id(0), "FINISHED", {"a": "1"})


def test_the_descriptions_of_study_and_experiment_link_to_the_best_trial_and_its_data(store, tmp_path):
    client, experiment_id = store
    (tmp_path / "study.html").write_text("<p>history</p>")
    facts = {"architecture": "efficient", "val_track_accuracy": 0.83721, "parameters": 123456, "pruned": 3}
    lineage = {"manifest_hash": "4f1c0ffee1234567", "git_revision": "c0ffee" * 6, "git_dirty": "true"}
    with study_run(client, experiment_id, "genre-described") as study:
        trials = StudyTrials(study)
        trials.start(7, {})
        trials.end(7, "FINISHED")
        trials.stop()
        # The run of a trial on another machine is not known here.
        describe_best_trial(study, number=7, run_id=None, facts=facts, lineage=lineage)

    def description(run_id=study.run_id):
        return client.get_run(run_id).data.tags["mlflow.note.content"]

    first, data, *_ = description().splitlines()[::2]
    page = f"#/experiments/{experiment_id}/runs/{trials.run_id(7)}"
    assert first.startswith(f"Best: [trial 7]({page}?")
    assert "architecture efficient, val track accuracy 0.8372" in first
    assert f"({page}/model-metrics?" in first
    assert "data `4f1c0ffee1234567`, git `c0ffeec0ffee`" in first
    assert "`git checkout c0ffeec0ffee && dvc checkout` (" in data
    assert client.get_run(study.run_id).data.tags["best_trial"] == "7"
    assert "| parameters | 123,456 |" in description()
    experiment = client.get_experiment(experiment_id).tags["mlflow.note.content"]
    assert experiment.startswith("Latest study: best is [trial 7]")
    assert f"(#/experiments/{experiment_id}/runs/{study.run_id}?" in experiment

    def describe(**changes):
        with study_run(client, experiment_id, "genre-described") as again:
            describe_best_trial(again, **{"facts": {}, "lineage": {}, "run_id": "ab", **changes})
        return client.get_experiment(experiment_id).tags["mlflow.note.content"]

    assert "[trial 8]" in describe(number=8, lineage={"dvc_experiment": "bold-bass"})
    assert "`dvc exp apply bold-bass`" in description()
    client.set_experiment_tag(experiment_id, "mlflow.note.content", "Written by someone else")
    assert describe(number=7) == "Written by someone else"


def test_a_folder_is_added_to_a_run_that_has_ended(store, tmp_path):
    client, experiment_id = store
    (tmp_path / "study.html").write_text("<p>history</p>")
    with start_run(client, experiment_id, "ended") as run:
        pass
    assert log_reports(client, run.run_id, [tmp_path], artifact_path="study")
    assert [file.path for file in client.list_artifacts(run.run_id, "study")] == ["study/study.html"]
    assert not log_reports(client, "no-such-run", [tmp_path], artifact_path="study")


def test_an_existing_experiment_is_marked_as_model_training(store, tmp_path):
    client = store[0]
    old = client.create_experiment("existing")
    ensure_experiment(client, tmp_path, name="existing")
    assert client.get_experiment(old).tags == {"mlflow.experimentKind": "custom_model_development"}


def test_a_saved_view_that_someone_changed_is_kept(store, tmp_path):
    client, experiment_id = store
    (key,) = ACCURACY_VIEW
    client.set_experiment_tag(experiment_id, key, "changed")
    assert ensure_experiment(client, tmp_path).tags[key] == "changed"


def test_lineage_has_the_git_revision_and_whether_files_differ_from_it(tmp_path, monkeypatch):
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


KILLED = """
import os, signal, sys
from genreflow.tracking.runs import start_run
from genreflow.tracking.saved_view import ACCURACY_VIEW
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.tracking.study import study_run
from genreflow.tracking.trials import StudyTrials
root = sys.argv[1]
client = open_client(root)
experiment_id = ensure_experiment(client, root).experiment_id
with start_run(client, experiment_id, "refit killed") as run:
    with study_run(client, experiment_id, "genre-killed") as study:
        trials = StudyTrials(study)
        trials.start(0, {})
        while trials.run_id(0) is None:
            pass
        study.writer.close()
        print(run.run_id, study.run_id, trials.run_id(0), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_runs_of_killed_processes_are_ended_by_the_next_run(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_id, study_id, trial_id = done.stdout.split()
    client = open_client(tmp_path)
    experiment_id = ensure_experiment(client, tmp_path).experiment_id
    elsewhere = client.create_run(experiment_id, tags={"genreflow.process": "another-host 1 1.0"}).info.run_id
    unknown = client.create_run(experiment_id).info.run_id
    with study_run(client, experiment_id, "genre-killed"):
        assert [status(client, one) for one in (run_id, study_id, trial_id)] == ["FAILED", "RUNNING", "RUNNING"]
        with start_run(client, experiment_id, "live") as live:
            with start_run(client, experiment_id, "next"):
                pass
            assert status(client, live.run_id) == "RUNNING"
    assert client.get_run(run_id).data.tags["error"]
    assert [status(client, one) for one in (study_id, trial_id)] == ["FINISHED", "FAILED"]
    assert [status(client, one) for one in (elsewhere, unknown)] == ["RUNNING", "RUNNING"]
