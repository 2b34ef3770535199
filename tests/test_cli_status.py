"""`genreflow status` in projects that are not complete; `test_pipeline` has it after a run."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from conftest import ROOT
from genreflow.bundle import stamp
from genreflow.cli import cli
from genreflow.errors import ParameterError
from genreflow.files import write_json
from genreflow.registry.pointer import Champion, Pointer, write_pointer
from genreflow.registry.track_accuracy import read_track_accuracy
from genreflow.stages import CHAMPION, EVALUATION_PAGE, GATE, POINTER, TRIALS
from serving_toy import write_toy_bundle

METRICS = {
    "test_track_accuracy": 0.625,
    "test_track_accuracy_low": 0.5,
    "test_track_accuracy_high": 0.75,
    "test_track_n": 40.0,
    "test_baseline_svm_accuracy": 0.7,
    "test_baseline_svm_accuracy_low": 0.6,
    "test_baseline_svm_accuracy_high": 0.8,
    "test_baseline_majority_class_accuracy": 0.1,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params.yaml, which is the current one; DVC does not know it."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_champion(project, metrics, **bundle) -> None:
    write_toy_bundle(project / "plain", **bundle)
    champion = stamp(project / "plain", CHAMPION, version="3", metrics=metrics)
    write_pointer(
        Pointer(name=champion.name, champion=Champion(version="3", bundle_hash=champion.hash, reason="better")), POINTER
    )


def status(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["status", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def section(printed: str, title: str) -> str:
    (found,) = [part for part in printed.split("\n\n") if part.strip().startswith(title)]
    return " ".join(found.split())


def test_a_project_without_results_says_what_to_run(project):
    printed = status()
    for title in ("Data", "Study", "Champion", "Reports", "Next"):
        assert "dvc repro" in section(printed, title)
    assert "unknown" in section(printed, "Stale")
    found = json.loads(status("--json"))
    assert (found["data"], found["study"], found["champion"], found["stale"]) == (None, None, None, None)
    assert found["source"] == "demo"


def test_a_folder_that_is_no_project_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"params\.yaml"):
        CliRunner().invoke(cli, ["status"], catch_exceptions=False)


def test_the_champion_is_shown_beside_the_baselines(project):
    write_champion(project, METRICS, lineage={"source": "demo"})
    shown = section(status(), "Champion")
    assert "version 3: toy, 3 genres accuracy on 40 test tracks" in shown
    assert "62.5% 50.0% to 75.0% this model 10.0% majority class 70.0% 60.0% to 80.0% SVM on" in shown
    assert "does not beat: SVM on summary statistics" in shown
    assert "3 composed styles of the demo only" in shown


def test_a_model_that_was_not_promoted_is_named(project):
    gate = {"version": "4", "promote": False, "rule": "compared", "reason": "It is worse."}
    write_json(GATE, gate)
    write_pointer(None, POINTER)
    assert section(status(), "Champion") == "Champion none The last model is version 4. It is worse."
    write_champion(project, METRICS)
    assert section(status(), "Champion").endswith("The last model is version 4. It is worse.")
    write_json(GATE, gate | {"version": "3"})
    assert "The last model" not in status()


def test_leaking_figures_are_marked(project):
    write_champion(project, {f"leaking_{name}": value for name, value in METRICS.items()}, leaking=True)
    assert "accuracy on 40 tracks of a leaking test part" in section(status(), "Champion")


def test_the_last_study_and_the_reports_that_exist_are_listed(project):
    trial = {"number": 1, "architecture": "efficient", "values": {"track_accuracy": 0.85}}
    trials = [trial | {"state": "finished"}, trial | {"number": 0, "state": "pruned"}]
    write_json(TRIALS, {"study": "genre-01", "leaking": False, "chosen": 1, "trials": trials})
    EVALUATION_PAGE.write_text("")
    printed = status()
    assert "genre-01: 2 trials (1 finished, 1 pruned)" in section(printed, "Study")
    assert "trial 1 was trained: efficient, 85.0%" in section(printed, "Study")
    assert section(printed, "Reports").startswith(f"Reports {EVALUATION_PAGE} the model")
    assert "audit.html" not in printed


@pytest.mark.slow
def test_stages_that_are_out_of_date_are_listed_with_what_has_changed(project):
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  one: {cmd: touch a, deps: [params.yaml], outs: [a]}\n"
        "  two: {cmd: touch b, deps: [a], params: [split.seed, tune], outs: [b]}\n"
    )
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["dvc", "init", "--quiet"], check=True)
    subprocess.run(["dvc", "repro", "--quiet"], check=True)
    assert section(status(), "Stale") == "Stale nothing"
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("  seed: 1 ", "  seed: 2 "))
    shown = section(status(), "Stale")
    assert "one: params.yaml two: params.yaml (split.seed, tune) dvc repro runs these" in shown


def test_metrics_of_earlier_versions_and_other_models_are_read():
    assert read_track_accuracy({"accuracy": 0.5}) is None
    measured = read_track_accuracy({"valid_track_accuracy": 0.5, "valid_track_macro_f1": None})
    assert (measured.headline, measured.comparison) == ("50.0% of validation tracks", "")
