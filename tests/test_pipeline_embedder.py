"""The pipeline with a pretrained network, by real DVC: from music to a champion, which the service describes."""

import json
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from embedder_toy import write_network
from genreflow.bundle import Bundle
from genreflow.embedding.checkpoint import DISTRIBUTION
from genreflow.embedding.embedder import Embedder
from genreflow.features.store import FeatureStore
from pipeline import Project, quick_project

try:
    distribution(DISTRIBUTION)
    INSTALLED = True
except PackageNotFoundError:
    INSTALLED = False

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = quick_project(tmp_path_factory.mktemp("embedder"))
    network = write_network(project.folder.parent / "toy.onnx")
    project.set(
        tune={"architectures": ["embedder"], "trials": 3, "learning_rate": [0.01, 0.1], "epochs": 10},
        train={"epochs": 20},
        embedding={"file": str(network), "licence": "CC BY 4.0"},
    )
    project.repro()
    return project


def test_an_own_embedder_becomes_part_of_the_champion(project):
    bundle = Bundle.load(project.folder / "models/champion")
    assert (bundle.architecture, bundle.segment_frames, bundle.segment_hop) == ("embedder", 187, 188)
    assert (bundle.embedder["name"], bundle.embedder["licence"]) == ("toy", "CC BY 4.0")
    metrics = json.loads((project.folder / "metrics.json").read_text())
    assert metrics["test"]["track"]["accuracy"] > 0.6
    trials = json.loads((project.folder / "reports/trials.json").read_text())["trials"]
    assert {trial["architecture"] for trial in trials} == {"embedder"}
    assert not {"train.gain", "segments.seconds"} & set().union(*(trial["params"] for trial in trials))


def test_nothing_runs_again_without_a_change(project):
    assert "up to date" in project.repro()


def test_a_music_file_is_classified_with_the_embedder(project):
    (track, *_) = sorted((project.folder.parent / "music/treble").glob("*/*.wav"))
    found = json.loads(project.run("genreflow", "classify", str(track), "--json").stdout)
    assert found["genre"] in ("bass", "middle", "treble")


def test_without_fitting_features_a_default_study_goes_on_without_musicnn(tmp_path):
    project = quick_project(tmp_path)
    project.set(features={"n_mels": 64}, tune={"architectures": None})
    output = project.repro("tune")
    assert "features.n_mels must be 96 for an embedder; got 64. The study will go on without musicnn." in output
    trials = json.loads((project.folder / "reports/trials.json").read_text())["trials"]
    assert {trial["architecture"] for trial in trials} == {"efficient"}
    project.set(tune={"architectures": ["musicnn"]})
    assert "features.n_mels must be 96 for an embedder; got 64." in project.repro("tune", ok=False)


@pytest.mark.skipif(not INSTALLED, reason="the pretrained weights are not installed: make weights")
def test_music_is_classified_with_musicnn(tmp_path):
    project = quick_project(tmp_path)
    project.set(tune={"architectures": ["musicnn"], "trials": 3})
    project.repro("evaluate")
    bundle = Bundle.load(project.folder / "models/candidate")
    assert (bundle.embedder["name"], bundle.embedder["licence"]) == ("MSD_musicnn", "ISC")
    assert "Universitat Pompeu Fabra" in bundle.embedder["copyright"]
    assert json.loads((project.folder / "metrics.json").read_text())["test"]["track"]["accuracy"] > 0.6
    embedder = project.folder / "data/embeddings/embedder.onnx"
    before = embedder.read_bytes()
    project.run("dvc", "repro", "--force", "--single-item", "embed")
    assert embedder.read_bytes() == before
    assert "Stage 'tune' didn't change" in project.repro("tune")
    project.set(features={"top_db": 90.0})  # the conversion in front of the network depends on it
    project.repro("embed")
    assert Embedder(embedder).feature_key == FeatureStore.open(project.folder / "data/features").spec.key
    assert embedder.read_bytes() != before
    project.set(embedding={"weights": "MTT_musicnn"})
    project.repro("evaluate")
    bundle = Bundle.load(project.folder / "models/candidate")
    assert (bundle.embedder["name"], bundle.embedder["licence"]) == ("MTT_musicnn", "ISC")
    assert json.loads((project.folder / "metrics.json").read_text())["test"]["track"]["accuracy"] > 0.6
    [track] = sorted((tmp_path / "music").rglob("track 0.wav"))[:1]
    [line] = project.run(
        "genreflow", "classify", str(track), "--bundle", "models/candidate", "--json"
    ).stdout.splitlines()
    assert json.loads(line)["genre"] in (None, "bass")
