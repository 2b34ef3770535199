"""The pipeline with real DVC, MLflow and BentoML, on three genres of tones."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from genreflow.bundle import Bundle
from pipeline import RATE, quick_project, tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project after its first `dvc repro`."""
    project = quick_project(tmp_path_factory.mktemp("pipeline"))
    project.printed = project.repro()
    return project


def load(project, name):
    return json.loads((project.folder / name).read_text())


def test_the_champion_is_registered_packaged_and_better_than_chance(project):
    assert load(project, "reports/gate.json")["rule"] == "baseline"
    pointer = load(project, "models/champion.json")
    bundle = load(project, "models/champion/bundle.json")
    assert pointer["version"] == bundle["version"] == "1"
    assert set(bundle["labels"]) == {"bass", "middle", "treble"}
    assert bundle["metrics"]["test_track_accuracy"] == load(project, "metrics.json")["test"]["track"]["accuracy"]
    assert load(project, "metrics.json")["test"]["track"]["accuracy"] > 0.5
    assert load(project, "reports/package.json")["bento"] in project.run("bentoml", "list").stdout


def test_the_champion_has_a_reference_for_drift_of_the_validation_tracks(project):
    assert Bundle.load(project.folder / "models/candidate").drift_reference is None
    reference = Bundle.load(project.folder / "models/champion").drift_reference
    assert reference.part == "valid"
    assert len(reference.groups) == len(load(project, "data/split.json")["valid"])
    assert np.isfinite(reference.values).all()
    # It is of the audio, which has a level, and not of the features.
    assert (reference.values[:, reference.names.index("level")] < 0).all()


def test_the_test_tracks_and_their_artists_are_held_out(project):
    split, lineage = load(project, "data/split.json"), load(project, "models/champion/bundle.json")["lineage"]
    manifest = {track["id"]: track for track in load(project, "data/manifest.json")["tracks"]}
    trained = set(lineage["train_tracks"]) | set(lineage["valid_tracks"])
    assert {row["track"] for row in load(project, "reports/predictions.json")} == set(split["test"])
    assert not trained & {manifest[track]["hash"] for track in split["test"]}
    groups = [{manifest[track]["group"] for track in split[part]} for part in ("train", "valid", "test")]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_dvc_shows_metrics_and_plots(project):
    assert "test.track.accuracy" in project.run("dvc", "metrics", "show").stdout
    project.run("dvc", "plots", "show", "--out", "plots-page")
    page = (project.folder / "plots-page" / "index.html").read_text()
    for title in ("learning curves", "loss", "confusion matrix"):
        assert title in page
    shutil.rmtree(project.folder / "plots-page")


def test_every_trial_is_a_child_of_the_study_in_mlflow(project):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project.folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("genreflow").experiment_id])
    study = load(project, "reports/best_trial.json")["study"]
    (parent,) = [run for run in runs if run.data.tags.get("genreflow.study") == study]
    assert re.fullmatch(r"study folder, [\d-]{10} [\d:]{5}", parent.info.run_name)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    trials = [run for run in children if run.info.run_name.startswith("trial")]
    assert sorted(run.info.run_name for run in trials) == ["trial 0, parallel_cnn", "trial 1, parallel_cnn"]
    assert parent.info.end_time == max(run.info.end_time for run in trials)
    for trial in trials:
        assert trial.info.status in ("FINISHED", "KILLED")
        assert trial.data.params["architecture"] == "parallel_cnn"
        assert len(trial.data.tags["git_revision"]) == 40
        assert trial.data.tags["manifest_hash"] == load(project, "data/manifest.json")["hash"]
        assert client.get_metric_history(trial.info.run_id, "val_track_accuracy")
    (refit,) = [run for run in runs if run.data.tags.get("study") == study]
    assert re.fullmatch(r"refit parallel_cnn, folder, [\d-]{10} [\d:]{5}", refit.info.run_name)
    for run in (*trials, refit):
        (used,) = run.inputs.dataset_inputs
        assert used.dataset.digest.startswith(load(project, "data/manifest.json")["hash"])


def test_an_unchanged_project_is_up_to_date(project):
    assert "Data and pipelines are up to date." in project.repro()


def test_the_run_of_the_champion_has_figures_beside_baselines_report_and_card(project):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project.folder / 'mlflow.db'}")
    bundle = load(project, "models/champion/bundle.json")
    run = client.get_run(bundle["lineage"]["mlflow_run"])
    measured = load(project, "metrics.json")["test"]
    assert run.data.metrics["test_track_accuracy"] == measured["track"]["accuracy"]
    for name in ("majority_class", "svm", "linear_probe"):
        key = f"{name}_accuracy"
        assert run.data.metrics[f"test_baseline_{key}"] == measured["baseline"][key]
        assert measured["baseline"][f"{key}_low"] <= measured["baseline"][key] <= measured["baseline"][f"{key}_high"]
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"evaluation.html", "model_card.md", "confusion_matrix.csv"}
    card = (project.folder / "reports" / "model_card.md").read_text()
    assert run.data.tags["mlflow.note.content"] == card
    assert "| SVM on summary statistics |" in card
    assert "demo" not in card
    with open(project.folder / "reports" / "confusion_matrix.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["test: true, predicted"] for row in rows] == ["bass", "middle", "treble"]
    right = sum(int(row[row["test: true, predicted"]]) for row in rows)
    assert right / measured["track"]["n"] == pytest.approx(measured["track"]["accuracy"], abs=1e-4)
    (experiment,) = [e for e in client.search_experiments() if e.name == "genreflow"]
    assert experiment.tags["mlflow.note.content"].startswith("Champion: [version 1]")


def test_the_status_of_the_project(project):
    printed = project.run("genreflow", "status").stdout
    for words in ("30 tracks, 3 genres, 15 artists", "version 1: parallel_cnn", "2 trials", "make serve", "use demo"):
        assert words in printed
    assert re.search(r"Stale +nothing", printed)
    reports = re.findall(r"reports/\S+", printed)
    assert len(reports) == 4
    assert all((project.folder / path).exists() for path in reports)
    params = (project.folder / "params.yaml").read_text()
    try:
        project.set(split={"seed": 5})
        found = json.loads(project.run("genreflow", "status", "--json").stdout)
    finally:
        (project.folder / "params.yaml").write_text(params)
    assert found["stale"]["split"] == ["params.yaml (split)"]
    assert found["data"]["genres"] == {"bass": 10, "middle": 10, "treble": 10}
    assert found["champion"]["accuracy"]["model"]["value"] == load(project, "metrics.json")["test"]["track"]["accuracy"]
    assert len(found["champion"]["accuracy"]["baselines"]) == 3
    assert found["champion"]["notice"] is None


# Of each package, a stage that its code must rerun and one that it must not.
RERUNS = {
    "audio": ("drift-reference", "train"),
    "audit": ("audit", "ingest"),
    "bundle/bundle.py": ("train", "split"),
    "costs": ("tune", "train"),
    "datasets": ("ingest", "split"),
    "evaluation": ("evaluate", "split"),
    "export": ("train", "evaluate"),
    "features": ("featurize", "study-report"),
    "inference": ("drift-reference", "train"),
    "manifest": ("ingest", "study-report"),
    "models": ("tune", "evaluate"),
    "registry": ("register", "evaluate"),
    "reporting": ("study-report", "tune"),
    "serving": ("package", "tune"),
    "splits": ("split", "audit"),
    "training": ("tune", "evaluate"),
    "tuning": ("tune", "train"),
    "tracking": ("register", "tune"),
    "reproduction": (None, "tune"),
    "cli": (None, "tune"),
    "distributed.py": (None, "featurize"),
}


@pytest.mark.parametrize(("package", "expected"), RERUNS.items(), ids=RERUNS)
def test_a_change_of_code_reruns_the_stages_that_depend_on_it(project, package, expected, record_property):
    """A comment in one file of a package; what else depends on it is compared with the imports in test_stage_deps."""
    path = project.folder / "src" / "genreflow" / package
    path = path if path.is_file() else min(path.rglob("*.py"))
    text = path.read_text()
    try:
        path.write_text(f"{text}# a comment\n")
        changed = list(json.loads(project.run("dvc", "status", "--json").stdout))
    finally:
        path.write_text(text)
    record_property("stages", changed)
    print(f"{package:15} {', '.join(changed) or '-'}")
    reruns, remains = expected
    assert changed == [] if reruns is None else reruns in changed
    assert remains not in changed


def test_git_tracks_small_text_files_only(project):
    new = {line[3:] for line in project.git("status", "--porcelain", "--untracked-files=all").splitlines()}
    assert {"dvc.lock", "metrics.json", "models/champion.json", "reports/gate.json"} <= new
    assert not [name for name in new if name.endswith((".wav", ".onnx", ".npy", ".db"))]


def test_the_command_line_classifies_files(project, tmp_path):
    for name, frequency in (("low", 115.0), ("high", 1000.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(frequency, seed=9), RATE)
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    # One of the three is not audio: the others are classified, and the exit code is not 0.
    done = project.run("genreflow", "classify", str(tmp_path), "--output", str(tmp_path / "out.csv"), ok=False)
    assert "1 failed" in done.stdout
    with open(tmp_path / "out.csv", newline="") as file:
        rows = {row["file"].rsplit("/", 1)[-1]: row for row in csv.DictReader(file)}
    assert rows["low.wav"]["genre"] in ("bass", "")
    assert rows["high.wav"]["genre"] in ("treble", "")
    assert float(rows["low.wav"]["p_bass"]) > float(rows["low.wav"]["p_treble"])
    assert rows["broken.wav"]["error"] == "undecodable"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"split": {"valid": 3}}, ["split.valid", "3", "0.5"]),
        ({"tune": {"architectures": ["transformer"]}}, ["tune.architectures", "transformer", "efficient"]),
        ({"data": {"genres": ["bass", "jazz"]}}, ["jazz", "middle", "treble"]),
        ({"data": {"genres": ["bass"]}}, ["bass", "two"]),
        ({"data": {"source": "radio"}}, ["data.source", "radio", "folder"]),
    ],
)
def test_a_wrong_parameter_ends_the_run_with_one_sentence_and_changes_nothing(project, sections, words):
    params = (project.folder / "params.yaml").read_text()
    results = ("data/manifest.json", "data/split.json", "metrics.json", "models/champion.json")
    before = [load(project, name) for name in results]
    try:
        project.set(**sections)
        printed = project.repro(ok=False)
    finally:
        (project.folder / "params.yaml").write_text(params)
    said = [line for line in printed.splitlines() if line.startswith("genreflow: ")]
    assert len(said) == 1, printed
    for word in words:
        assert word in said[0]
    assert "Traceback" not in printed
    assert before == [load(project, name) for name in results]
