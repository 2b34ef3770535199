"""A study in a real project: killed and resumed, and as an experiment of DVC."""

import os
import signal

import pytest

from genreflow.files import read_json
from genreflow.tracking.store import open_client
from genreflow.tuning.results import counts
from genreflow.tuning.storage import began_as
from pipeline import Project
from study_project import STUDY, busy, runs, start, study_of, study_project, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return study_project(tmp_path_factory.mktemp("study"))


def test_what_was_killed_in_a_trial_goes_on_with_dvc_repro(project):
    process = start(project, "dvc", "repro", "tune")
    wait_until(lambda: any(number >= 1 for number in busy(study_of(project)).values()), process)
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
    project.repro("study-report")
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "study")} == {
        "study/study.html",
        "study/pareto_front.csv",
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


@pytest.mark.parametrize(("how", "gain"), [("--temp", "0.02"), ("--queue", "0.03")])
def test_an_experiment_of_dvc_writes_to_the_projects_stores(project, how, gain):
    before = study_of(project).study_name
    project.run("dvc", "exp", "run", how, "-S", "tune.trials=2", "-S", f"train.gain={gain}", "tune")
    if how == "--queue":
        project.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    study = study_of(project)
    assert study.study_name != before
    assert counts(study)["finished"] == 2
    parent, *children = runs(open_client(project.folder), study.study_name)
    assert parent.info.status == "FINISHED"
    assert len(children) == 2
