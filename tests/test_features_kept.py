"""Former states of a feature store are kept within a limit, restored as they were, and every shard is verified."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from genreflow.errors import DamagedFileError
from genreflow.features import shards
from genreflow.features.index import Index, write_checked_json
from genreflow.features.kept import KeptStates
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from test_features_store import SPEC, assert_holds, contents, frames_of, items

A, B = range(40), range(30, 70)  # ten tracks are in both
OTHER_SPEC = FeatureSpec(n_mels=4, hop_length=256)


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def switch(tmp_path, store):
    """Update the store to some tracks; returns the report, after the content is compared with the tracks."""

    def switch(numbers, *, spec: FeatureSpec = SPEC, max_bytes: float = 1e9):
        kept = KeptStates(tmp_path / "kept", max_bytes)
        report = update(store, spec, items(*numbers), frames_of, n_jobs=1, kept=kept, progress=False)
        assert_holds(store, *(number for number in numbers if number >= 0))
        return report

    return switch


def states(store: Path) -> list[Path]:
    folder = store.with_name("kept")
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_collection_that_returns_has_the_same_files_and_is_not_computed(store, switch):
    switch(A)
    first = contents(store)
    report = switch(B)
    assert (report.computed, report.reused, report.dropped, report.kept) == (30, 10, 30, 30)
    second = contents(store)
    for number in range(3):
        report = switch(A)
        assert (report.computed, report.reused, report.kept) == (0, 40, 30), number
        assert contents(store) == first
        report = switch(B)
        assert (report.computed, report.reused, report.kept) == (0, 40, 30)
        assert contents(store) == second


def test_another_spec_that_returns_is_not_computed(store, switch):
    switch(A)
    first = contents(store)
    assert switch(A, spec=OTHER_SPEC).computed == 40
    report = switch(A)
    assert (report.computed, report.kept) == (0, 40)
    assert contents(store) == first


def test_tracks_that_fail_do_not_prevent_a_return(store, switch):
    switch([*A, -5])
    first = contents(store)
    switch(B)
    report = switch([*A, -5])
    assert (report.computed, report.reused) == (0, 40)
    assert list(report.failed) == ["hash-005"]
    assert contents(store) == first


def test_parts_and_unions_of_collections_are_taken_from_what_is_kept(store, switch):
    switch(A)
    switch(B)
    assert switch(range(70)).computed == 0
    switch(range(100, 110))
    assert switch(range(5, 65)).computed == 0
    assert switch([0, 69, 200]).computed == 1


def test_growth_keeps_nothing_and_shrinking_back_gives_the_same_files(store, switch):
    switch(A)
    first = contents(store)
    switch(range(50))
    assert states(store) == []
    assert switch(A).kept == 10
    assert contents(store) == first


def test_the_oldest_states_are_removed_first(store, switch):
    collections = [range(first, first + 10) for first in (0, 100, 200, 300)]
    for numbers in collections:
        switch(numbers)
    sizes = [sum(path.stat().st_size for path in state.iterdir()) for state in states(store)]
    assert len(sizes) == 3
    switch(collections[0])  # the oldest is the newest now, and then the present one
    assert switch(range(400, 410), max_bytes=2.5 * max(sizes)).kept == 20
    assert switch(collections[0]).computed == 0
    assert switch(collections[3]).computed == 0
    assert switch(collections[1]).computed == 10


def test_a_limit_of_zero_keeps_nothing(store, switch):
    switch(A)
    switch(B)
    assert states(store)
    assert switch(A, max_bytes=0).kept == 0
    assert states(store) == []
    assert switch(B, max_bytes=0).computed == 30


def test_kept_shards_share_their_space_with_the_store(store, switch):
    switch(A)
    before = {path.name: path.stat().st_ino for path in store.glob("shard-*")}
    switch(range(100, 110))
    (state,) = states(store)
    assert {path.name: path.stat().st_ino for path in state.glob("shard-*")} == before
    FeatureStore.open(state).pieces("hash0001")


@pytest.mark.parametrize("link", ["refused", "symbolic"])
def test_states_are_copied_where_there_are_no_hard_links(tmp_path, store, switch, monkeypatch, link):
    switch(A)
    first = contents(store)
    if link == "symbolic":  # as DVC does where it cannot make hard links
        for path in list(store.glob("shard-*")):
            shutil.move(path, tmp_path / path.name)
            path.symlink_to(tmp_path / path.name)
    else:

        def refuse(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(shards.os, "link", refuse)
    switch(B)
    assert not any(path.is_symlink() for state in states(store) for path in state.iterdir())
    assert switch(A).computed == 0
    assert contents(store) == first


def test_a_full_disk_ends_an_update_and_keeps_the_store(store, switch, monkeypatch):
    switch(A)
    before = contents(store)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "link", refuse)
        with pytest.raises(OSError, match="No space"):
            switch(B)
    assert contents(store).items() >= before.items()
    assert_holds(store, *A)
    assert states(store) == []
    assert switch(B).computed == 0  # those of the interrupted update


@pytest.mark.parametrize("damage", ["index cut", "index gone", "other version", "shard cut", "shard gone", "leftover"])
def test_damaged_states_are_ignored(store, switch, damage):
    switch(A)
    first = contents(store)
    switch(B)
    (state,) = states(store)
    index, shard = state / "index.json", min(state.glob("shard-*.npy"))
    if damage == "index cut":
        index.write_text(index.read_text()[:-9])
    elif damage == "index gone":
        index.unlink()
    elif damage == "other version":
        write_checked_json(index, Index.load(state).content | {"key": "0" * 16})
    elif damage == "shard cut":
        content = shard.read_bytes()[:-1]
        shard.unlink()
        shard.write_bytes(content)
    elif damage == "shard gone":
        shard.unlink()
    else:
        (state.parent / "..x.01234567.tmp").mkdir()
        (state.parent / f".{state.name}.01234567.tmp").mkdir()
    report = switch(A)
    assert report.computed == {"index": 30, "other": 30, "shard": 16, "leftover": 0}[damage.split()[0]]
    if report.computed < 30:  # the same shards again
        assert contents(store) == first
    assert not list(state.parent.glob(".*"))


def test_an_update_that_is_killed_while_it_keeps_a_state_loses_nothing(tmp_path, store, switch):
    switch(A)
    first = contents(store)
    (tmp_path / "killed.py").write_text(
        textwrap.dedent("""
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from genreflow.features import kept, shards
        from genreflow.features.update import update
        from test_features_kept import B, SPEC, KeptStates, frames_of, items

        link = shards.link_shard
        def killed(*arguments):
            link(*arguments)
            os.kill(os.getpid(), 9)
        kept.link_shard = killed
        folder = Path(sys.argv[1])
        states = KeptStates(folder / "kept", 1e9)
        update(folder / "store", SPEC, items(*B), frames_of, n_jobs=1, kept=states, progress=False)
        """)
    )
    command = [sys.executable, tmp_path / "killed.py", tmp_path, Path(__file__).parent]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert_holds(store, *A)
    assert switch(B).computed == 0
    assert switch(A).computed == 0
    assert contents(store) == first


def test_any_flipped_bit_of_a_store_is_found_and_repaired(store, switch):
    switch(A)
    intact = contents(store)
    rng = np.random.default_rng(0)
    for name in intact:
        for _ in range(6):
            data = bytearray(intact[name])
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            (store / name).write_bytes(data)
            if name == "index.json" or name.endswith(".npy"):  # sidecars are read by updates only
                with pytest.raises(DamagedFileError) as refused:
                    read_all(store)
                assert refused.value.path == store / name
            report = switch(A)
            assert report.damaged == (name.removesuffix(".npy").removesuffix(".json") if "shard" in name else name,)
            assert report.computed == (0 if name == "index.json" else len(shard_tracks(store, name)))
            assert contents(store) == intact
    assert switch(A).damaged == ()


def read_all(store: Path) -> None:
    opened = FeatureStore.open(store)
    for key in opened:
        opened.pieces(key)


def shard_tracks(store: Path, name: str) -> list[str]:
    return [key for key, (shard, _) in Index.load(store).tracks.items() if shard in name]


def test_a_shard_of_several_jobs_is_repaired_as_it_was(store, switch, monkeypatch):
    """Computed with those of the other shards, its tracks would be in other ones."""
    switch(range(100))
    switch([*range(0, 100, 3), *range(200, 240)])  # rewrites shards
    intact = contents(store)
    for name in sorted(name for name in intact if name.endswith(".npy"))[:3]:
        (store / name).write_bytes(intact[name][:-1])
    report = switch([*range(0, 100, 3), *range(200, 240)])
    assert len(report.damaged) == 3
    assert contents(store) == intact


def test_a_damaged_shard_is_not_kept(store, switch):
    switch(A)
    shard = min(store.glob("shard-*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1])
    switch(range(100, 110))
    report = switch(A)
    assert report.computed in (8, 16)
    assert report.damaged == ()


def test_a_store_without_checksums_is_computed_again_without_a_warning(store, switch):
    """Earlier versions wrote none."""
    switch(A)
    for path in store.glob("*.json"):
        content = json.loads(path.read_text())
        former = {name: content[name] for name in ("key", "spec", "frames", "tracks") if name in content}
        path.write_text(json.dumps(former))
    report = switch(A)
    assert (report.computed, report.damaged) == (40, ())
    assert switch(A).computed == 0
