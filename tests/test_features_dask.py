"""The feature store on a Dask cluster: a real scheduler and real workers, as processes of this machine."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf

from dask_cluster import running
from genreflow import distributed
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.errors import ParameterError
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FEATURE_VERSION, FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from waiting import wait_for

pytest.importorskip("distributed")
SPEC = FeatureSpec(n_mels=32)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine, a worker may take longer to start than users wait for it."""
    monkeypatch.setattr(distributed, "_CONNECT_SECONDS", 300)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dask") / "elsewhere", workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def compute():
    return partial(logmel_pieces, logmel=LogMel(SPEC, make_filter_bank(SPEC)))


def make_music(folder: Path, *, files: int, seconds: float) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.{'flac' if number % 2 else 'wav'}" for number in range(files)]
    for path in paths:
        noise = np.cumsum(rng.standard_normal((int(seconds * 44100), 2)), axis=0)
        sf.write(path, 0.5 * noise / np.abs(noise).max(), 44100)
    return paths


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_cluster_writes_the_same_files_as_this_machine(tmp_path, monkeypatch, two_workers, compute):
    music = make_music(tmp_path / "music", files=20, seconds=2)
    music[3].write_bytes(b"RIFF, but no more")
    items = [(f"key{number:02}", path) for number, path in enumerate(music)]
    monkeypatch.chdir(tmp_path)
    there = update("there", SPEC, items, compute, scheduler=two_workers.address, progress=False)
    here = update("here", SPEC, items, compute, n_jobs=1, progress=False)
    assert there == here
    assert list(there.failed) == ["key03"]
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    again = update("there", SPEC, items, compute, scheduler=two_workers.address, progress=False)
    assert (again.computed, again.reused) == (0, 19)


@pytest.mark.slow
def test_a_killed_worker_loses_and_duplicates_no_track(tmp_path, compute):
    music = make_music(tmp_path / "music", files=4, seconds=20)
    items = [(f"key{number:03}", music[number % 4]) for number in range(192)]
    shards_at_kill = []

    def kill_midway(victim: subprocess.Popen) -> None:
        def writing() -> bool:
            files = [Path(file.path).name for file in psutil.Process(victim.pid).open_files()]
            done = len(list((tmp_path / "there").glob("shard-*.json")))
            return done >= 3 and any(name.endswith(".tmp.npy") for name in files)

        wait_for(writing)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        shards_at_kill.append(len(list((tmp_path / "there").glob("shard-*.json"))))

    with running(tmp_path / "elsewhere") as started:
        victim, _ = started.start_worker(), started.start_worker()
        started.wait_for_workers(2)  # or the other one may do everything before the victim has started
        killer = threading.Thread(target=kill_midway, args=[victim])
        killer.start()
        report = update(tmp_path / "there", SPEC, items, compute, scheduler=started.address, progress=False)
        killer.join()
    update(tmp_path / "here", SPEC, items, compute, progress=False)
    assert shards_at_kill
    assert shards_at_kill[0] < len(list((tmp_path / "there").glob("shard-*.json"))) == 12
    assert (report.computed, report.failed) == (192, {})
    assert len(FeatureStore.open(tmp_path / "there")) == 192
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.slow
def test_the_first_worker_may_join_late(tmp_path, compute):
    music = make_music(tmp_path / "music", files=1, seconds=1)
    with running(tmp_path / "elsewhere") as started:
        threading.Timer(1, started.start_worker).start()
        report = update(tmp_path / "store", SPEC, [("a", music[0])], compute, scheduler=started.address, progress=False)
    assert report.computed == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_error_names_a_worker_that_does_not_share_the_directory(tmp_path, monkeypatch, two_workers, compute):
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path / "store")
    with pytest.raises(ParameterError, match=r"Dask worker tcp://.*: directory /proc/self/cwd must be shared"):
        update("/proc/self/cwd", SPEC, [("a", 1)], compute, scheduler=two_workers.address, progress=False)
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preload", "message"),
    [
        ("import genreflow; genreflow.__version__ = '0.0.7'", r"genreflow must be .*; got 0\.0\.7"),
        ("import sys; sys.modules['genreflow'] = None", "genreflow .* must be installed"),
        (
            "import genreflow.features.spec as s; s.FEATURE_VERSION = 0",
            f"feature version must be {FEATURE_VERSION}, .*; got 0",
        ),
    ],
)
def test_the_error_names_a_worker_with_other_versions(tmp_path, compute, preload, message):
    (tmp_path / "preload.py").write_text(preload)
    with running(tmp_path / "elsewhere") as started:
        started.start_worker("--preload", str(tmp_path / "preload.py"))
        with pytest.raises(ParameterError, match=message):
            update(tmp_path / "store", SPEC, [("a", 1)], compute, scheduler=started.address, progress=False)
