"""A second fit with the same weights, in real DVC: no new version, and no further use of the test split."""

import json
import shutil

import pytest

from genreflow.bundle import Bundle
from pipeline import Project, quick_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = quick_project(tmp_path_factory.mktemp("refit"))
    project.repro()
    project.commit("the first fit")
    return project


def load(folder, name):
    return json.loads((folder / name).read_text())


def refit(project: Project, folder) -> tuple[Bundle, Bundle]:
    """Train again, run the pipeline, and return the candidates before and after."""
    before = Bundle.load(folder / "models" / "candidate")
    project.run("dvc", "repro", "--force", "--single-item", "train", cwd=folder)
    project.run("dvc", "repro", cwd=folder)
    after = Bundle.load(folder / "models" / "candidate")
    assert after.lineage["mlflow_run"] != before.lineage["mlflow_run"], "it was not trained again"
    return before, after


def versions(project: Project, folder) -> list[dict]:
    return json.loads(project.run("genreflow", "registry", "list", "--json", cwd=folder).stdout)


def check_unchanged(project: Project, folder, pointer: bytes) -> None:
    assert [version["version"] for version in versions(project, folder)] == ["1"]
    gate = load(folder, "reports/gate.json")
    assert (gate["rule"], gate["version"], gate["times_test_split_used"]) == ("unchanged", "1", 1)
    assert (folder / "models" / "champion.json").read_bytes() == pointer


def test_the_same_weights_are_the_same_version(project):
    """Another run and another git revision, as metadata of the second fit."""
    pointer = (project.folder / "models" / "champion.json").read_bytes()
    lineage = versions(project, project.folder)[0]["lineage"]
    before, after = refit(project, project.folder)
    assert after.lineage["git_revision"] != before.lineage["git_revision"]
    assert after.hash == before.hash
    check_unchanged(project, project.folder, pointer)
    assert versions(project, project.folder)[0]["lineage"] == lineage, (
        "the version documents the fit whose files it has"
    )
    assert load(project.folder, "models/champion/bundle.json")["lineage"]["mlflow_run"] == lineage["mlflow_run"]


def test_in_a_copy_of_the_project(project, tmp_path):
    pointer = (project.folder / "models" / "champion.json").read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(project.folder, copy, symlinks=True)
    project.run("genreflow", "registry", "relocate", cwd=copy)
    refit(project, copy)
    check_unchanged(project, copy, pointer)


def test_in_a_clone_with_the_same_registry(project, tmp_path, monkeypatch):
    project.commit("to be cloned")
    pointer = (project.folder / "models" / "champion.json").read_bytes()
    project.run("dvc", "remote", "add", "--default", "--local", "origin", str(tmp_path / "remote"))
    project.run("dvc", "push")
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", str(project.folder), str(clone))
    project.run("dvc", "remote", "add", "--default", "--local", "origin", str(tmp_path / "remote"), cwd=clone)
    project.run("dvc", "pull", cwd=clone)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.folder / 'mlflow.db'}")
    refit(project, clone)
    check_unchanged(project, clone, pointer)


def test_after_a_rollback_the_same_weights_stay_rolled_back(project):
    """A second version is promoted and rolled back; a second fit of it is that version, which stays rolled back."""
    project.set(bundle={"abstain_below": 0.2}, gate={"min_probability": 0.5})
    project.repro()
    assert load(project.folder, "models/champion.json")["version"] == "2"
    project.run("genreflow", "registry", "rollback")
    refit(project, project.folder)
    assert [version["version"] for version in versions(project, project.folder)] == ["2", "1"]
    gate = load(project.folder, "reports/gate.json")
    assert (gate["rule"], gate["version"], gate["times_test_split_used"]) == ("rolled_back", "2", 2)
    assert load(project.folder, "models/champion.json")["version"] == "1"
