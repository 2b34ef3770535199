"""Runs in a real MLflow store: found again, ended rightly, with their curves and where they came from."""

import json
import math
import subprocess
import threading
import time

import pytest

from genreflow.tracking import runs, system
from genreflow.tracking.lineage import Lineage
from genreflow.tracking.runs import create_run, find_trial, lineage_tags, start_run
from genreflow.tracking.store import connect, ensure_experiment, open_client, project_root
from genreflow.tracking.study import study_run
from genreflow.tracking.summary import log_folder, show_best
from genreflow.tracking.trials import StudyTrials


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


def test_a_worker_beside_the_lead_leaves_the_run_as_it_is(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-workers", tags={"by": "worker"}, lead=False) as first:
        assert status(client, first.run_id) == "RUNNING"
    assert status(client, first.run_id) == "RUNNING", "a worker ended a study that goes on elsewhere"
    with study_run(client, experiment_id, "genre-workers", tags={"by": "lead"}) as lead:
        beside = study_run(client, experiment_id, "genre-workers", tags={"by": "worker"}, lead=False)
        with pytest.raises(ValueError, match="out of memory"), beside:
            raise ValueError("out of memory")
        assert status(client, lead.run_id) == "RUNNING"
    with study_run(client, experiment_id, "genre-workers", lead=False) as late:
        pass
    assert first.run_id == lead.run_id == late.run_id
    assert status(client, late.run_id) == "FINISHED"
    assert client.get_run(late.run_id).data.tags["by"] == "lead"


def test_workers_that_begin_at_once_have_one_run(store):
    client, experiment_id = store
    together, found, lock = threading.Barrier(3), [], threading.Lock()

    def work():
        own = type(client)(tracking_uri=client.tracking_uri)
        together.wait()
        described = {"params": {"epochs": 5}, "lead": False}
        with study_run(own, experiment_id, "genre-at-once", **described, turn=lambda: lock) as run:
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


def test_trials_are_children_with_curves_and_an_end(store):
    client, experiment_id = store
    began = int(time.time() * 1000)
    with study_run(client, experiment_id, "genre-trials") as study:
        trials = StudyTrials(study, tags={"git_revision": "c0ffee"})
        # two under way at a time, as with several threads
        for number, (ends, accuracies) in enumerate([("FINISHED", [0.5, 0.8, 0.7]), ("KILLED", [0.9]), ("FAILED", [])]):
            trials.start(number, {"architecture": "efficient", "learning_rate": 1e-3}, {"worker": "w"})
            if number == 1:
                trials.end(0, "FINISHED", tags={"trial": "finished"}, metrics={"parameters": 1234})
            for epoch, accuracy in enumerate(accuracies):
                trials.epoch(number, epoch, {"val_track_accuracy": accuracy, "loss": 1.0})
            if number:
                trials.end(number, ends, tags={"trial": ends.lower()})
        assert trials.close() == 0
    found = finished, pruned, _ = [client.get_run(trials.run_id(number)) for number in range(3)]
    assert [run.info.status for run in found] == ["FINISHED", "KILLED", "FAILED"]
    assert [run.info.run_name for run in found] == ["trial 0", "trial 1", "trial 2"]
    for number, run in enumerate(found):
        assert run.data.tags["mlflow.parentRunId"] == study.run_id
        assert run.data.tags["genreflow.trial"] == str(number)
        assert (run.data.tags["git_revision"], run.data.tags["worker"]) == ("c0ffee", "w")
        assert run.data.params == {"architecture": "efficient", "learning_rate": "0.001"}
        assert began <= run.info.start_time <= run.info.end_time
    metrics = {name: value for name, value in finished.data.metrics.items() if not name.startswith("system/")}
    assert metrics == {"val_track_accuracy": 0.7, "best_val_track_accuracy": 0.8, "loss": 1.0, "parameters": 1234}
    assert len(client.get_metric_history(trials.run_id(0), "val_track_accuracy")) == 3
    assert pruned.data.tags["trial"] == "killed"
    # a pruned trial is no result of the study
    assert client.get_run(study.run_id).data.metrics == {"best_val_track_accuracy": 0.8}


def test_a_trial_tells_its_load_and_its_data(store, monkeypatch):
    client, experiment_id = store
    monkeypatch.setattr(system, "SAMPLE_SECONDS", 0.05)
    tags = {"git_revision": "c0ffee", "manifest_hash": "4f1c"}
    facts = {"train": 8, "valid": 2, "genres": ["bass", "drone"]}
    with study_run(client, experiment_id, "genre-data") as study:
        trials = StudyTrials(study, tags=tags, dataset=Lineage(name="demo", digest="4f1c", source="demo", facts=facts))
        for number in range(2):
            trials.start(number, {})
        while not (trials.run_id(1) and len(_load(client, trials.run_id(1))) > 2):
            time.sleep(0.05)
        for number in range(2):
            trials.end(number, "FINISHED")
        trials.close()
    for run_id in (study.run_id, trials.run_id(0), trials.run_id(1)):
        ((dataset, context),) = [(one.dataset, one.tags[0]) for one in client.get_run(run_id).inputs.dataset_inputs]
        assert (dataset.name, dataset.digest) == ("demo", "4f1c")
        assert (context.key, context.value) == ("mlflow.data.context", "training")
        again = {"again": "git checkout c0ffee && dvc checkout"}
        assert json.loads(dataset.profile) == {"train": 8, "valid": 2, "genres": "bass, drone", **again}
        assert json.loads(dataset.source) == {"uri": "demo", **again}
    load = client.get_run(trials.run_id(0)).data.metrics
    assert load["system/process_memory_usage_megabytes"] > 10
    assert 0 <= load["system/cpu_utilization_percentage"] <= 100
    assert 0 < load["system/system_memory_usage_percentage"] <= 100
    points = sorted(_load(client, trials.run_id(0)), key=lambda point: point.step)
    assert [point.step for point in points] == list(range(len(points)))


def _load(client, run_id):
    return client.get_metric_history(run_id, "system/process_memory_usage_megabytes")


def test_the_best_of_a_study_survives_a_restart_and_other_workers(store):
    client, experiment_id = store

    def begin(number, study):
        trials = StudyTrials(study)
        trials.start(number, {})
        return trials

    def end(trials, number, accuracy):
        trials.epoch(number, 0, {"val_track_accuracy": accuracy})
        trials.end(number, "FINISHED")
        trials.close()
        return client.get_run(trials.study.run_id).data.metrics["best_val_track_accuracy"]

    with study_run(client, experiment_id, "genre-best") as study:
        assert end(begin(0, study), 0, 0.6) == 0.6
    with study_run(client, experiment_id, "genre-best") as study:
        slow, fast = begin(1, study), begin(2, study)
        assert end(fast, 2, 0.4) == 0.6
        assert end(begin(3, study), 3, 0.7) == 0.7
        # it began before the others, and is the best nevertheless
        assert end(slow, 1, 0.8) == 0.8


def test_trials_of_a_killed_process_do_not_run_for_ever(store):
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-lost") as study:
        killed, now = StudyTrials(study), StudyTrials(study)
        for number in range(3):
            killed.start(number, {})
        killed.close()
        now.start(3, {})
        for _ in range(2):
            # The second was over, and the third pruned, before the process was killed; it could not write that.
            # MLflow has not heard of the last one.
            now.settle({0: "interrupted", 1: "finished", 2: "pruned", 4: "interrupted"})
        now.end(3, "FINISHED")
        now.close()
    left = [client.get_run(killed.run_id(number)) for number in range(3)]
    assert [run.info.status for run in left] == ["FAILED", "FINISHED", "KILLED"]
    assert [run.data.tags["trial"] for run in left] == ["interrupted", "finished", "pruned"]
    assert "before its last writes" in left[1].data.tags["error"]
    (unheard,) = find_trial(study, 4)
    assert (unheard.info.status, unheard.info.run_name) == ("FAILED", "trial 4")
    assert status(client, now.run_id(3)) == "FINISHED"


def test_a_trial_whose_run_was_made_twice_has_one(store):
    """The answer of the first try was lost on its way: both tries are the store's."""
    client, experiment_id = store
    with study_run(client, experiment_id, "genre-twice") as study:
        twice = {"mlflow.parentRunId": study.run_id, "genreflow.trial": "0"}
        client.create_run(experiment_id, tags=twice, run_name="trial 0")
        trials = StudyTrials(study)
        trials.start(0, {"a": 1})
        trials.end(0, "FINISHED")
        trials.close()
        (only,) = find_trial(study, 0)
    assert (only.info.run_id, only.info.status, only.data.params) == (trials.run_id(0), "FINISHED", {"a": "1"})


def test_a_study_says_which_trial_is_best_and_how_to_get_its_data(store, tmp_path):
    client, experiment_id = store
    (tmp_path / "history.html").write_text("<p>history</p>")
    facts = {"architecture": "efficient", "val_track_accuracy": 0.83721, "parameters": 123456, "pruned": 3}
    lineage = {"manifest_hash": "4f1c0ffee1234567", "git_revision": "c0ffee" * 6, "git_dirty": "true"}
    with study_run(client, experiment_id, "genre-shown") as study:
        trials = StudyTrials(study)
        trials.start(7, {})
        trials.end(7, "FINISHED")
        trials.close()
        log_folder(study, tmp_path)
        # of a worker on another machine the lead does not know the run
        show_best(study, best=7, best_run_id=None, facts=facts, lineage=lineage)
    first, data, *_ = client.get_run(study.run_id).data.tags["mlflow.note.content"].splitlines()[::2]
    page = f"#/experiments/{experiment_id}/runs/{trials.run_id(7)}"
    assert first.startswith(f"Best: [trial 7]({page}?")
    assert "architecture efficient, val track accuracy 0.8372" in first
    assert f"[its curves]({page}/model-metrics?" in first
    assert "data `4f1c0ffee1234567`, git `c0ffeec0ffee`" in first
    assert "`git checkout c0ffeec0ffee && dvc checkout` (files in git had changes" in data
    assert client.get_run(study.run_id).data.tags["best_trial"] == "7"
    assert "| parameters | 123,456 |" in client.get_run(study.run_id).data.tags["mlflow.note.content"]
    assert [file.path for file in client.list_artifacts(study.run_id, "study")] == ["study/history.html"]
    told = client.get_experiment(experiment_id).tags["mlflow.note.content"]
    assert told.startswith("Latest study: best is [trial 7]")
    assert f"[all of it](#/experiments/{experiment_id}/runs/{study.run_id}?" in told
    show_best(study, best=8, best_run_id="ab", facts={}, lineage={"dvc_experiment": "bold-bass"})
    assert "[trial 8]" in client.get_experiment(experiment_id).tags["mlflow.note.content"]
    assert "`dvc exp apply bold-bass`" in client.get_run(study.run_id).data.tags["mlflow.note.content"]
    client.set_experiment_tag(experiment_id, "mlflow.note.content", "Ours: do not touch")
    show_best(study, best=7, best_run_id="ab", facts={}, lineage={})
    assert client.get_experiment(experiment_id).tags["mlflow.note.content"] == "Ours: do not touch"


def test_an_experiment_of_before_is_marked_as_model_training(store, tmp_path):
    client = store[0]
    old = client.create_experiment("of-before")
    ensure_experiment(client, tmp_path, name="of-before")
    assert client.get_experiment(old).tags["mlflow.experimentKind"] == "custom_model_development"


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
