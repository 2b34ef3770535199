"""A study in a real project: killed and resumed, stopped by a signal, and as an experiment of DVC."""

import os
import signal
import subprocess
import sys

import optuna
import pytest

from genreflow.files import read_json
from genreflow.sqlite import sqlite_url
from genreflow.tracking.store import open_client
from genreflow.tuning.results import count_trials
from genreflow.tuning.storage import open_storage
from genreflow.tuning.trial_states import CURVE, attempts_by_position, retry_of
from pipeline import Project
from study_project import STUDY, running_trials, runs, start, stop_in_trial, study_of, study_project, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return study_project(tmp_path_factory.mktemp("study"))


def test_dvc_repro_resumes_a_killed_study(project):
    process = start(project, "dvc", "repro", "tune")

    def in_a_later_trial(study: optuna.Study) -> int | None:
        return next((pid for pid, number in running_trials(study).items() if number >= 1), None)

    _, number = stop_in_trial(lambda: study_of(project), in_a_later_trial, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = study_of(project)
    kept = {t.number: (t.values, t.datetime_complete) for t in before.get_trials() if t.state.is_finished()}
    interrupted = before.get_trials()[number]
    assert interrupted.state.name == "RUNNING"
    printed = project.repro("tune")
    assert f"resuming after {len(kept)} trials" in printed
    assert f"repeats trial {interrupted.number}, which was interrupted" in printed

    study = study_of(project)
    trials = study.get_trials()
    assert study.study_name == before.study_name
    assert all((trials[number].values, trials[number].datetime_complete) == was for number, was in kept.items())
    again = next(trial for trial in trials if retry_of(trial) == interrupted.number)
    assert again.params.items() >= interrupted.params.items()  # it may have been killed while it sampled them
    assert count_trials(study)["finished"] == STUDY["trials"]
    assert count_trials(study)["interrupted"] == 1

    client = open_client(project.folder)
    parent, *children = runs(client, study.study_name)
    assert parent.info.status == "FINISHED"
    status = {int(run.data.tags["genreflow.trial"]): run.info.status for run in children}
    expected = {t.number: "FAILED" if t.number == interrupted.number else "FINISHED" for t in trials}
    assert status == expected
    retried = [run for run in children if "retry_of" in run.data.tags]
    assert [run.data.tags["retry_of"] for run in retried] == [str(interrupted.number)]
    for run in children:
        if run.info.status == "FAILED":
            assert run.data.tags["trial"] == "interrupted"
    project.repro("study-report")
    assert "study/study.html" in {item.path for item in client.list_artifacts(parent.info.run_id, "study")}


def test_a_copy_of_optuna_db_alone_holds_the_study_of_a_worker(project, tmp_path):
    project.set(train={"gain": 0.09})
    project.run("genreflow", "tune", "--worker")
    # By another process: closing a file releases this process's locks on it, and SQLite would take its own connections,
    # which later tests read with, for closed ones.
    subprocess.run(["cp", str(project.folder / "optuna.db"), str(tmp_path)], check=True)
    copy = open_storage(sqlite_url(tmp_path / "optuna.db"))
    study = study_of(project)
    copied = optuna.load_study(study_name=study.study_name, storage=copy)
    assert count_trials(copied) == count_trials(study)
    assert count_trials(copied)["finished"] == STUDY["trials"]


def test_a_study_killed_again_and_again_runs_the_trials_of_one_that_was_not(tmp_path):
    """The same study twice, each in stores of its own, in a project of its own: DVC knows nothing of these runs."""
    project = study_project(tmp_path / "project")
    project.set(tune=STUDY | {"trials": 6, "epochs": 3, "startup_trials": 2, "warmup_epochs": 1}, train={"gain": 0.08})

    def tune(name: str):
        stores = {"GENREFLOW_STORAGE": sqlite_url(tmp_path / f"{name}.db")}
        stores["MLFLOW_TRACKING_URI"] = sqlite_url(tmp_path / f"{name} of mlflow.db")
        command = (sys.executable, "-m", "genreflow.stages", "tune")
        return start(project, *command, log=tmp_path / "log", environment=project.environment | stores)

    def study(name: str) -> optuna.Study:
        return study_of(project, sqlite_url(tmp_path / f"{name}.db"))

    def trials(name: str) -> list[tuple]:
        """Return configuration, result and learning curve at each position."""
        lasts = [attempts[-1] for attempts in attempts_by_position(study(name)).values()]
        return [(one.params, one.state.name, one.values, one.user_attrs[CURVE]) for one in lasts]

    assert tune("whole").wait(900) == 0, (tmp_path / "log").read_text()
    # In a trial, when so many others have ended; not after a time in which a fast machine runs all of them.
    for ended, pause in ((0, 0.0), (2, 0.5), (3, 0.2)):
        process = tune("killed")

        def begun(study: optuna.Study, pid: int = process.pid, ended: int = ended) -> int | None:
            counts = count_trials(study)
            # The trial of the process that was killed before may still be among those that are running.
            is_begun = counts["finished"] + counts["pruned"] >= ended and pid in running_trials(study)
            return pid if is_begun else None

        stop_in_trial(lambda: study("killed"), begun, process, pause=pause)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert tune("killed").wait(900) == 0, (tmp_path / "log").read_text()
    assert count_trials(study("killed"))["interrupted"] == 3
    assert len(trials("whole")) == 6
    assert trials("killed") == trials("whole")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_study_stopped_by_a_signal_marks_its_trial_at_once(project, signum, tmp_path):
    """The signal goes to the process of the stage, as from a batch system; DVC ends with it."""
    project.set(train={"gain": 0.06 if signum == signal.SIGINT else 0.07})
    process = start(project, "dvc", "repro", "tune", log=tmp_path / "log")
    # The studies before have no running trial.
    pid, number = stop_in_trial(
        lambda: study_of(project), lambda study: next(iter(running_trials(study)), None), process
    )
    os.kill(pid, signum)
    os.kill(pid, signal.SIGCONT)
    process.wait(300)
    study = study_of(project)
    assert count_trials(study)["interrupted"] == 1
    assert study.get_trials()[number].state.name == "FAIL"
    assert "waiting" not in project.repro("tune")
    study = study_of(project)
    assert count_trials(study)["finished"] == STUDY["trials"]
    assert [retry_of(trial) for trial in study.get_trials() if retry_of(trial) is not None] == [number]
    _, interrupted = runs(open_client(project.folder), study.study_name, **{"genreflow.trial": str(number)})
    assert (interrupted.info.status, interrupted.data.tags["trial"]) == ("FAILED", "interrupted")


def test_a_trial_has_dataset_lineage_parameters_curves_and_system_metrics(project):
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


def test_the_run_of_a_refit_that_is_terminated_ends_at_once(project, tmp_path):
    project.repro("tune")
    client = open_client(project.folder)
    experiment = client.get_experiment_by_name("genreflow").experiment_id

    def refits() -> list:
        return client.search_runs([experiment], "attributes.run_name like 'refit%'")

    project.set(train={"epochs": 500, "patience": 500})
    process = start(project, sys.executable, "-m", "genreflow.stages", "train", log=tmp_path / "log")
    wait_until(lambda: any("val_loss" in run.data.metrics for run in refits()), process)
    process.terminate()
    assert process.wait(300) == 130, (tmp_path / "log").read_text()
    assert [run.info.status for run in refits()] == ["KILLED"]


@pytest.mark.parametrize(("how", "gain"), [("--temp", "0.02"), ("--queue", "0.03")])
def test_an_experiment_of_dvc_writes_to_the_stores_of_the_project(project, how, gain):
    before = study_of(project).study_name
    project.run("dvc", "exp", "run", how, "-S", "tune.trials=2", "-S", f"train.gain={gain}", "tune")
    if how == "--queue":
        project.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    study = study_of(project)
    assert study.study_name != before
    assert count_trials(study)["finished"] == 2
    parent, *children = runs(open_client(project.folder), study.study_name)
    assert parent.info.status == "FINISHED"
    assert len(children) == 2
