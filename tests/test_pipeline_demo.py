"""What `make run` does after a checkout: the default parameters on the demo data, end to end."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from pipeline import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("demo") / "project")
    project.repro()
    return project


def load(project: Project, name: str):
    return json.loads((project.folder / name).read_text())


def test_the_demo_has_enough_genres_and_artists(project):
    tracks = load(project, "data/manifest.json")["tracks"]
    by_genre = {}
    for track in tracks:
        by_genre.setdefault(track["genre"], []).append(track)
    assert len(by_genre) == 10
    for genre, genre_tracks in by_genre.items():
        assert len(genre_tracks) >= 12, genre
        assert len({track["group"] for track in genre_tracks}) >= 4, genre


def test_the_study_searches_over_architectures_and_prunes(project):
    with open(project.folder / "reports" / "trials.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) >= 8
    assert len({trial["architecture"] for trial in trials}) >= 2
    assert {trial["state"] for trial in trials} == {"finished", "pruned"}


def test_the_champion_is_accurate_on_unseen_artists_but_the_demo_is_not_trivial(project):
    track = load(project, "metrics.json")["test"]["track"]
    assert 0.60 <= track["accuracy"] <= 0.95
    assert track["accuracy_low"] < track["accuracy"] < track["accuracy_high"]
    assert load(project, "models/champion.json")["version"] == "1"


def test_a_model_trained_on_shuffled_labels_is_at_chance_level(project):
    """The same data, split, features and training, but each artist has a random genre.

    If a track or an artist were in both training and test, a model that memorised them would be above chance level.
    """
    from genreflow.features.store import FeatureStore
    from genreflow.manifest.manifest import Manifest
    from genreflow.models.keras_import import import_keras
    from genreflow.params import load_params
    from genreflow.splits.split import Split

    import_keras()
    from genreflow.training.configuration import fit_configuration
    from genreflow.training.data import load_segment_set, load_training_data
    from genreflow.training.fit import evaluate

    params = load_params(project.folder / "params.yaml")
    manifest = Manifest.load(project.folder / "data" / "manifest.json")
    split = Split.load(project.folder / "data" / "split.json")
    store = FeatureStore.open(project.folder / "data" / "features")
    best = load(project, "reports/best_trial.json")
    options = params.train.model_copy(update={"epochs": 12, "learning_rate": best["learning_rate"]})
    groups = sorted({track.group: track.genre for track in manifest.tracks}.items())
    permuted = np.random.default_rng(7).permutation([genre for _, genre in groups])
    genre_of = {group: str(genre) for (group, _), genre in zip(groups, permuted, strict=True)}
    tracks = tuple(dataclasses.replace(track, genre=genre_of[track.group]) for track in manifest.tracks)
    shuffled = dataclasses.replace(manifest, tracks=tracks)

    def test_accuracy(manifest: Manifest) -> float:
        data = load_training_data(store, manifest, split, params.segments)
        model, _ = fit_configuration(data, best["architecture"], best["hyperparameters"], options)
        test = load_segment_set(store, manifest, split, "test", length=data.length, hop=data.hop)
        return evaluate(model, test)["track_accuracy"]

    n = len(split.test)
    # Predictions for the tracks of an artist are correlated, so that the bound counts artists: about n / 3.
    assert test_accuracy(shuffled) <= 0.1 + 4 * (0.1 * 0.9 / (n / 3)) ** 0.5
    assert test_accuracy(manifest) >= 0.55
