"""Models and metrics of a leaking split are marked everywhere; those of other splits are not."""

import json

import pytest
from click.testing import CliRunner

from genreflow.bundle import Bundle, stamp
from genreflow.cli import cli
from genreflow.inference.predictor import Predictor
from genreflow.registry.comparison import ComparedTrack, Comparison, compare
from genreflow.registry.evidence import Evidence
from genreflow.registry.gate import decide
from genreflow.registry.model_registry import Registry
from genreflow.registry.pointer import read_pointer, write_pointer
from genreflow.registry.version_description import describe_version
from genreflow.serving.schema import describe_model
from genreflow.serving.settings import settings
from genreflow.tracking.store import ensure_experiment, open_client
from genreflow.tracking.study import study_run
from genreflow.tracking.trials import StudyTrials
from serving_toy import write_tone, write_toy_bundle

CORRECT = {f"track {number}": True for number in range(50)}
WRONG = dict.fromkeys(CORRECT, False)


@pytest.fixture(params=[True, False], ids=["leaking", "not leaking"])
def leaking(request) -> bool:
    return request.param


@pytest.fixture
def bundle(tmp_path, leaking) -> Bundle:
    return write_toy_bundle(tmp_path / "bundle", leaking=leaking)


def compared(champion: dict[str, bool]) -> Comparison:
    rows = [
        ComparedTrack(track=track, group=track, genre="a", first="a" if correct else "b", second="a")
        for track, correct in champion.items()
    ]
    return compare(rows, names=("champion", "candidate"), groups_known=True)


def make_evidence(champion: dict[str, bool] | None, **facts) -> Evidence:
    return Evidence(
        candidate_correct=CORRECT,
        majority_accuracy=0.1,
        registered_model="genre-classifier",
        champion="1" if champion else None,
        comparison=compared(champion) if champion else None,
        **facts,
    )


@pytest.mark.parametrize("champion", [None, WRONG])
def test_the_gate_never_promotes_a_leaking_candidate(champion):
    assert decide(make_evidence(champion)).promote
    report = decide(make_evidence(champion, leaking=True))
    assert (report.promote, report.rule) == (False, "leaking")
    assert "split.method = group" in report.reason


def test_a_leaking_champion_that_was_promoted_by_hand_remains_champion():
    report = decide(make_evidence(CORRECT, leaking=True, same_bundle=True))
    assert (report.promote, report.rule) == (False, "unchanged")


def test_a_pointer_without_a_champion_is_replaced_with_the_first_champion(tmp_path):
    path = tmp_path / "champion.json"
    write_pointer(None, path)
    assert read_pointer(path) is None
    registry = Registry.open(tmp_path)
    version = registry.register(write_toy_bundle(tmp_path / "bundle").directory, metrics={})
    registry.promote(version, path)
    assert read_pointer(path).champion.version == version
    assert read_pointer(path).previous == ()


def test_a_stamped_copy_and_the_description_of_a_version_are_marked(tmp_path, bundle, leaking):
    copy = stamp(bundle.directory, tmp_path / "copy", version="4", metrics={"leaking_test_track_accuracy": 0.9})
    assert copy.leaking is bundle.leaking is leaking
    assert describe_version(copy, copy.metrics).startswith("LEAKING") is leaking
    assert "90.0% of tracks of a leaking test part" in describe_version(copy, copy.metrics)


def test_predictions_and_the_model_endpoint_are_marked(tmp_path, bundle, leaking, monkeypatch):
    from genreflow.serving.service import GenreClassifier

    audio = write_tone(tmp_path / "bass.wav", "bass")
    predictor = Predictor(bundle.directory)
    prediction = predictor.classify(audio).to_dict(predictor.model)
    assert prediction["model"].get("leaking", False) is leaking
    assert ("leaking" in prediction["model"]) is leaking

    monkeypatch.setenv("GENREFLOW_BUNDLE", str(bundle.directory))
    settings.cache_clear()
    card = json.loads(GenreClassifier.inner().model().body)
    settings.cache_clear()
    assert card.get("leaking", False) is leaking
    assert ("leaking" in card) is leaking
    assert card["architecture"] == "toy"


@pytest.mark.parametrize("source", ["demo", "folder"])
def test_the_model_endpoint_says_that_a_model_knows_the_demo_only(tmp_path, source):
    bundle = write_toy_bundle(tmp_path / "bundle", lineage={"source": source})
    notice = describe_model(Predictor(bundle.directory)).get("notice")
    assert notice == bundle.notice
    assert "embedder" not in describe_model(Predictor(bundle.directory))
    assert (notice is not None and "3 composed styles of the demo only" in notice) is (source == "demo")


def test_the_command_line_warns(tmp_path, bundle, leaking):
    audio = write_tone(tmp_path / "bass.wav", "bass")
    for extra in ([], ["--output", str(tmp_path / "out.csv")]):
        done = CliRunner().invoke(cli, ["classify", str(audio), "--bundle", str(bundle.directory), *extra])
        assert done.exit_code == 0, done.output
        assert ("leaking" in done.stderr) is leaking
    done = CliRunner().invoke(cli, ["classify", str(audio), "--bundle", str(bundle.directory), "--json"])
    assert ('"leaking": true' in done.stdout) is leaking


def test_the_list_of_versions_is_marked(tmp_path, bundle, leaking, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "leaking_test_track_accuracy" if leaking else "test_track_accuracy"
    registry = Registry.open(tmp_path)
    registry.register(bundle.directory, metrics={name: 0.75})
    (logged,) = registry.client.search_logged_models([ensure_experiment(registry.client, tmp_path).experiment_id])
    assert ("leaking" in logged.tags) is leaking
    done = CliRunner().invoke(cli, ["registry", "list"])
    assert "75.0%" in done.stdout
    assert ("LEAKING" in done.stdout) is leaking
    (version,) = json.loads(CliRunner().invoke(cli, ["registry", "list", "--json"]).stdout)
    assert version["leaking"] is leaking


def test_trials_are_marked(tmp_path):
    client = open_client(tmp_path)
    with study_run(client, ensure_experiment(client, tmp_path).experiment_id, "leaking-genre-abc") as study:
        trials = StudyTrials(study, tags={"leaking": "true"}, name="leaking trial")
        trials.start(3, {})
        trials.stop()
    run = client.get_run(trials.run_id(3))
    assert (run.info.run_name, run.data.tags["leaking"]) == ("leaking trial 3", "true")
