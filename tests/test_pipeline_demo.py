"""What `make run` does for a newcomer: the shipped parameters on the demo data, end to end."""

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


def test_the_demo_has_genres_and_artists_enough(project):
    tracks = load(project, "data/manifest.json")["tracks"]
    by_genre = {}
    for track in tracks:
        by_genre.setdefault(track["genre"], []).append(track)
    assert len(by_genre) == 10
    for genre, of_genre in by_genre.items():
        assert len(of_genre) >= 12, genre
        assert len({track["group"] for track in of_genre}) >= 4, genre


def test_the_study_tries_and_prunes_over_architectures(project):
    with open(project.folder / "reports" / "trials.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) >= 8
    assert len({trial["architecture"] for trial in trials}) >= 2
    assert {trial["state"] for trial in trials} == {"finished", "pruned"}


def test_the_champion_is_good_but_not_too_good_on_unseen_artists(project):
    track = load(project, "metrics.json")["test"]["track"]
    assert 0.60 <= track["accuracy"] <= 0.95
    assert track["accuracy_low"] < track["accuracy"] < track["accuracy_high"]
    assert load(project, "models/champion.json")["version"] == "1"


def test_shuffled_labels_give_chance(project):
    """The same data, split, features, fit and choice of epoch; only that each artist is given a genre by lot.

    Were a track or an artist on both sides of the split, a net that knows them by heart would do better than chance.
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
    drawn = np.random.default_rng(7).permutation([genre for _, genre in groups])
    genre_of = {group: str(genre) for (group, _), genre in zip(groups, drawn, strict=True)}
    tracks = tuple(dataclasses.replace(track, genre=genre_of[track.group]) for track in manifest.tracks)
    meaningless = dataclasses.replace(manifest, tracks=tracks)

    def test_accuracy(of: Manifest) -> float:
        data = load_training_data(store, of, split, params.segments)
        model, _ = fit_configuration(data, best["architecture"], best["hyperparameters"], options)
        test = load_segment_set(store, of, split, "test", length=data.length, hop=data.hop)
        return evaluate(model, test)["track_accuracy"]

    n = len(split.test)
    # Tracks of one artist stand or fall together: the bound leaves room for a few lucky artists.
    assert test_accuracy(meaningless) <= 0.1 + 4 * (0.1 * 0.9 / (n / 3)) ** 0.5
    assert test_accuracy(manifest) >= 0.55
