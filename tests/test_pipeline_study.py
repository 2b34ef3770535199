"""A study in a real project: killed and resumed, as an experiment of DVC, and by three workers on real servers."""

import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from functools import cache

import optuna
import pytest

from genreflow.files import read_json
from genreflow.tracking.store import open_client
from genreflow.training.found import counts
from genreflow.training.storage import began_as, open_storage
from mlflow_server import Server
from pipeline import Project, quick_project
from postgresql_server import create_database, postgresql

pytestmark = pytest.mark.slow
# A trial of some seconds, so that there is time to kill one.
STUDY = {"trials": 4, "epochs": 8, "architectures": ["efficient", "parallel_cnn"], "startup_trials": 99}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = quick_project(tmp_path_factory.mktemp("study"))
    project.set(tune=STUDY)
    project.repro("split")
    project.commit("split")
    return project


@cache
def storage_of(url: str):
    # Opened once: every one of them holds connections, of which PostgreSQL has a hundred.
    return open_storage(url)


def study_of(project: Project, url: str | None = None) -> optuna.Study:
    """The only study, or the latest."""
    storage = storage_of(url or f"sqlite:///{project.folder / 'optuna.db'}")
    latest = max(optuna.get_all_study_summaries(storage), key=lambda summary: summary._study_id)
    return optuna.load_study(study_name=latest.study_name, storage=storage)


def runs(client, name: str, **tags: str) -> list:
    experiment = client.get_experiment_by_name("genreflow").experiment_id
    parents = client.search_runs([experiment], f"tags.`genreflow.study` = '{name}'")
    assert len(parents) == 1, "a study is one run, however often it is started"
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
    return [parents[0], *(run for run in children if run.data.tags.items() >= tags.items())]


def wait_for_a_trial(number: int, study, process: subprocess.Popen) -> None:
    """Until a trial has begun."""
    end = time.monotonic() + 240
    while True:
        try:
            if any(trial.number >= number and trial.state.name == "RUNNING" for trial in study().get_trials()):
                return
        except (ValueError, KeyError, sqlite3.Error, optuna.exceptions.StorageInternalError):
            pass  # the study is not there yet
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_was_killed_in_a_trial_goes_on_with_dvc_repro(project):
    process = subprocess.Popen(
        ["dvc", "repro", "tune"],
        cwd=project.folder,
        env=project.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_a_trial(1, lambda: study_of(project), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = study_of(project)
    kept = {t.number: (t.values, t.datetime_complete) for t in before.get_trials() if t.state.is_finished()}
    cut_off = next(trial for trial in before.get_trials() if trial.state.name == "RUNNING")
    said = project.repro("tune")
    assert f"going on after {len(kept)} trials" in said
    assert f"takes up trial {cut_off.number}, which was cut off" in said

    study = study_of(project)
    trials = study.get_trials()
    assert study.study_name == before.study_name
    assert all((trials[number].values, trials[number].datetime_complete) == was for number, was in kept.items())
    again = next(trial for trial in trials if began_as(trial) == cut_off.number)
    assert again.params.items() >= cut_off.params.items()  # it may have been killed while it drew them
    assert counts(study)["finished"] == STUDY["trials"]
    assert counts(study)["interrupted"] == 1

    client = open_client(project.folder)
    parent, *children = runs(client, study.study_name)
    assert parent.info.status == "FINISHED"
    status = {int(run.data.tags["genreflow.trial"]): run.info.status for run in children}
    expected = {t.number: "FAILED" if t.number == cut_off.number else "FINISHED" for t in trials}
    assert status == expected
    retried = [run for run in children if "retry_of" in run.data.tags]
    assert [run.data.tags["retry_of"] for run in retried] == [str(cut_off.number)]
    for run in children:
        if run.info.status == "FAILED":
            assert run.data.tags["trial"] == "interrupted"
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "study")} >= {
        "study/study.html",
        "study/history.png",
    }


def test_a_trial_says_what_it_was_made_with(project):
    """Dataset, lineage, parameters, curves and the machine: what a person looks for."""
    client = open_client(project.folder)
    study = study_of(project)
    best = read_json(project.folder / "reports" / "best_trial.json")
    _, run = runs(client, study.study_name, **{"genreflow.trial": str(best["number"])})
    assert run.data.tags["manifest_hash"] == study.user_attrs["manifest_hash"]
    assert run.data.tags["git_revision"] == project.git("rev-parse", "HEAD").strip()
    assert run.data.params.keys() >= {"architecture", "learning_rate", "batch_size", "segment_seconds"}
    assert len(client.get_metric_history(run.info.run_id, "val_track_accuracy")) >= 1
    assert run.data.metrics["parameters"] == best["costs"]["parameters"]
    assert any(name.startswith("system/") for name in run.data.metrics)
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest.startswith(study.user_attrs["manifest_hash"])


def test_an_experiment_of_dvc_in_a_temporary_folder_writes_to_the_projects_stores(project):
    before = study_of(project).study_name
    project.run("dvc", "exp", "run", "--temp", "-S", "tune.trials=2", "-S", "train.gain=0.02", "tune")
    study = study_of(project)
    assert study.study_name != before
    assert counts(study)["finished"] == 2
    parent, *children = runs(open_client(project.folder), study.study_name)
    assert parent.info.status == "FINISHED"
    assert len(children) == 2


def test_three_workers_on_postgresql_and_an_mlflow_server_one_of_them_killed(project, tmp_path):
    with postgresql() as server:
        storage = create_database(server, "optuna")
        store = create_database(server, "mlflow").replace("postgresql:", "postgresql+psycopg:")
        with Server(tmp_path, store) as mlflow_server:
            environment = project.environment | {
                "GENREFLOW_STORAGE": storage,
                "MLFLOW_TRACKING_URI": mlflow_server.uri,
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
            }
            project.set(tune={"trials": 6, "epochs": 12})
            logs = [(tmp_path / f"worker-{k}.log").open("w+") for k in range(3)]
            workers = [
                subprocess.Popen(
                    ["genreflow", "tune", "--worker"], cwd=project.folder, env=environment, stdout=log, stderr=log
                )
                for log in logs
            ]
            try:
                study = lambda: study_of(project, storage)  # noqa: E731
                wait_for_a_trial(1, study, workers[0])
                busy = {t.user_attrs["process"]["pid"]: t.number for t in study().get_trials() if _running(t)}
                victim = next(worker for worker in workers if worker.pid in busy)
                victim.kill()
                for worker in workers:
                    worker.wait(600)
                said = "\n".join(log.seek(0) or log.read() for log in logs)
                assert sorted(worker.returncode for worker in workers) == [-9, 0, 0], said
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()
                for log in logs:
                    log.close()

            done = study()
            trials = done.get_trials()
            assert counts(done) == {"finished": 6, "pruned": 0, "infeasible": 0, "failed": 0, "interrupted": 1}
            assert [began_as(t) for t in trials if began_as(t) is not None] == [busy[victim.pid]]
            assert len({t.user_attrs["process"]["pid"] for t in trials if t.state.name == "COMPLETE"}) == 2

            # DVC's own worker finds nothing left to try, and says what was found.
            done = subprocess.run(
                ["dvc", "repro", "tune"],
                cwd=project.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "6 finished, 1 interrupted" in done.stdout
            client = _client(mlflow_server.uri)
            parent, *children = runs(client, study().study_name)
            ended = Counter((run.data.tags["genreflow.trial"], run.info.status) for run in children)
            assert set(ended.values()) == {1}
            assert Counter(status for _, status in ended) == {"FINISHED": 6, "FAILED": 1}
            assert parent.info.status == "FINISHED"


def _running(trial) -> bool:
    return trial.state.name == "RUNNING" and "process" in trial.user_attrs


def _client(address: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address)
