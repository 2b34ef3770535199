"""The registry in a real MLflow store: registering, downloading, promoting and rolling back bundles."""

import itertools
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from genreflow.bundle import Bundle, BundleError, write_bundle
from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.evidence import Evidence
from genreflow.registry.gate import decide
from genreflow.registry.model_registry import NAME, Registry
from genreflow.registry.pointer import read_pointer, write_pointer
from genreflow.tracking.runs import start_run
from genreflow.tracking.store import ensure_experiment
from serving_toy import write_tone, write_toy_bundle

TEMPERATURES = itertools.count(1.0, 0.01)
GATE = {
    "candidate_correct": {"track": True},
    "majority_accuracy": 0.5,
    "registered_model": NAME,
    "champion": None,
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        return Registry.open(tmp_path_factory.mktemp("project"))


@pytest.fixture
def bundles(tmp_path):
    """Three bundles that no other test registers."""
    for name in "abc":
        write_toy_bundle(tmp_path / name, temperature=next(TEMPERATURES))
    return [tmp_path / name for name in "abc"]


def aliases(registry):
    return {alias: version.version for version in registry.versions() for alias in version.aliases}


def test_a_bundle_is_registered_once(registry, bundles):
    a, b, _ = bundles
    first = registry.register(a, metrics={"track_accuracy": 0.5})
    second = registry.register(b, metrics={"track_accuracy": 0.6})
    assert int(second) == int(first) + 1
    assert registry.register(a, metrics={"track_accuracy": 0.7, "log_loss": float("nan")}) == first
    assert aliases(registry)["candidate"] == first
    newest, older = registry.versions()[:2]
    assert (newest.version, older.version) == (second, first)
    assert older.metrics == {"track_accuracy": 0.7}
    assert older.lineage == Bundle.load(a).lineage
    assert older.bundle_hash == Bundle.load(a).hash
    assert "toy, 3 genres" in registry.client.get_model_version(NAME, first).description


def test_a_downloaded_bundle_is_the_registered_one(registry, bundles, tmp_path):
    version = registry.register(bundles[0], metrics={"track_accuracy": 0.5})
    target = tmp_path / "models" / "champion"
    fetched = registry.fetch(version, target)
    original = Bundle.load(bundles[0])
    assert (fetched.hash, fetched.version, fetched.metrics) == (original.hash, version, {"track_accuracy": 0.5})
    assert (target / "model.onnx").read_bytes() == original.onnx_path.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["champion"]
    # The version that `fetch` adds does not change a bundle's identity.
    assert registry.register(target, metrics={}) == version


def test_a_downloaded_bundle_has_the_name_of_its_registered_model(registry, bundles, tmp_path):
    other = Registry(registry.client, registry.root, "music 1.5")
    bundle = other.fetch(other.register(bundles[0], metrics={}), tmp_path / "fetched")
    assert (bundle.name, bundle.hash) == ("music 1.5", Bundle.load(bundles[0]).hash)


def test_another_fit_with_the_same_weights_is_the_same_version(registry, tmp_path):
    temperature = next(TEMPERATURES)
    for name, run in (("first", "1f"), ("second", "2f")):
        lineage = {"mlflow_run": run, "git_revision": run, "train_tracks": ["ab"]}
        write_toy_bundle(tmp_path / name, temperature=temperature, lineage=lineage)
    other = write_toy_bundle(tmp_path / "other", temperature=temperature, lineage={"train_tracks": ["cd"]})
    version = registry.register(tmp_path / "first", metrics={"accuracy": 0.5})
    registry.client.set_model_version_tag(NAME, version, "gated.same-weights", "not promoted")
    assert registry.register(tmp_path / "second", metrics={"accuracy": 0.6}) == version
    assert registry.times_split_used("same-weights", version) == 1
    entry = next(entry for entry in registry.versions() if entry.version == version)
    assert (entry.lineage["mlflow_run"], entry.metrics) == ("1f", {"accuracy": 0.6})
    assert registry.fetch(version, tmp_path / "fetched").content_hash == Bundle.load(tmp_path / "first").content_hash
    assert registry.register(other.directory, metrics={}) != version, "it was trained on other tracks"


def test_the_same_weights_stay_rolled_back(registry, bundles, tmp_path):
    temperature, path = next(TEMPERATURES), tmp_path / "champion.json"
    for name in ("first", "second"):
        lineage = {"weights_hash": "ab", "mlflow_run": name}
        write_toy_bundle(tmp_path / name, temperature=temperature, lineage=lineage)
    registry.promote(registry.register(bundles[0], metrics={}), path)
    version = registry.register(tmp_path / "first", metrics={})
    registry.promote(version, path)
    registry.rollback(path)
    assert registry.register(tmp_path / "second", metrics={}) == version
    assert registry.was_rolled_back(version)


def artifact(registry, version):
    """The directory of the bundle of a version in the store."""
    source = registry.client.get_model_version_download_uri(NAME, version).removeprefix("file://")
    (directory,) = Path(source).glob("data/*")
    return directory


def test_a_damaged_champion_in_the_registry_is_replaced_by_the_packaged_one(registry, bundles, tmp_path, caplog):
    a, b, _ = bundles
    version = registry.register(a, metrics={})
    pointer = registry.promote(version, tmp_path / "champion.json")
    packaged = registry.fetch_champion(pointer, tmp_path / "packaged").directory
    model = artifact(registry, version) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with caplog.at_level("WARNING", logger="genreflow"):
        found = registry.fetch_champion(pointer, tmp_path / "out", packaged=packaged)
    assert (found.directory, found.hash, found.version) == (tmp_path / "out", Bundle.load(a).hash, version)
    assert str(model) in caplog.text
    shutil.rmtree(tmp_path / "out")
    for unusable in (None, b, tmp_path / "missing"):
        with pytest.raises(BundleError) as caught:
            registry.fetch_champion(pointer, tmp_path / "out", packaged=unusable)
        assert caught.value.path == str(model)
        assert "genreflow registry promote" in str(caught.value)
    assert registry.promote(registry.register(b, metrics={}), tmp_path / "champion.json"), "the advice works"
    assert not list(tmp_path.glob(".*"))


def test_the_registry_refuses_another_lineage_of_the_same_model(registry, bundles, tmp_path):
    version = registry.register(bundles[0], metrics={})
    temperature = Bundle.load(bundles[0]).temperature
    forged = write_toy_bundle(artifact(registry, version), temperature=temperature, lineage={"mlflow_run": "ff"})
    assert forged.hash == Bundle.load(bundles[0]).hash
    with pytest.raises(GenreflowError, match="changed"):
        registry.fetch(version, tmp_path / "out")


MEASURED = {
    "test_track_accuracy": 0.7,
    "test_track_accuracy_low": 0.6,
    "test_track_accuracy_high": 0.8,
    "test_track_n": 60.0,
    "test_segment_accuracy": 0.65,
    "test_baseline_svm_accuracy": 0.75,
    "test_baseline_majority_class_accuracy": 0.1,
}


def test_a_version_is_described_by_its_accuracy_and_the_baselines(registry, bundles):
    version = registry.register(bundles[0], metrics=MEASURED)
    entry = registry.client.get_model_version(NAME, version)
    assert entry.description.startswith("70.0% of 60 test tracks (95 %: 60.0% to 80.0%). ")
    assert "majority class 10.0%, SVM 75.0%" in entry.description
    assert "does not beat: SVM." in entry.description
    assert "3 genres" in entry.description
    assert "demo" not in entry.description
    assert set(entry.tags) == {"bundle_hash", "record"}, "the UI lists all tags of a version"
    for gate, reason in ((Evidence(**GATE), "majority"), (Evidence(**GATE, same_bundle=True), None)):
        registry.record_gate(version, "split", decide(gate))
        described = registry.client.get_model_version(NAME, version).description
        assert described.startswith("70.0%")
        assert reason is None or reason in described
    better = registry.register(bundles[0], metrics=MEASURED | {"test_track_accuracy": 0.8})
    assert "does not beat" not in registry.client.get_model_version(NAME, better).description


def test_a_model_of_the_demo_is_described_as_such(registry, tmp_path):
    write_toy_bundle(tmp_path / "demo", temperature=next(TEMPERATURES), lineage={"source": "demo"})
    version = registry.register(tmp_path / "demo", metrics={})
    assert (
        "knows the 3 composed styles of the demo only" in registry.client.get_model_version(NAME, version).description
    )


def test_the_run_and_the_model_of_a_version_have_its_metrics(registry, tmp_path):
    experiment = ensure_experiment(registry.client, registry.root)
    temperature, runs = next(TEMPERATURES), []
    for name in ("first", "second"):  # two fits with the same weights
        with start_run(registry.client, experiment.experiment_id, name) as run:
            runs.append(run.run_id)
        lineage = {"mlflow_run": run.run_id, "weights_hash": "ab"}
        write_toy_bundle(tmp_path / name, temperature=temperature, lineage=lineage)
        version = registry.register(tmp_path / name, metrics=MEASURED | {"test_track_log_loss": float("nan")})
    for run_id in runs:
        assert registry.client.get_run(run_id).data.metrics == MEASURED
    entry = registry.client.get_model_version(NAME, version)
    assert entry.run_id == runs[0]
    model = registry.client.get_logged_model(registry.versions()[0].model_id)
    assert {metric.key: metric.value for metric in model.metrics} == MEASURED


def test_the_experiment_names_the_champion_first(registry, bundles, tmp_path):
    path, experiment = tmp_path / "champion.json", ensure_experiment(registry.client, registry.root)

    def description():
        return registry.client.get_experiment(experiment.experiment_id).tags["mlflow.note.content"]

    registry.client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "Latest study: best is trial 3")
    first = registry.register(bundles[0], metrics=MEASURED)
    registry.promote(first, path)
    champion, study = description().split("\n\n")
    run_id = registry.client.get_model_version(NAME, first).run_id
    page = f"#/experiments/{experiment.experiment_id}/runs/{run_id}"
    assert champion.startswith(f"Champion: [version {first}]({page}?")
    assert "), 70.0% of 60 test tracks (95 %: 60.0% to 80.0%). Baselines: majority class 10.0%, SVM 75.0%." in champion
    assert study == "Latest study: best is trial 3"
    registry.promote(registry.register(bundles[1], metrics=MEASURED | {"test_track_accuracy": 0.9}), path)
    assert "90.0%" in description()
    registry.rollback(path)
    assert "70.0%" in description()
    registry.register(bundles[0], metrics=MEASURED | {"test_track_accuracy": 0.8})
    registry.record_gate(first, "split", decide(Evidence(**GATE, same_bundle=True)))
    assert "80.0%" in description()
    registry.client.set_experiment_tag(
        experiment.experiment_id, "mlflow.note.content", "Latest study: x\n\nMy own words"
    )
    registry.promote(first, path)
    assert description() == "Latest study: x\n\nMy own words"
    registry.client.delete_experiment_tag(experiment.experiment_id, "mlflow.note.content")


def test_a_version_of_an_earlier_genreflow_is_read(registry, bundles, tmp_path):
    """Before 0.2, metrics and lineage of a version were one tag each."""
    bundle = Bundle.load(bundles[0])
    version = registry.register(bundles[0], metrics={})
    registry.client.delete_model_version_tag(NAME, version, "record")
    former = {
        "bundle_content_hash": bundle.content_hash,
        "metric.test_track_accuracy": "0.7",
        "lineage.leaking": "True",
    }
    for key, value in former.items():
        registry.client.set_model_version_tag(NAME, version, key, value)
    found = next(entry for entry in registry.versions() if entry.version == version)
    assert (found.metrics, found.leaking) == ({"test_track_accuracy": 0.7}, True)
    assert registry.fetch(version, tmp_path / "out").metrics == {"test_track_accuracy": 0.7}


def test_changed_or_missing_files_of_a_version_are_an_error(registry, bundles, tmp_path):
    a, b, c = bundles
    target = tmp_path / "fetched"
    registry.fetch(registry.register(a, metrics={}), target)
    version = registry.register(b, metrics={})
    source = registry.client.get_model_version_download_uri(NAME, version).removeprefix("file://")
    (registered,) = Path(source).glob("data/*")
    write_toy_bundle(registered, temperature=next(TEMPERATURES))
    with pytest.raises(GenreflowError, match=rf"version {version} .* changed"):
        registry.fetch(version, target)
    (registered / "bundle.json").unlink()
    with pytest.raises(GenreflowError, match=r"bundle\.json"):
        registry.fetch(version, target)
    assert Bundle.load(target).hash == Bundle.load(a).hash, "a failed download must not change the target"
    version = registry.register(c, metrics={})
    source = Path(registry.client.get_model_version_download_uri(NAME, version).removeprefix("file://"))
    source.rename(source.with_name("moved"))
    with pytest.raises(GenreflowError, match="must be readable"):
        registry.fetch(version, target)


def test_promote_and_roll_back_step_by_step(registry, bundles, tmp_path):
    path = tmp_path / "champion.json"
    with pytest.raises(GenreflowError, match=r"champion\.json"):
        registry.rollback(path)
    one, two, three = (registry.register(bundle, metrics={}) for bundle in bundles)
    registry.promote(one, path, reason="the first")
    text = path.read_bytes()
    registry.promote(two, path)
    registry.promote(three, path)
    assert aliases(registry)["champion"] == three
    assert [champion.version for champion in read_pointer(path).previous] == [one, two]
    stamp = path.stat()
    assert registry.promote(three, path, reason="again").champion.reason == "promoted by hand"
    assert path.stat().st_mtime_ns == stamp.st_mtime_ns, "promoting the champion must not write the file"
    assert registry.rollback(path).champion.version == two
    assert registry.rollback(path).champion.version == one
    assert path.read_bytes() == text
    assert aliases(registry)["champion"] == one
    with pytest.raises(GenreflowError, match=f"version {one} is the first"):
        registry.rollback(path)
    assert [registry.was_rolled_back(version) for version in (one, two, three)] == [False, True, True]
    registry.promote(three, path)
    assert not registry.was_rolled_back(three)
    assert registry.rollback(path).champion.version == one


def test_a_rollback_needs_a_champion(registry, tmp_path):
    path = tmp_path / "champion.json"
    write_pointer(None, path)
    with pytest.raises(GenreflowError, match="genreflow registry promote"):
        registry.rollback(path)


def test_a_former_champion_can_be_promoted_again(registry, bundles, tmp_path):
    a, b, _ = bundles
    path = tmp_path / "champion.json"
    for bundle in (a, b, a):
        pointer = registry.promote(registry.register(bundle, metrics={}), path)
    assert pointer.champion.bundle_hash == Bundle.load(a).hash
    assert registry.fetch_champion(pointer, tmp_path / "out").hash == Bundle.load(a).hash
    assert registry.rollback(path).champion.bundle_hash == Bundle.load(b).hash


def test_a_champion_of_another_registry_is_found_by_its_hash_only(registry, bundles, tmp_path):
    path = tmp_path / "champion.json"
    version = registry.register(bundles[0], metrics={})
    registry.promote(version, path)
    foreign = path.read_text().replace(Bundle.load(bundles[0]).hash, "f" * 64)
    path.write_text(foreign)
    with pytest.raises(GenreflowError, match="ffffffffffff"):
        registry.fetch_champion(read_pointer(path), tmp_path / "out")
    registry.promote(registry.register(bundles[1], metrics={}), path)
    before = path.read_text()
    with pytest.raises(GenreflowError, match="MLFLOW_TRACKING_URI"):
        registry.rollback(path)
    assert path.read_text() == before


def test_an_unknown_version_is_an_error_that_lists_the_known_ones(registry, bundles, tmp_path):
    version = registry.register(bundles[0], metrics={})
    for call in (lambda: registry.promote("4711", tmp_path / "p.json"), lambda: registry.fetch("x", tmp_path / "out")):
        with pytest.raises(ParameterError, match=version):
            call()
    assert not (tmp_path / "p.json").exists()


def test_the_gate_counts_the_bundles_evaluated_on_a_test_split(registry, bundles):
    a, b, c = (registry.register(bundle, metrics={}) for bundle in bundles)
    promoted, rejected = (
        decide(Evidence(**GATE | {"candidate_correct": {"track": correct}})) for correct in (True, False)
    )
    assert registry.times_split_used("split-1", a) == 1
    registry.record_gate(a, "split-1", promoted)
    assert registry.times_split_used("split-1", a) == 1, "the same bundle counts once"
    assert registry.times_split_used("split-1", b) == 2
    registry.record_gate(b, "split-1", promoted)
    registry.record_gate(c, "split-2", rejected)
    assert registry.times_split_used("split-1", c) == 3
    gated = {version.version: version.gated for version in registry.versions()}
    assert (gated[a], gated[c]) == ({"split-1": "promoted"}, {"split-2": "not promoted"})


def test_a_version_links_to_the_run_that_trained_it(registry, bundles, tmp_path):
    experiment = ensure_experiment(registry.client, registry.root)
    with start_run(registry.client, experiment.experiment_id, "train") as run:
        pass
    source = Bundle.load(bundles[0])
    write_bundle(
        tmp_path / "trained",
        onnx=source.onnx_path,
        **{
            name: getattr(source, name)
            for name in ("labels", "spec", "bank", "segment_frames", "segment_hop", "temperature", "abstain_below")
        },
        architecture="toy",
        lineage={"mlflow_run": run.run_id, "train_tracks": ["ab", "cd"]},
    )
    version = registry.register(tmp_path / "trained", metrics={})
    assert registry.client.get_model_version(NAME, version).run_id == run.run_id
    assert registry.versions()[0].lineage == {"mlflow_run": run.run_id}
    # A bundle that was trained with another store can be registered too.
    assert registry.client.get_model_version(NAME, registry.register(bundles[0], metrics={})).run_id


def test_a_registered_bundle_is_a_python_function_model(registry, bundles, tmp_path):
    version = registry.register(bundles[0], metrics={})
    model = mlflow.pyfunc.load_model(registry.client.get_model_version_download_uri(NAME, version))
    files = [str(write_tone(tmp_path / f"{label}.wav", label)) for label in ("whistle", "bass")]
    predictions = model.predict(files)
    assert predictions["genre"].tolist() == ["whistle", "bass"]
    assert list(predictions.columns) == ["genre", "reason", "confidence", "unfamiliarity", "bass", "drone", "whistle"]
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame({"path": files})), predictions)


@pytest.mark.slow
def test_the_champion_can_be_loaded_by_its_alias_from_another_folder(registry, bundles, tmp_path):
    registry.promote(registry.register(bundles[0], metrics={}), tmp_path / "champion.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tone = write_tone(tmp_path / "tone.wav", "drone")
    code = (
        f"import mlflow; mlflow.set_tracking_uri({registry.client.tracking_uri!r}); "
        f"model = mlflow.pyfunc.load_model('models:/{NAME}@champion'); print(model.predict([{str(tone)!r}]).genre[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["drone"]
    assert list(elsewhere.iterdir()) == []


KILLED = """
import os, signal, sys
from genreflow.registry import model_registry, flavour
from genreflow.registry.model_registry import Registry
root, bundle, where, name = sys.argv[1:]
def kill(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
registry = Registry.open(root)
setattr(flavour if where == "flavour" else registry.client, name, kill)
registry.register(bundle, metrics={})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "killed_in",
    [
        ("flavour", "_write_model"),
        ("client", "finalize_logged_model"),
        ("client", "create_model_version"),
        ("client", "delete_logged_model_tag"),
        ("client", "set_registered_model_alias"),
    ],
)
def test_a_killed_registration_leaves_no_files_after_the_next_one(tmp_path, killed_in):
    bundle = write_toy_bundle(tmp_path / "bundle").directory
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, bundle, *killed_in], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    registry = Registry.open(tmp_path)
    assert registry.register(bundle, metrics={}) == "1"
    other = write_toy_bundle(tmp_path / "other", temperature=2.0).directory
    assert registry.register(other, metrics={}) == "2"
    assert len(list((tmp_path / "mlruns" / "models").iterdir())) == 2
    assert registry.fetch("1", tmp_path / "fetched").hash == Bundle.load(bundle).hash
    registry.client.delete_model_version(NAME, "2")
    registry.register(write_toy_bundle(tmp_path / "third", temperature=3.0).directory, metrics={})
    assert len(list((tmp_path / "mlruns" / "models").iterdir())) == 3, "the files of a deleted version are the user's"


def test_a_failed_registration_leaves_no_files(registry, bundles, monkeypatch):
    registry.register(bundles[1], metrics={})
    before = set((registry.root / "mlruns" / "models").iterdir())
    monkeypatch.setattr(registry.client, "finalize_logged_model", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        registry.register(bundles[0], metrics={})
    assert set((registry.root / "mlruns" / "models").iterdir()) == before


def refuse(registry, version, **facts):
    report = decide(Evidence(**GATE | {"champion": "1", "comparison": None, "obstacle": "other_data"} | facts))
    registry.record_gate(version, "split", report)
    return report


def test_a_refusal_is_recorded_with_its_figures(registry, bundles):
    version = registry.register(bundles[0], metrics={})
    report = refuse(registry, version)
    entry = next(entry for entry in registry.versions() if entry.version == version)
    assert entry.gate["rule"] == "incomparable"
    assert (entry.gate["promote"], entry.gate["candidate_accuracy"], entry.gate["champion"]) == (False, 1.0, "1")
    assert entry.gated == {"split": "not promoted"}
    assert report.reason in registry.client.get_model_version(NAME, version).description
    assert all(len(value) < 2000 for value in registry.client.get_model_version(NAME, version).tags.values())


def test_a_promotion_against_the_gate_needs_a_reason_and_is_recorded(registry, bundles, tmp_path, caplog):
    path = tmp_path / "champion.json"
    first, second = (registry.register(bundle, metrics={}) for bundle in bundles[:2])
    registry.promote(first, path)
    before = path.read_bytes()
    refuse(registry, second)
    with pytest.raises(ParameterError, match=r"^--reason: .* incomparable"):
        registry.promote_by_hand(second, path)
    assert path.read_bytes() == before
    with caplog.at_level("WARNING", logger="genreflow"):
        pointer = registry.promote_by_hand(second, path, why="it knows the new labels")
    assert pointer.champion.version == second
    assert pointer.champion.reason == "promoted by hand: it knows the new labels"
    assert "it knows the new labels" in caplog.text
    entry = next(entry for entry in registry.versions() if entry.version == second)
    assert entry.promoted_by_hand["why"] == "it knows the new labels"
    assert entry.promoted_by_hand["refused_by"] == "incomparable"
    assert entry.promoted_by_hand["who"]
    assert entry.promoted_by_hand["when"].endswith("+00:00")
    assert "it knows the new labels" in registry.client.get_model_version(NAME, second).description


def test_a_promotion_that_the_gate_did_not_refuse_needs_no_reason(registry, bundles, tmp_path):
    path = tmp_path / "champion.json"
    first, second, third = (registry.register(bundle, metrics={}) for bundle in bundles)
    registry.record_gate(first, "split", decide(Evidence(**GATE)))
    registry.promote_by_hand(first, path)
    registry.promote_by_hand(second, path)
    refuse(registry, third, rolled_back=True)
    assert registry.promote_by_hand(third, path).champion.version == third
    entry = next(entry for entry in registry.versions() if entry.version == third)
    assert entry.promoted_by_hand["refused_by"] is None


def test_registered_models_have_champions_of_their_own(registry, bundles, tmp_path):
    path = tmp_path / "champion.json"
    other = Registry(registry.client, registry.root, "other music")
    first, second = (registry.register(bundle, metrics={}) for bundle in bundles[:2])
    registry.promote(first, path)
    registry.promote(second, path)
    version = other.register(bundles[2], metrics={})
    assert version == "1"
    assert other.find(Bundle.load(bundles[0]).hash) is None
    pointer = other.promote(version, path)
    assert (pointer.name, pointer.champion.version, pointer.previous) == ("other music", "1", ())
    assert aliases(other) == {"candidate": "1", "champion": "1"}
    assert aliases(registry)["champion"] == second
    assert other.fetch_champion(pointer, tmp_path / "out").hash == Bundle.load(bundles[2]).hash
    with pytest.raises(GenreflowError, match="other music"):
        registry.rollback(path)
    assert registry.serve(read_pointer(path).of_model(NAME), path).champion.version == second
    assert read_pointer(path).others[0].name == "other music"
    assert registry.rollback(path).champion.version == first
    assert other.serve(read_pointer(path).of_model("other music"), path).champion.version == "1"


@pytest.mark.parametrize("name", ["it's", "a/b", "", "x" * 101, "a:b"])
def test_a_name_that_mlflow_would_misread_is_refused(registry, name):
    with pytest.raises(ParameterError, match="registered model"):
        Registry(registry.client, registry.root, name)


def test_models_of_other_names_are_not_taken_for_orphans(registry, bundles, tmp_path):
    """Files of a registered model stay when another one is registered."""
    other = Registry(registry.client, registry.root, "third music")
    other.register(bundles[0], metrics={})
    registry.register(bundles[1], metrics={})
    assert other.fetch("1", tmp_path / "out").hash == Bundle.load(bundles[0]).hash
