"""All folds of a k-fold split as queued DVC experiments, and their pooled accuracy."""

import json

import pytest

from pipeline import quick_project

pytestmark = pytest.mark.slow


def test_folds_are_queued_run_and_pooled(tmp_path):
    project = quick_project(tmp_path)
    project.set(split={"method": "kfold", "folds": 3}, tune={"trials": 1})
    project.commit("three folds")
    assert "split.method=kfold" in project.run("genreflow", "folds", ok=False).stdout
    project.run("dvc", "exp", "run", "--queue", "-S", "split.fold=0,1,2", "evaluate")
    project.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    found = json.loads(project.run("genreflow", "folds", "--json").stdout)
    assert found["tracks"] == 30
    names = [fold["experiment"] for fold in found["folds"]]
    assert len(set(names)) == 3
    assert found["accuracy"] > 0.5
    printed = project.run("genreflow", "folds", *reversed(names)).stdout
    assert printed.splitlines()[0].startswith("fold 0")
    assert printed.splitlines()[-1].startswith("all ")
    refused = project.run("genreflow", "folds", names[0], names[1], ok=False).stdout
    assert "missing 2" in refused
    assert not (project.folder / "models" / "champion.json").exists()


def test_the_whole_pipeline_runs_as_an_experiment_in_a_temporary_folder(tmp_path):
    project = quick_project(tmp_path)
    project.commit("start")
    printed = project.run("dvc", "exp", "run", "--temp", "-S", "split.seed=2").stdout
    assert "in the bento genre-classifier:" in printed
    assert json.loads(project.run("genreflow", "registry", "list", "--json").stdout)[0]["version"] == "1"
