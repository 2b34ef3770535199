"""`genreflow reproduce`: both protocols, resumed after anything, and a table that says what leaks."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from genreflow.audit.faults import Audit
from genreflow.cli import cli
from genreflow.errors import ParameterError
from genreflow.features import store as stores
from genreflow.features.spec import FeatureSpec
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.models import MODELS
from genreflow.reproduction.budget import ROUNDS, Plan, plan
from genreflow.reproduction.tasks import KINDS, fit_options, make_task, structure_hash
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT
from genreflow.stages.material import load_material
from genreflow.training.options import FitOptions
from pipeline import ROOT

BANDS, FRAMES = 16, 120
SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=400, n_mels=BANDS, fmin=0.0, fmax=4000.0, clip_seconds=6.0)
GENRES = tuple("abcdefghij")
QUICK = ("parallel_cnn", "rnn")  # of both kinds of protocol
TABLE = Path("reports/reproduce/table.csv")
RECORDS = Path("reports/reproduce/records")


def frames(label: int, seed: int) -> np.ndarray:
    """Noise; each genre is louder in a band of its own."""
    piece = np.random.default_rng(seed).normal(100, 30, (FRAMES, BANDS))
    piece[:, label] += 90
    return np.clip(piece, 0, 255).astype("uint8")


def alone(piece: np.ndarray) -> list[np.ndarray]:
    return [piece]


def write_store(manifest: Manifest, keep: set[str]) -> None:
    labels = {track.id: manifest.genres.index(track.genre) for track in manifest.tracks}
    items = [
        (track.hash, frames(labels[track.id], number))
        for number, track in enumerate(manifest.tracks)
        if track.id in keep
    ]
    stores.update(FEATURES, SPEC, items, alone, n_jobs=1, progress=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project as `dvc repro split` leaves it: ten genres, five artists each, two tracks an artist."""
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
    audit = Audit((), {}, {})
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


def test_two_systems_from_nothing_to_the_table_and_nothing_twice(project):
    first = reproduce(*QUICK, "--epochs", "3", "--json")
    assert first.exit_code == 0, first.output
    records = {(r["system"], r["protocol"]): r for r in json.loads(first.stdout)}
    assert list(records) == [(name, kind) for name in QUICK for kind in KINDS]
    own, honest = (records["parallel_cnn", kind] for kind in KINDS)
    assert own["genres"] == list("abcdefgh")
    assert honest["genres"] == list(GENRES)
    assert own["leaking"]
    assert own["part"] == "valid"
    # 6 s are three segments of 2 s, of 80 tracks; 80 % of them train.
    assert sum(own["segments"].values()) == 240
    assert abs(own["segments"]["train"] - 192) <= 10
    assert own["parameters"] == MODELS["parallel_cnn"].parameters
    assert not honest["leaking"]
    assert honest["part"] == "test"
    assert honest["track_accuracy_low"] <= honest["track_accuracy"] <= honest["track_accuracy_high"]
    whole = records["rnn", "own"]
    assert whole["leaking"]
    assert whole["part"] == "test"
    assert whole["tracks"] == {"train": 80, "valid": 10, "test": 10}
    assert sum(whole["segments"].values()) == 100
    for record in records.values():
        assert record["options"]["epochs"] == 3
        assert record["options"]["patience"] > 3
        assert record["options"]["mixup"] == 0
        assert record["rounds"] == 3
        size, n = record["options"]["batch_size"], record["segments"]["train"]
        seen = n // size * size if n > size else n  # a rest smaller than a batch sits an epoch out
        assert record["epochs_done"] == pytest.approx(3 * seen / n, abs=1e-3)
    table = rows()
    assert list(table) == list(QUICK)
    assert float(table["rnn"]["honest_track_accuracy"]) == records["rnn", "honest"]["track_accuracy"]
    assert float(table["rnn"]["leaking_own_segment_accuracy"]) == whole["segment_accuracy"]
    assert not table["rnn"]["own_segment_accuracy"]
    page = TABLE.with_suffix(".md").read_text()
    assert "(leaking)" in page.splitlines()[0]
    assert "`parallel_cnn` | 61,071 | 69.2 %" in page
    assert "100 tracks, 50 artists, 10 genres" in page
    assert "8 genres (a, b, c, d, e, f, g, h): `parallel_cnn`" in page

    found = runs(project)
    assert [run.info.run_name for run in found] == [
        f"{m}{n} {k}" for n in QUICK for k, m in zip(KINDS, ("leaking ", ""), strict=True)
    ]
    assert [run.data.tags.get("leaking") for run in found] == ["true", None, "true", None]
    assert "leaking_valid_segment_accuracy" in found[0].data.metrics
    assert found[1].data.metrics["test_track_accuracy"] == honest["track_accuracy"]
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    assert len(client.get_metric_history(found[1].info.run_id, "val_track_accuracy")) == 3

    again = reproduce(*QUICK, "--epochs", "3")
    assert again.exit_code == 0
    assert "0 fits to do, 4 are done already" in again.stdout
    assert len(runs(project)) == 4
    # A docstring aside, what decides a fit makes it another one; a table of other data starts anew.
    assert "2 fits to do, 0 are done already" in _plan_only("parallel_cnn", "--epochs", "2")


def _plan_only(*arguments: str) -> str:
    """What would be done, from a process that is ended as soon as it has said so."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from genreflow.cli import main\nif __name__ == '__main__': main()",
            "reproduce",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)
    return line


@pytest.mark.slow
def test_a_fit_that_fails_is_told_and_tried_again_and_stops_nothing(project):
    material = load_material()
    test = set(material.split.test)
    write_store(material.manifest, set(material.manifest.by_id) - test)
    first = reproduce("parallel_cnn", "--minutes-per-system", "0.2")
    assert first.exit_code == 1
    failed = json.loads((RECORDS / "parallel_cnn-honest.json").read_text())
    assert failed["status"] == "failed"
    assert "The test part of the split has no track with features" in failed["reason"]
    assert json.loads((RECORDS / "parallel_cnn-own.json").read_text())["status"] == "finished"
    assert "`parallel_cnn`, honest: failed, " in TABLE.with_suffix(".md").read_text()
    assert rows()["parallel_cnn"]["honest_status"] == "failed"
    assert [run.info.status for run in runs(project)] == ["FINISHED"]
    write_store(material.manifest, set(material.manifest.by_id))
    again = reproduce("parallel_cnn", "--minutes-per-system", "0.2")
    assert again.exit_code == 0, again.output
    assert "1 fits to do, 1 are done already" in again.stdout
    for kind in KINDS:  # half of the minutes each
        record = json.loads((RECORDS / f"parallel_cnn-{kind}.json").read_text())
        assert record["minutes"] == 0.1
        assert record["measure_throughput"] > 0
        assert 0 < record["epochs_done"] <= record["epochs_wanted"] == 50
    assert rows()["parallel_cnn"]["honest_status"] == "finished"


@pytest.mark.slow
def test_killed_processes_cost_the_fit_at_work_and_nothing_else(project):
    program = "from genreflow.cli import main\nif __name__ == '__main__': main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "reproduce", "parallel_cnn", "lstm"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        # A shell has what it runs in the background ignore Control-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    said = []

    def until(pattern: str) -> None:
        for line in process.stdout:
            said.append(line)
            if re.search(pattern, line):
                return
        raise AssertionError("".join(said))

    def worker() -> psutil.Process:
        (child,) = (p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline()))
        return child

    try:
        until(r"^ +2/50")
        worker().send_signal(signal.SIGKILL)  # as the machine does when memory is short
        until("failed: its process was ended by SIGKILL; the machine may have run out of memory")
        until("test: .* of tracks")
        until(r"^ +2/50")  # lstm, own protocol
        last = worker()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert not last.is_running()
    status = {path.stem: json.loads(path.read_text())["status"] for path in RECORDS.glob("*.json")}
    assert status == {"parallel_cnn-own": "failed", "parallel_cnn-honest": "finished"}
    assert [run.info.status for run in runs(project)] == ["RUNNING", "FINISHED", "KILLED"]
    again = reproduce("parallel_cnn")
    assert again.exit_code == 0, again.output
    assert "1 fits to do, 1 are done already" in again.stdout
    assert [run.info.status for run in runs(project)] == ["FAILED", "FINISHED", "KILLED", "FINISHED"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["transformer"], ["no model 'transformer'", "parallel_cnn"]),
        (["--minutes-per-system", "0"], ["0"]),
    ],
)
def test_what_cannot_be_asked_for_is_refused(project, arguments, words):
    result = reproduce(*arguments)
    assert result.exit_code != 0
    for word in words:
        assert word in f"{result.output}{result.exception}"
    assert not TABLE.exists()


def test_missing_data_say_what_brings_them(project):
    SPLIT.unlink()
    with pytest.raises(ParameterError, match=r"no data/split.json; run `dvc repro split`"):
        load_material()


@pytest.mark.parametrize("method", ["segment", "track"])
def test_nothing_honest_is_measured_with_a_split_that_leaks(project, method):
    manifest = Manifest.load(MANIFEST)
    make_split(manifest, Audit((), {}, {}), SplitParams(method=method)).save(SPLIT)
    with pytest.raises(ParameterError, match=rf"split.method is {method}, which leaks.*split.method = group"):
        load_material()


def test_tracks_at_random_whoever_plays(project):
    material = load_material()
    manifest, split = material.of(MODELS["crnn"].protocol)
    assert manifest.genres == GENRES
    assert [len(split.parts[part]) for part in ("train", "valid", "test")] == [80, 10, 10]
    assert split.leaking
    assert split.leaks["test in train"]["groups"] > 0
    assert split.leaks["test in train"]["same_share"] == 0
    lonely = replace(
        material.manifest, tracks=tuple(replace(t, group=f"artist {t.id}") for t in material.manifest.tracks)
    )
    assert not replace(material, manifest=lonely).of(MODELS["crnn"].protocol)[1].leaking


def test_options_are_the_published_ones_or_ours(project):
    ours = FitOptions(mixup=0.2, epochs=12, seed=7)
    options = fit_options(MODELS["cnn_gru_augmented"], ours)
    assert (options.epochs, options.batch_size, options.optimiser, options.seed) == (50, 128, "momentum", 7)
    assert (options.translation, options.zoom, options.noise, options.contrast) == (0.1, 0.1, 0.01, 0.2)
    assert (options.mixup, options.random_crop, options.weight_decay) == (0, False, 0)
    assert fit_options(MODELS["parallel_cnn"], ours).optimiser == "sgd"
    assert fit_options(MODELS["cnn_2d"], ours).learning_rate == 2.5e-4
    own = fit_options(MODELS["efficient"], ours)
    assert own.mixup == 0.2 or "mixup" in MODELS["efficient"].protocol.options
    for row in MODELS.values():  # nothing is left open, and every option is one
        resolved = fit_options(row, ours)
        assert resolved.learning_rate
        assert resolved.optimiser


def test_every_system_has_a_task_of_both_kinds_with_a_key_of_its_own(project):
    material = load_material()
    tasks = [make_task(material, name, kind) for name in MODELS for kind in KINDS]
    assert len({task.key for task in tasks}) == len(tasks)
    assert [task.key for task in tasks] == [make_task(material, t.system, t.kind).key for t in tasks]
    one = make_task(material, "rnn", "honest")
    for other in (
        make_task(material, "rnn", "honest", minutes=3),
        make_task(material, "rnn", "honest", epochs=3),
        make_task(replace(material, feature_key="another"), "rnn", "honest"),
    ):
        assert other.key != one.key
    assert all(task.title.startswith("leaking ") == (task.kind == "own") for task in tasks)


STRUCTURE = '''"""A net."""
import json
FILTERS = {filters}
ARCHITECTURES = ("{text}",)

def build(image):
    """{text}"""
    return FILTERS  # {text}
'''


def test_words_do_not_change_a_structure_and_code_does(tmp_path):
    def hashed(name: str, **content) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(STRUCTURE.format(**content))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return structure_hash(module.build)

    first = hashed("structure_a", filters=3, text="words")
    assert hashed("structure_b", filters=3, text="other words") == first
    assert hashed("structure_c", filters=4, text="words") != first


@given(
    seconds=st.floats(1, 1e5),
    rate=st.floats(0.5, 1e5),
    faster=st.floats(1, 4),
    train=st.integers(1, 50_000),
    valid=st.integers(1, 10_000),
    measured=st.integers(0, 10_000),
    epochs=st.integers(1, 200),
    batch_size=st.sampled_from([1, 32, 128]),
)
def test_a_plan_fits_the_time_wherever_it_can(seconds, rate, faster, train, valid, measured, epochs, batch_size):
    answered = faster * rate
    chosen = plan(
        seconds, rate=rate, answered=answered, train=train, valid=valid, measured=measured, epochs=epochs,
        batch_size=batch_size,
    )  # fmt: skip
    segments = chosen.segments or train
    assert 1 <= chosen.rounds <= epochs if chosen.segments is None else 1 <= chosen.rounds <= ROUNDS
    assert 1 <= segments <= train
    takes = chosen.rounds * (segments / rate + valid / answered) + measured / answered
    least = (min(batch_size, train) / rate * ROUNDS) + (valid + measured) / answered
    assert takes <= 1.01 * seconds + least


def test_a_plan_has_something_to_choose_from():
    sizes = {"rate": 100.0, "answered": 200.0, "train": 1000, "valid": 200, "measured": 200, "batch_size": 32}
    assert plan(1e6, epochs=50, **sizes) == Plan(50)
    assert plan(111.0, epochs=50, **sizes) == Plan(10)  # 11 s an epoch, and 1 s for the test part
    short = plan(31.0, epochs=50, **sizes)  # less than three epochs
    assert short.rounds == ROUNDS
    assert short.segments == 500
    assert plan(0.0, epochs=50, **sizes) == Plan(1, 32)
