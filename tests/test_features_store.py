"""The feature store: no track is computed twice, no shard is incomplete, equal tracks give equal bytes."""

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genreflow.datasets.filterbank import make_filter_bank
from genreflow.errors import AudioError, ParameterError
from genreflow.features import shards
from genreflow.features.index import Index, write_checked_json
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.files import sha256

SPEC = FeatureSpec(n_mels=4)


def frames_of(number: int, *, log: Path | None = None) -> list[np.ndarray]:
    """Return pieces that are unique to a track; negative numbers cannot be decoded."""
    if log:
        with log.open("a") as lines:
            lines.write(f"{number}\n")
    if number < 0:
        raise AudioError("undecodable", f"track {number} cannot be decoded")
    rng = np.random.default_rng(number)
    return [rng.integers(0, 256, (5 + number % 7 + i, 4), dtype=np.uint8) for i in range(1 + number % 3)]


def items(*numbers: int) -> list[tuple[str, int]]:
    return [(f"hash{number:04d}", number) for number in numbers]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def assert_holds(directory: Path, *numbers: int) -> None:
    store = FeatureStore.open(directory)
    assert sorted(store) == sorted(key for key, _ in items(*numbers))
    assert len(store) == len(numbers)
    for key, number in items(*numbers):
        assert key in store
        expected = frames_of(number)
        assert store.lengths(key) == [len(piece) for piece in expected]
        for piece, frames in zip(store.pieces(key), expected, strict=True):
            np.testing.assert_array_equal(piece, frames)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "computed.log"


@pytest.fixture
def run(tmp_path, log):
    """Update a store of numbered tracks; returns the report and the numbers that were computed."""

    def run(*numbers: int, spec: FeatureSpec = SPEC, n_jobs: int = 1):
        log.unlink(missing_ok=True)
        compute = partial(frames_of, log=log)
        report = update(tmp_path / "store", spec, items(*numbers), compute, n_jobs=n_jobs, progress=False)
        return report, sorted(map(int, log.read_text().split())) if log.exists() else []

    return run


def test_round_trip(tmp_path, run):
    report, computed = run(*range(50))
    assert (report.computed, report.reused, report.dropped, report.failed) == (50, 0, 0, {})
    assert computed == list(range(50))
    assert_holds(tmp_path / "store", *range(50))
    store = FeatureStore.open(tmp_path / "store")
    assert store.spec == SPEC
    assert "absent" not in store
    with pytest.raises(KeyError):
        store.pieces("absent")
    with pytest.raises(ValueError, match="read-only"):
        store.pieces("hash0003")[0][0] = 1


def test_only_new_tracks_are_computed_and_existing_shards_stay_untouched(tmp_path, run):
    run(*range(40))
    before = {path: path.stat() for path in (tmp_path / "store").glob("shard-*")}
    report, computed = run(*range(45))
    assert (report.computed, report.reused, report.dropped) == (5, 40, 0)
    assert computed == list(range(40, 45))
    for path, stat in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    assert_holds(tmp_path / "store", *range(45))


def test_an_update_without_new_tracks_changes_nothing(tmp_path, run):
    run(*range(20))
    before = contents(tmp_path / "store")
    report, computed = run(*range(20))
    assert (report.computed, report.reused, computed) == (0, 20, [])
    assert contents(tmp_path / "store") == before


def test_files_depend_neither_on_the_order_of_tracks_nor_on_the_number_of_workers(tmp_path):
    numbers = list(range(30))
    for name, order, n_jobs in (("a", numbers, 1), ("b", numbers[::-1], 2)):
        update(tmp_path / name, SPEC, items(*order), frames_of, n_jobs=n_jobs, progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not list((tmp_path / "a").glob(".*"))


def test_dropped_tracks_leave_the_index_and_shards_with_few_used_tracks_are_rewritten(tmp_path, run):
    run(*range(40))
    shards_before = set((tmp_path / "store").glob("shard-*.npy"))
    report, computed = run(*range(1, 40))
    assert (report.reused, report.dropped, computed) == (39, 1, [])
    assert set((tmp_path / "store").glob("shard-*.npy")) == shards_before
    assert_holds(tmp_path / "store", *range(1, 40))

    size = sum(path.stat().st_size for path in shards_before)
    report, computed = run(3, 20, 39)
    assert (report.reused, report.dropped, computed) == (3, 36, [])
    assert_holds(tmp_path / "store", 3, 20, 39)
    assert sum(path.stat().st_size for path in (tmp_path / "store").glob("shard-*.npy")) < size / 2
    assert run(3, 20, 39)[0].reused == 3

    assert run()[0].dropped == 3
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["index.json"]
    assert len(FeatureStore.open(tmp_path / "store")) == 0


def test_another_spec_recomputes_all_tracks_and_removes_the_old_shards(tmp_path, run):
    run(*range(12))
    old = set((tmp_path / "store").glob("shard-*"))
    report, computed = run(*range(12), spec=FeatureSpec(n_mels=4, hop_length=256))
    assert (report.computed, report.reused) == (12, 0)
    assert computed == list(range(12))
    assert not old & set((tmp_path / "store").glob("shard-*"))
    assert FeatureStore.open(tmp_path / "store").spec.hop_length == 256
    assert_holds(tmp_path / "store", *range(12))


def test_a_failed_track_is_reported_and_retried(tmp_path, run):
    report, _ = run(1, -5, 2)
    assert report.failed == {"hash-005": "track -5 cannot be decoded"}
    assert report.computed == 2
    assert_holds(tmp_path / "store", 1, 2)
    assert run(1, -5, 2)[1] == [-5]


def test_an_unexpected_exception_ends_the_update_and_finished_shards_are_kept(tmp_path, run):
    def fail_at_25(number):
        if number == 25:
            raise ZeroDivisionError
        return frames_of(number)

    with pytest.raises(ZeroDivisionError):
        update(tmp_path / "store", SPEC, items(*range(30)), fail_at_25, n_jobs=1, progress=False)
    with pytest.raises(ParameterError, match=r"index\.json"):
        FeatureStore.open(tmp_path / "store")
    report, computed = run(*range(30))
    assert (report.computed, report.reused) == (14, 16)
    assert computed == list(range(16, 30))
    assert_holds(tmp_path / "store", *range(30))
    assert not list((tmp_path / "store").glob(".*"))


def test_an_update_after_a_killed_one_resumes(tmp_path, run):
    (tmp_path / "slow.py").write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_features_store import SPEC, frames_of, items, update

        def slow(number):
            if number == 20:
                print("reached", flush=True)
                time.sleep(120)
            return frames_of(number)

        update(Path(sys.argv[1]), SPEC, items(*range(30)), slow, n_jobs=1, progress=False)
        """)
    )
    command = [sys.executable, tmp_path / "slow.py", tmp_path / "store", Path(__file__).parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reached\n"
        os.kill(process.pid, signal.SIGKILL)
    assert list((tmp_path / "store").glob(".*.tmp*"))
    report, computed = run(*range(30))
    assert (report.computed, report.reused) == (14, 16)
    assert computed == list(range(16, 30))
    assert_holds(tmp_path / "store", *range(30))
    assert not list((tmp_path / "store").glob(".*"))


def test_a_shard_without_sidecar_is_computed_again(tmp_path, run):
    run(*range(8))
    (sidecar,) = (tmp_path / "store").glob("shard-*.json")
    before = contents(tmp_path / "store")
    sidecar.unlink()
    (tmp_path / "store" / "index.json").unlink()
    assert run(*range(8))[1] == list(range(8))
    assert contents(tmp_path / "store") == before


def test_a_damaged_shard_is_computed_again(tmp_path, run):
    run(*range(8))
    (array,) = (tmp_path / "store").glob("shard-*.npy")
    array.write_bytes(array.read_bytes()[:-3])
    assert run(*range(8))[0].computed == 8
    assert_holds(tmp_path / "store", *range(8))


def test_tracks_are_read_shard_by_shard_and_each_shard_is_unmapped_and_verified_once(tmp_path, run, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    run(*range(20))
    store = FeatureStore.open(tmp_path / "store")
    keys = sorted(store, reverse=True)
    first = store.pieces(keys[0])  # its shard stays open
    verified = []
    monkeypatch.setattr(shards, "sha256", lambda path: verified.append(path) or sha256(path))
    for _ in range(2):
        read = {}
        for key, pieces in store.each(keys):
            read[key] = [piece.copy() for piece in pieces]
            assert len(store._open) <= 2
        assert sorted(read) == sorted(keys)
        for key in keys:
            np.testing.assert_array_equal(read[key][0], FeatureStore.open(tmp_path / "store").pieces(key)[0])
        assert len(store._open) == 1
    np.testing.assert_array_equal(first[0], read[keys[0]][0])
    verified.clear()
    list(store.each(keys))
    assert verified == []


def test_shards_have_a_bounded_size(tmp_path, run, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    run(*range(20))
    arrays = list((tmp_path / "store").glob("shard-*.npy"))
    assert len(arrays) > 5
    assert_holds(tmp_path / "store", *range(20))


def test_of_equal_keys_the_first_is_used(tmp_path):
    report = update(tmp_path, SPEC, [("a", 1), ("a", 2)], frames_of, n_jobs=1, progress=False)
    assert report.computed == 1
    np.testing.assert_array_equal(FeatureStore.open(tmp_path).pieces("a")[0], frames_of(1)[0])


@pytest.mark.parametrize(
    "invalid", [np.zeros((3, 5), np.uint8), np.zeros((3, 4), np.float32), np.zeros((0, 4), np.uint8)]
)
def test_features_of_another_type_or_shape_are_refused(tmp_path, invalid):
    with pytest.raises(ValueError, match="features of a must be uint8"):
        update(tmp_path, SPEC, [("a", None)], lambda _: [invalid], n_jobs=1, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_store_of_another_feature_version_is_refused(tmp_path, run):
    run(1)
    index = Index.load(tmp_path / "store")
    write_checked_json(tmp_path / "store" / "index.json", index.content | {"key": "0" * 16})
    with pytest.raises(ParameterError, match="feature version"):
        FeatureStore.open(tmp_path / "store")
    with pytest.raises(ParameterError, match="nowhere"):
        FeatureStore.open(tmp_path / "nowhere")


def process_of(_):
    return [np.frombuffer(os.getpid().to_bytes(4, "little"), np.uint8).reshape(1, 4)]


@pytest.mark.parametrize(("n_jobs", "others"), [(1, False), (2, False), (6, True)])
def test_a_few_workers_are_threads_and_many_are_processes(tmp_path, n_jobs, others):
    items = [(f"{number:03}", None) for number in range(96)]
    update(tmp_path, SPEC, items, process_of, n_jobs=n_jobs, progress=False)
    store = FeatureStore.open(tmp_path)
    processes = {int.from_bytes(store.pieces(key)[0].tobytes(), "little") for key, _ in items}
    assert (os.getpid() not in processes) == others


@pytest.mark.parametrize("n_jobs", [2, 6])
def test_features_of_audio_files_with_several_workers(tmp_path, n_jobs):
    spec = FeatureSpec(n_mels=32, clip_seconds=1.0)
    rng = np.random.default_rng(0)
    tracks = []
    for number in range(10):
        path = tmp_path / f"{number}.flac"
        sf.write(path, rng.standard_normal(30000 + 1000 * number) * 0.1, 22050)
        tracks.append((f"key{number}", path))
    (tmp_path / "bad.flac").write_bytes(b"fLaC, but no more")
    tracks.append(("bad", tmp_path / "bad.flac"))
    logmel = LogMel(spec, make_filter_bank(spec))
    compute = partial(logmel_pieces, logmel=logmel)
    again = [(f"{key}-{number}", path) for number in range(8) for key, path in tracks[:10]]  # enough for several jobs
    report = update(tmp_path / "store", spec, [*tracks, *again], compute, n_jobs=n_jobs, progress=False)
    assert report.computed == 90
    assert "bad.flac" in report.failed["bad"]
    store = FeatureStore.open(tmp_path / "store")
    for key, path in [*tracks[:10], *again]:
        np.testing.assert_array_equal(store.pieces(key)[0], logmel_pieces(path, logmel)[0])


@pytest.mark.slow
def test_memory_of_the_parent_does_not_grow_with_the_number_of_tracks(tmp_path):
    """The peak of an update of 4,000 tracks of 3 s is at most 10 % above that of 1,000: the keys of the tracks."""
    rng = np.random.default_rng(0)
    for number in range(8):
        sf.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(3 * 22050), 22050)
    code = """
import hashlib, resource, sys
from functools import partial
from pathlib import Path
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.update import update
folder, count = Path(sys.argv[1]), int(sys.argv[2])
spec = FeatureSpec(n_mels=16)
bank = FilterBank.load(folder / "filters.npz")
items = ((hashlib.sha256(b"%d" % i).hexdigest(), folder / f"{i % 8}.wav") for i in range(count))
compute = partial(logmel_pieces, logmel=LogMel(spec, bank))
report = update(folder / f"store{count}", spec, items, compute, n_jobs=2, progress=False)
assert report.computed == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    make_filter_bank(FeatureSpec(n_mels=16)).save(tmp_path / "filters.npz")
    # Linux counts what the process that starts another one has used as memory of the other: here, a small one.
    starter = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    command = [sys.executable, "-c", starter, sys.executable, "-c", code, tmp_path]
    few, many = (
        int(subprocess.run([*command, str(count)], capture_output=True, text=True, check=True).stdout)
        for count in (1000, 4000)
    )
    assert many < 1.1 * few
