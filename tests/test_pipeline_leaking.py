"""A run with split.method = segment, in real DVC: it completes, and all of its metrics are marked as leaking."""

import csv
import json

import pytest
import soundfile

from genreflow.manifest.track import PARTS
from pipeline import RATE, Project, quick_project, tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose only run has a leaking split."""
    project = quick_project(tmp_path_factory.mktemp("leaking"))
    project.set(split={"method": "segment"})
    project.printed = project.repro()
    return project


def load(project: Project, name: str):
    return json.loads((project.folder / name).read_text())


def rows(project: Project, name: str) -> list[dict]:
    with open(project.folder / name, newline="") as file:
        return list(csv.DictReader(file))


def lines(project: Project, start: str) -> list[str]:
    return [line for line in project.printed.splitlines() if line.startswith(start)]


def test_the_split_report_measures_the_leakage(project):
    split, report = load(project, "data/split.json"), load(project, "reports/split.json")
    assert split["leaking"] is report["leaking"] is True
    assert split["train"] == split["valid"] == split["test"]
    assert report["leaks"]["test in train"]["same_share"] == 1
    segments = {part: sum(row["segments"] for row in report["parts"][part].values()) for part in PARTS}
    assert sum(segments.values()) == 30 * 4  # of 2.5 s: three every half second, and the aligned last one
    assert lines(project, "leaking segment: 30 train, 30 valid, 30 test tracks")
    assert lines(project, "test in train")[0].split()[-1] == "100.0%"


def test_every_line_table_and_report_is_marked(project):
    assert lines(project, "leaking test: ")
    assert not lines(project, "test: ")
    # The search for label errors has artist-disjoint folds of its own, whatever the split is.
    measured = [line for line in project.printed.splitlines() if "accuracy" in line and "out-of-fold" not in line]
    assert len(measured) > 4
    assert all("leaking" in line for line in measured)
    assert list(load(project, "metrics.json")) == ["leaking_test"]
    evaluation = load(project, "reports/evaluation.json")
    assert (evaluation["part"], evaluation["leaking"]) == ("leaking_test", True)
    assert [row["baseline"].split()[0] for row in evaluation["baselines"]] == ["majority", "SVM", "linear"]
    assert set(load(project, "reports/baselines.json").popitem()[1]) == {
        row["track"] for row in load(project, "reports/predictions.json")
    }
    assert load(project, "reports/best_trial.json")["leaking"] is True
    assert load(project, "reports/best_trial.json")["study"].startswith("leaking-")
    for name in ("reports/trials.csv", "reports/learning_curves.csv"):
        assert {row["leaking"] for row in rows(project, name)} == {"true"}
    assert all(cell.startswith("leaking ") for row in rows(project, "reports/confusion.csv") for cell in row.values())
    assert all(row["leaking"] == "true" for row in load(project, "reports/predictions.json"))
    assert "leaking_test.track.accuracy" in project.run("dvc", "metrics", "show").stdout
    project.run("dvc", "plots", "show", "--out", "plots-page")
    page = (project.folder / "plots-page" / "index.html").read_text()
    for title in ("learning curves", "loss", "confusion matrix"):
        assert f"{title}, split.method = segment" in page


def test_every_run_in_mlflow_is_marked(project):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{project.folder / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "genreflow"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4  # the study, two trials, the refit
    assert all(run.data.tags["leaking"] == "true" for run in runs)
    assert all("leaking" in run.info.run_name for run in runs)


def test_the_model_is_registered_but_not_promoted(project):
    gate = load(project, "reports/gate.json")
    assert (gate["promote"], gate["rule"], gate["version"]) == (False, "leaking", "1")
    assert load(project, "models/champion.json") == {"version": None}
    assert load(project, "reports/package.json")["bento"] is None
    assert "Data and pipelines are up to date." in project.repro()
    (version,) = json.loads(project.run("genreflow", "registry", "list", "--json").stdout)
    assert version["leaking"] is True
    assert version["metrics"]
    assert all(name.startswith("leaking_test_") for name in version["metrics"])
    assert "LEAKING" in project.run("genreflow", "registry", "list").stdout
    project.commit("leaking")


def test_only_a_group_disjoint_split_makes_a_champion(project, tmp_path):
    """Runs after the tests above, which need the leaking run."""
    project.set(split={"method": "group"})
    printed = project.repro()
    assert "leaking" not in printed.replace("split.method", "")
    champion = load(project, "models/champion.json")
    assert champion["version"] == "2"
    assert list(load(project, "metrics.json")) == ["test"]
    audio = tmp_path / "low.wav"
    soundfile.write(audio, tone(112, seed=3), RATE)
    unmarked = project.run("genreflow", "classify", str(audio), "--json").stdout
    assert "leak" not in unmarked

    project.set(split={"method": "segment", "seed": 7})
    project.repro()
    assert load(project, "reports/gate.json")["rule"] == "leaking"
    assert load(project, "models/champion.json") == champion

    # A leaking model can be promoted by hand; its predictions are marked.
    refused = project.run("genreflow", "registry", "promote", "3", ok=False).stdout
    assert "--reason" in refused
    project.run("genreflow", "registry", "promote", "3", "--reason", "to hear what it does")
    project.repro()
    marked = project.run("genreflow", "classify", str(audio), "--json").stdout
    assert '"leaking": true' in marked
    assert "leaking split" in marked
