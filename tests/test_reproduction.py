"""`genreflow reproduce`: both protocols, resuming after failures and kills, and a table that marks what leaks."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from genreflow.audit.faults import Audit
from genreflow.cli import cli
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.models import MODELS
from genreflow.reproduction.fits import limit_options, load_segments
from genreflow.reproduction.reproduce import plan_tasks
from genreflow.reproduction.structure_hash import structure_hash
from genreflow.reproduction.tasks import KINDS, fit_options, make_task
from genreflow.reproduction.time_budget import MIN_EPOCHS, Schedule, Workload, plan_epochs
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT
from genreflow.stages.project_data import load_project_data
from genreflow.training.options import FitOptions
from pipeline import ROOT

BANDS, FRAMES = 16, 120
SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=400, n_mels=BANDS, fmin=0.0, fmax=4000.0, clip_seconds=6.0)
GENRES = tuple("abcdefghij")
QUICK = ("parallel_cnn", "rnn")  # one split by segments, one by tracks
TABLE = Path("reports/reproduce/table.csv")
RECORDS = Path("reports/reproduce/records")


def make_frames(label: int, seed: int) -> np.ndarray:
    """Noise; each genre is louder in a band of its own."""
    piece = np.random.default_rng(seed).normal(100, 30, (FRAMES, BANDS))
    piece[:, label] += 90
    return np.clip(piece, 0, 255).astype("uint8")


def as_single_piece(piece: np.ndarray) -> list[np.ndarray]:
    return [piece]


def write_store(manifest: Manifest, keep: set[str]) -> None:
    labels = {track.id: manifest.genres.index(track.genre) for track in manifest.tracks}
    items = [
        (track.hash, make_frames(labels[track.id], number))
        for number, track in enumerate(manifest.tracks)
        if track.id in keep
    ]
    update(FEATURES, SPEC, items, as_single_piece, n_jobs=1, progress=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project after `dvc repro split`: ten genres of five artists with two tracks each."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    tracks = [
        Track(
            id=f"{genre}{artist}{number}",
            genre=genre,
            path=f"{genre}{artist}{number}.wav",
            group=f"artist {genre}{artist}",
            group_source="folder",
            hash=f"hash {genre}{artist}{number}",
        )
        for genre in GENRES
        for artist in range(5)
        for number in range(2)
    ]
    manifest = Manifest.from_tracks("folder", tracks)
    audit = Audit((), {}, {genre: {"tracks": n, "usable": n} for genre, n in manifest.tracks_per_genre.items()})
    manifest.save(MANIFEST)
    audit.save(AUDIT)
    make_split(manifest, audit, SplitParams()).save(SPLIT)
    write_store(manifest, set(manifest.by_id))
    return tmp_path


def reproduce(*arguments: str):
    return CliRunner().invoke(cli, ["reproduce", *arguments])


def rows() -> dict[str, dict]:
    return {row["system"]: row for row in csv.DictReader(TABLE.open())}


def runs(project: Path) -> list:
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("genreflow reproduce")
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


@pytest.mark.slow
def test_two_systems_are_fitted_under_both_protocols_and_never_twice(project, caplog):
    caplog.set_level("INFO", "genreflow")
    first = reproduce(*QUICK, "--epochs", "3", "--json")
    assert first.exit_code == 0, first.output
    # Messages of the processes that fit arrive here, under their names.
    assert any(record.name == "genreflow.reproduction.fits" for record in caplog.records)
    records = {(r["system"], r["protocol"]): r for r in json.loads(first.stdout)}
    assert list(records) == [(name, kind) for name in QUICK for kind in KINDS]
    own, disjoint = (records["parallel_cnn", kind] for kind in KINDS)
    assert own["genres"] == list("abcdefgh")
    assert disjoint["genres"] == list(GENRES)
    assert own["leaking"]
    assert own["part"] == "valid"
    # 80 tracks of 6 s, which are three segments of 2 s; 80 % of the segments train.
    assert sum(own["segments"].values()) == 240
    assert abs(own["segments"]["train"] - 192) <= 10
    assert own["parameters"] == MODELS["parallel_cnn"].parameters
    assert not disjoint["leaking"]
    assert disjoint["part"] == "test"
    assert disjoint["track_accuracy_low"] <= disjoint["track_accuracy"] <= disjoint["track_accuracy_high"]
    by_track = records["rnn", "own"]
    assert by_track["leaking"]
    assert by_track["part"] == "test"
    assert by_track["tracks"] == {"train": 80, "valid": 10, "test": 10}
    assert sum(by_track["segments"].values()) == 100
    for record in records.values():
        assert record["options"]["epochs"] == 3
        assert record["options"]["patience"] > 3
        assert record["options"]["mixup"] == 0
        assert record["validations"] == 3
        assert record["peak_memory_mib"] > 100
        size, n = record["options"]["batch_size"], record["segments"]["train"]
        trained = n // size * size if n > size else n  # a remainder smaller than a batch is left out of an epoch
        assert record["epochs_done"] == pytest.approx(3 * trained / n, abs=1e-3)
    table = rows()
    assert list(table) == list(QUICK)
    assert float(table["rnn"]["group_disjoint_track_accuracy"]) == records["rnn", "group_disjoint"]["track_accuracy"]
    assert float(table["rnn"]["leaking_own_segment_accuracy"]) == by_track["segment_accuracy"]
    assert not table["rnn"]["own_segment_accuracy"]
    page = TABLE.with_suffix(".md").read_text()
    assert "(leaking)" in page.splitlines()[0]
    assert "`parallel_cnn` | 61,071 | 69.2 %" in page
    assert "100 tracks, 50 artists, 10 genres" in page
    assert "8 genres (a, b, c, d, e, f, g, h): `parallel_cnn`" in page

    found = runs(project)
    assert [run.info.run_name for run in found] == [
        f"{prefix}{name} {kind}" for name in QUICK for kind, prefix in zip(KINDS, ("leaking ", ""), strict=True)
    ]
    assert [run.data.tags.get("leaking") for run in found] == ["true", None, "true", None]
    assert "leaking_valid_segment_accuracy" in found[0].data.metrics
    assert found[1].data.metrics["test_track_accuracy"] == disjoint["track_accuracy"]
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    assert len(client.get_metric_history(found[1].info.run_id, "val_track_accuracy")) == 3

    again = reproduce(*QUICK, "--epochs", "3", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert len(runs(project)) == 4
    # Other options are other fits.
    plan = plan_tasks(["parallel_cnn"], load_project_data(), TABLE.parent, minutes=None, epochs=2)
    assert (plan.n_tasks, plan.records) == (2, {})


def read_records(system: str) -> dict[str, dict]:
    return {kind: json.loads((RECORDS / f"{system}-{kind}.json").read_text()) for kind in KINDS}


@pytest.mark.slow
def test_a_failed_fit_is_recorded_and_repeated_by_the_next_call(project):
    data = load_project_data()
    test = set(data.split.test)
    write_store(data.manifest, set(data.manifest.by_id) - test)
    first = reproduce("parallel_cnn", "--minutes-per-system", "0.2")
    assert first.exit_code == 1
    failed = read_records("parallel_cnn")
    assert {kind: record["status"] for kind, record in failed.items()} == {
        "own": "finished",
        "group_disjoint": "failed",
    }
    assert "the test part" in failed["group_disjoint"]["reason"]
    assert "`parallel_cnn`, group_disjoint: failed, " in TABLE.with_suffix(".md").read_text()
    assert rows()["parallel_cnn"]["group_disjoint_status"] == "failed"
    assert [run.info.status for run in runs(project)] == ["FINISHED"]
    write_store(data.manifest, set(data.manifest.by_id))
    again = reproduce("parallel_cnn", "--minutes-per-system", "0.2")
    assert again.exit_code == 0, again.output
    finished = read_records("parallel_cnn")
    assert finished["own"] == failed["own"]  # was not fitted again
    for record in finished.values():  # half of the minutes each
        assert record["minutes"] == 0.1
        assert record["segments_per_second"] > 0
        assert 0 < record["epochs_done"] <= record["epochs_published"] == 50
    assert rows()["parallel_cnn"]["group_disjoint_status"] == "finished"


@pytest.mark.slow
def test_a_killed_process_costs_only_the_fit_that_it_was_running(project):
    program = "from genreflow.cli import main\nif __name__ == '__main__': main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "reproduce", "parallel_cnn", "lstm"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        # A shell makes background jobs ignore Control-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = []

    def read_until(pattern: str) -> None:
        for line in process.stderr:
            lines.append(line)
            if re.search(pattern, line):
                return
        raise AssertionError("".join(lines))

    def worker() -> psutil.Process:
        (child,) = (p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline()))
        return child

    try:
        read_until(r"epoch 2/50")
        worker().send_signal(signal.SIGKILL)  # as Linux does when memory is short
        read_until("failed: .*SIGKILL")
        read_until("test: .*track accuracy")
        read_until(r"epoch 2/50")  # lstm, own protocol
        last = worker()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode != 0
    assert not last.is_running()
    status = {path.stem: json.loads(path.read_text())["status"] for path in RECORDS.glob("*.json")}
    assert status == {"parallel_cnn-own": "failed", "parallel_cnn-group_disjoint": "finished"}
    # The run of the killed process is ended when the next fit starts.
    assert [run.info.status for run in runs(project)] == ["FAILED", "FINISHED", "KILLED"]
    finished = read_records("parallel_cnn")["group_disjoint"]
    again = reproduce("parallel_cnn")
    assert again.exit_code == 0, again.output
    assert read_records("parallel_cnn")["group_disjoint"] == finished
    assert [run.info.status for run in runs(project)] == ["FAILED", "FINISHED", "KILLED", "FINISHED"]


def test_an_unknown_system_is_refused(project):
    result = reproduce("transformer")
    assert isinstance(result.exception, ParameterError)
    assert "transformer" in str(result.exception)
    assert not TABLE.exists()


def test_a_time_limit_must_be_positive(project):
    result = reproduce("--minutes-per-system", "0")
    assert result.exit_code == 2
    assert not TABLE.exists()


def test_missing_data_are_named(project):
    SPLIT.unlink()
    with pytest.raises(ParameterError, match=re.escape(str(SPLIT))):
        load_project_data()


@pytest.mark.parametrize("method", ["segment", "track"])
def test_a_split_that_leaks_is_refused(project, method):
    manifest = Manifest.load(MANIFEST)
    make_split(manifest, Audit((), {}, {}), SplitParams(method=method)).save(SPLIT)
    with pytest.raises(ParameterError, match=r"split\.method"):
        load_project_data()


def test_tracks_are_split_at_random_regardless_of_artists(project):
    data = load_project_data()
    manifest, split = data.split_as_published(MODELS["crnn"].protocol)
    assert manifest.genres == GENRES
    assert [len(split.parts[part]) for part in ("train", "valid", "test")] == [80, 10, 10]
    assert split.leaking
    assert split.leaks["test in train"]["groups"] > 0
    assert split.leaks["test in train"]["same_share"] == 0
    one_track_per_artist = replace(
        data.manifest, tracks=tuple(replace(t, group=f"artist {t.id}") for t in data.manifest.tracks)
    )
    assert not replace(data, manifest=one_track_per_artist).split_as_published(MODELS["crnn"].protocol)[1].leaking


def test_published_systems_have_published_options_and_ours_those_of_the_project():
    project_options = FitOptions(mixup=0.2, epochs=12, seed=7)
    options = fit_options(MODELS["cnn_gru_augmented"], project_options)
    assert (options.epochs, options.batch_size, options.optimiser, options.seed) == (50, 128, "momentum", 7)
    assert (options.translation, options.zoom, options.noise, options.contrast) == (0.1, 0.1, 0.01, 0.2)
    assert (options.mixup, options.random_crop, options.weight_decay) == (0, False, 0)
    assert fit_options(MODELS["parallel_cnn"], project_options).optimiser == "sgd"
    assert fit_options(MODELS["cnn_2d"], project_options).learning_rate == 2.5e-4
    ours = fit_options(MODELS["efficient"], project_options.model_copy(update={"weight_decay": 0.02}))
    assert ours.weight_decay == 0.02
    assert ours.mixup == MODELS["efficient"].protocol.options["mixup"]
    for architecture in MODELS.values():
        resolved = fit_options(architecture, project_options)
        assert resolved.learning_rate
        assert resolved.optimiser


def test_each_task_has_a_key_of_its_own(project):
    data = load_project_data()
    tasks = [make_task(data, name, kind) for name in MODELS for kind in KINDS]
    assert len({task.key for task in tasks}) == len(tasks)
    assert [task.key for task in tasks] == [make_task(data, t.system, t.kind).key for t in tasks]
    task = make_task(data, "rnn", "group_disjoint")
    for other in (
        make_task(data, "rnn", "group_disjoint", minutes=3),
        make_task(data, "rnn", "group_disjoint", epochs=3),
        make_task(replace(data, feature_key="another"), "rnn", "group_disjoint"),
    ):
        assert other.key != task.key
    assert all(task.run_name.startswith("leaking ") == (task.kind == "own") for task in tasks)


STRUCTURE = '''"""A network."""
import json
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from keras import {imported}
FILTERS = {filters}
ARCHITECTURES = ("{text}",)

def build(image: "{imported}") -> "{imported}":
    """{text}"""
    return FILTERS  # {text}
'''


def test_the_structure_hash_depends_on_code_and_not_on_words_or_types(tmp_path):
    def hash_of(name: str, **content) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(STRUCTURE.format(**content))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return structure_hash(module.build)

    first = hash_of("structure_a", filters=3, text="words", imported="KerasTensor")
    assert hash_of("structure_b", filters=3, text="other words", imported="Variable") == first
    assert hash_of("structure_c", filters=4, text="words", imported="KerasTensor") != first


def test_a_time_limit_reduces_the_epochs(project):
    data, store = load_project_data(), FeatureStore.open(FEATURES)
    unlimited = make_task(data, "parallel_cnn", "own")
    segments = load_segments(unlimited, store)
    assert segments.test is None
    assert segments.evaluated is segments.data.valid
    assert limit_options(unlimited, segments, begin=time.perf_counter()) == (unlimited.options, None)
    limited = make_task(data, "parallel_cnn", "own", minutes=0.05)
    options, throughput = limit_options(limited, segments, begin=time.perf_counter())
    assert throughput > 0
    n = segments.counts["train"]
    assert 0 < options.epochs * (options.segments_per_epoch or n) < 50 * n
    changed = {"epochs", "segments_per_epoch"}
    assert options.model_dump(exclude=changed) == limited.options.model_dump(exclude=changed)


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seconds=st.floats(1, 1e5),
    throughput=st.floats(0.5, 1e5),
    inference_factor=st.floats(1, 4),
    train=st.integers(1, 50_000),
    valid=st.integers(1, 10_000),
    test=st.integers(0, 10_000),
    epochs=st.integers(1, 200),
    batch_size=st.sampled_from([1, 32, 128]),
)
def test_planned_epochs_take_the_given_time_where_that_is_possible(
    seconds, throughput, inference_factor, train, valid, test, epochs, batch_size
):
    inference = inference_factor * throughput
    workload = Workload(
        train=train,
        valid=valid,
        test=test,
        epochs=epochs,
        batch_size=batch_size,
        train_throughput=throughput,
        inference_throughput=inference,
    )
    schedule = plan_epochs(seconds, workload)
    assert 1 <= schedule.epochs <= (epochs if schedule.segments_per_epoch is None else MIN_EPOCHS)
    segments = schedule.segments_per_epoch or train
    assert 1 <= segments <= train
    planned = schedule.epochs * (segments / throughput + valid / inference) + test / inference
    minimum = min(batch_size, train) / throughput * MIN_EPOCHS + (valid + test) / inference
    assert planned <= 1.01 * seconds + minimum


def test_epochs_are_shortened_when_there_is_time_for_few():
    def plan(seconds: float) -> Schedule:
        sizes = {"train": 1000, "valid": 200, "test": 200, "epochs": 50, "batch_size": 32}
        return plan_epochs(seconds, Workload(**sizes, train_throughput=100.0, inference_throughput=200.0))

    assert plan(1e6) == Schedule(50)
    assert plan(111.0) == Schedule(10)  # 11 s per epoch, and 1 s for the test part
    assert plan(31.0) == Schedule(MIN_EPOCHS, 500)  # less than three whole epochs
    assert plan(0.0) == Schedule(1, 32)
