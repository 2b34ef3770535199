"""Near-duplicates: copies are found and aligned with their originals, and different music is not confused."""

import errno
import io
import os
import resource
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import yaml

from genreflow.audit import alignment, duplicates, search_cache
from genreflow.audit import candidates as audit_candidates
from genreflow.audit.alignment import align
from genreflow.audit.candidates import find_candidates
from genreflow.audit.duplicates import NearDuplicate, find_near_duplicates
from genreflow.audit.fingerprint import Fingerprint, fingerprint
from genreflow.audit.recordings import recording_clusters
from genreflow.audit.search_cache import SearchCache
from genreflow.datasets.demo import compose
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.manifest.track import Track
from gtzan_excerpts import GTZAN, needs_gtzan

RATE = 22050
SPEC = FeatureSpec()
# Spectrograms as published: 387 frames per clip, that is 12.9 per second, not averaged.
IMPORTED = FeatureSpec(level_reference="minmax", frames_kept=387)
DELAY = round(0.7 * RATE)


def attenuated(y: np.ndarray) -> np.ndarray:
    return y * 10 ** (-12 / 20)


def clipped(y: np.ndarray) -> np.ndarray:
    return np.clip(2 * y, -1, 1)


def trimmed(y: np.ndarray) -> np.ndarray:
    return y[DELAY:]


def delayed(y: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(DELAY, np.float32), y])


def mp3(y: np.ndarray) -> np.ndarray:
    """Encode and decode as mp3 at 64 kbit/s."""
    file = io.BytesIO()
    # libsndfile has no option for the bit rate; at 22,050 Hz this compression level is 64 kbit/s in LAME
    soundfile.write(
        file, y, RATE, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.6
    )
    assert file.tell() * 8 / (len(y) / RATE) == pytest.approx(64_000, rel=0.05)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def faster(y: np.ndarray) -> np.ndarray:
    return soxr.resample(y, 1.01 * RATE, RATE)


def slower(y: np.ndarray) -> np.ndarray:
    return soxr.resample(y, 0.99 * RATE, RATE)


# How each copy is made, and its offset [s] and speed.
COPIES = {
    "gain": (attenuated, 0.0, 1.0),
    "clipped": (clipped, 0.0, 1.0),
    "trimmed": (trimmed, -0.7, 1.0),
    "delayed": (delayed, 0.7, 1.0),
    "mp3": (mp3, 0.0, 1.0),
    "faster": (faster, 0.0, 1.01),
    "slower": (slower, 0.0, 0.99),
    "all": (lambda y: mp3(faster(trimmed(attenuated(y)))), -0.7 / 1.01, 1.01),
}


@cache
def transform(spec: FeatureSpec) -> LogMel:
    return LogMel(spec, make_filter_bank(spec))


def logmel(y: np.ndarray, spec: FeatureSpec = SPEC) -> np.ndarray:
    return transform(spec).clip(np.asarray(y, np.float32))


def open_store(directory: Path, frames: dict[str, np.ndarray | list], spec: FeatureSpec = SPEC):
    """Write a store; return its tracks, whose hashes are their ids, and the store."""
    pieces = {name: value if isinstance(value, list) else [value] for name, value in frames.items()}
    update(directory, spec, pieces.items(), lambda arrays: arrays, n_jobs=1, progress=False)
    return [make_track(name) for name in frames], FeatureStore.open(directory)


def make_track(name: str) -> Track:
    return Track(id=name, genre="a", path=f"{name}.wav", group=f"track:{name}", group_source="track", hash=name)


def find(tracks, store, **options) -> dict[tuple[str, str], NearDuplicate]:
    pairs = find_near_duplicates(tracks, store, progress=False, **options)
    return {(pair.first, pair.second): pair for pair in pairs}


def confused(pairs) -> set[tuple[str, str]]:
    """Return the pairs of different tracks; ids of copies are ``<original>~<kind>``."""
    return {pair for pair in pairs if pair[0].split("~")[0] != pair[1].split("~")[0]}


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> dict[str, np.ndarray]:
    """Sixty tracks of 10 s; the two tracks of an artist share drums and instruments."""
    folder = tmp_path_factory.mktemp("music")
    settings = {"seed": 5, "seconds": 10.0, "artists_per_genre": 3, "tracks_per_artist": 2}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    compose(folder / "settings.yaml", folder / "tracks", progress=False)
    files = sorted((folder / "tracks").rglob("*.flac"))
    return {file.stem: soundfile.read(file, dtype="float32")[0] for file in files}


@pytest.fixture(scope="module")
def frames(music) -> dict[str, np.ndarray]:
    return {name: logmel(y) for name, y in music.items()}


def test_different_tracks_are_not_confused(frames, tmp_path):
    assert len(frames) == 60
    assert find(*open_store(tmp_path, frames)) == {}


def test_copies_are_found_and_aligned(music, frames, tmp_path):
    copies = {
        f"{name}~{kind}": logmel(make_copy(music[name]))
        for name in list(music)[::6]
        for kind, (make_copy, _, _) in COPIES.items()
    }
    pairs = find(*open_store(tmp_path, frames | copies))
    assert confused(pairs) == set()
    for copy in copies:
        original, kind = copy.split("~")
        _, offset, speed = COPIES[kind]
        pair = pairs[original, copy]
        assert pair.similarity > 0.6
        assert pair.offset == pytest.approx(offset, abs=0.05)
        assert pair.speed == pytest.approx(speed, abs=0.006)


@pytest.mark.parametrize("kind", ["gain", "trimmed", "mp3"])
def test_copies_are_found_among_imported_spectrograms(kind, music, tmp_path):
    make_copy, offset, _ = COPIES[kind]
    names = list(music)[::4]
    originals = {name: logmel(music[name], IMPORTED) for name in names}
    copies = {f"{name}~": logmel(make_copy(music[name]), IMPORTED) for name in names}
    pairs = find(*open_store(tmp_path, originals | copies, IMPORTED))
    assert set(pairs) == {(name, f"{name}~") for name in names}
    assert [pair.offset for pair in pairs.values()] == pytest.approx([offset] * len(names), abs=0.05)


def test_excerpt_is_found_in_a_long_track(frames, tmp_path):
    long = np.concatenate(list(frames.values()))  # ten minutes
    begin = 30 * SPEC.frame_rate
    excerpt = long[round(begin) : round(begin) + SPEC.frames(8)]
    (pair,) = find(*open_store(tmp_path, {"excerpt": excerpt, "long": long})).values()
    assert pair.offset == pytest.approx(30, abs=0.05)
    assert pair.similarity > 0.95


def test_long_copy_at_another_speed_is_aligned_although_it_drifts_by_seconds(music, tmp_path):
    y = np.concatenate(list(music.values())[:12])
    spec = SPEC.replace(clip_seconds=400.0)
    tracks, store = open_store(tmp_path, {"a": logmel(y, spec), "b": logmel(faster(y), spec)}, spec)
    (pair,) = find(tracks, store).values()
    assert pair.similarity > 0.7
    assert pair.offset == pytest.approx(0, abs=0.2)
    assert pair.speed == pytest.approx(1.01, abs=0.0005)


@pytest.mark.parametrize("n_mels", [1, 2, 40, 96])
@pytest.mark.parametrize("kept", [30, 120, 387])
def test_coarse_spectrograms_are_not_confused(n_mels, kept, music, tmp_path):
    spec = IMPORTED.replace(n_mels=n_mels, frames_kept=kept)
    few = {name: logmel(y, spec) for name, y in list(music.items())[:6]}
    few |= {f"{name}~": cells[:-2] for name, cells in few.items()}
    pairs = find(*open_store(tmp_path, few, spec))
    assert set(pairs) <= {(name, f"{name}~") for name in few}


def test_pieces_of_a_track_are_compared_as_a_whole(frames, tmp_path):
    whole = next(iter(frames.values()))
    pieces = [whole[:200].copy(), whole[200:].copy()]
    assert list(find(*open_store(tmp_path, {"pieces": pieces, "whole": whole}))) == [("pieces", "whole")]


def test_exact_duplicates_are_represented_by_the_first_id(frames, tmp_path):
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path, {"m": y, "n": y[30:]})
    twin = replace(make_track("m"), id="b")
    assert list(find([*tracks, twin], store)) == [("b", "n")]


def test_many_copies_are_connected_without_reporting_every_pair(frames, tmp_path):
    original = next(iter(frames.values()))
    copies = {f"copy {number:02}": np.maximum(original, number).astype(np.uint8) for number in range(30)}
    tracks, store = open_store(tmp_path, copies)
    pairs = find(tracks, store)
    assert 29 <= len(pairs) < 100  # of 435
    (cluster,) = recording_clusters(tracks, pairs.values())
    assert cluster == tuple(copies)


def test_pairs_are_ordered_by_id_whatever_the_order_of_the_tracks(frames, tmp_path):
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path, {"z": y, "a": y[30:]})
    forward, backward = find(tracks, store), find(tracks[::-1], store)
    assert forward == backward
    assert forward["a", "z"].offset == pytest.approx(30 / SPEC.frame_rate, abs=0.05)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_tracks_have_no_pairs(count, frames, tmp_path):
    tracks, store = open_store(tmp_path, dict(list(frames.items())[:count]))
    assert find(tracks, store, cache=tmp_path / "cache") == {}


def test_silent_and_short_tracks_are_no_copies(frames, tmp_path):
    y = next(iter(frames.values()))
    short = {f"short{n}": y[:n] for n in (1, 2, 5, 20, 60, SPEC.frames(2.9))}
    silent = {f"silent{n}": np.zeros((n, SPEC.n_mels), np.uint8) for n in (100, 431)}
    constant = {f"constant{n}": np.full((n, SPEC.n_mels), 200, np.uint8) for n in (100, 431)}
    assert find(*open_store(tmp_path, {"whole": y} | short | silent | constant)) == {}


def test_tracks_without_features_are_skipped(frames, tmp_path):
    tracks, store = open_store(tmp_path, dict(list(frames.items())[:2]))
    unreadable = replace(make_track("unreadable"), hash=None)
    assert find([*tracks, unreadable, make_track("not in the store")], store) == {}


def test_cache_saves_fingerprinting_and_does_not_change_the_result(frames, tmp_path, monkeypatch):
    names = list(frames)[:6]
    originals = {name: frames[name] for name in names}
    copies = {f"{name}~": frames[name][30:] for name in names[:3]}
    tracks, store = open_store(tmp_path / "store", originals | copies)
    cache_file = tmp_path / "hidden" / "fingerprints"
    expected = find(tracks, store)
    assert len(expected) == 3

    computed = []
    monkeypatch.setattr(duplicates, "fingerprint", lambda *of: computed.append(of) or fingerprint(*of))
    find(tracks[:-2], store, cache=cache_file)
    assert len(computed) == len(tracks) - 2
    assert find(tracks, store, cache=cache_file) == expected
    assert len(computed) == len(tracks)
    assert find(tracks, store, cache=cache_file) == expected
    assert len(computed) == len(tracks)
    cache_file.write_bytes(cache_file.read_bytes()[:1000])
    assert find(tracks, store, cache=cache_file) == expected
    assert len(computed) == 2 * len(tracks)
    assert [file.name for file in cache_file.parent.iterdir()] == ["fingerprints"]


def test_only_new_candidates_are_aligned_and_only_new_tracks_read(frames, tmp_path, monkeypatch):
    names = list(frames)[:6]
    tracks, store = open_store(
        tmp_path / "store", {name: frames[name] for name in names} | {f"{name}~": frames[name][30:] for name in names}
    )
    cache_file, audits = tmp_path / "fingerprints", [tracks[:-2], tracks, tracks, tracks[:4], tracks[3:]]
    expected = [find(some, store) for some in audits]
    assert [len(pairs) for pairs in expected] == [4, 6, 6, 0, 3]

    aligned = []
    monkeypatch.setattr(duplicates, "align", lambda *of, **options: aligned.append(of) or align(*of, **options))
    counts = []
    for some, pairs in zip(audits, expected, strict=True):
        assert find(some, store, cache=cache_file) == pairs
        counts.append(len(aligned))
    assert counts[0] >= 4
    assert counts[1] >= counts[0] + 2
    assert counts[2] == counts[1]

    find(tracks, store, cache=cache_file)
    monkeypatch.setattr(FeatureStore, "_array", None)  # no shard may be opened
    assert find(tracks, FeatureStore.open(tmp_path / "store"), cache=cache_file) == expected[1]


def test_a_limited_number_of_alignments_is_cached(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(search_cache, "_MAX_ALIGNMENTS", 1)
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path / "store", {"a": y, "b": y[30:], "c": y[60:]})
    expected = find(tracks, store)
    for _ in range(2):
        assert find(tracks, store, cache=tmp_path / "cache") == expected
    assert len(SearchCache(tmp_path / "cache", SPEC).alignments) == 1


def test_alignments_of_another_version_are_not_used(frames, tmp_path, monkeypatch):
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path / "store", {"a": y, "b": y[30:]})
    find(tracks, store, cache=tmp_path / "cache")
    assert SearchCache(tmp_path / "cache", SPEC).alignments
    monkeypatch.setattr(alignment, "VERSION", 99)
    assert not SearchCache(tmp_path / "cache", SPEC).alignments


def test_cache_of_another_spec_is_not_used(frames, tmp_path):
    few, cache_file = dict(list(frames.items())[:2]), tmp_path / "fingerprints"
    tracks, store = open_store(tmp_path / "one", few)
    find(tracks, store, cache=cache_file)
    slow = SPEC.replace(hop_length=1024)
    other = {name: cells[::2] for name, cells in few.items()}
    other["copy"] = other[tracks[0].id][20:]
    tracks, store = open_store(tmp_path / "two", other, slow)
    assert find(tracks, store, cache=cache_file) == find(tracks, store) != {}


def test_hash_common_to_all_tracks_gives_no_candidates(tmp_path):
    rng = np.random.default_rng(0)
    times = rng.uniform(0, 9000, (100, 200)).astype(np.float32)
    fingerprints = [Fingerprint(np.zeros(200, np.uint32), track_times) for track_times in times]
    assert list(find_candidates(enumerate(fingerprints), tmp_path, n_hashes=20_000)) == []


def common_fingerprint(rng: np.random.Generator, peaks: int = 60) -> Fingerprint:
    """Three hashes of each peak with the same second peak; all hashes are among 2,048, so that none is rare."""
    third = rng.permuted(np.tile(np.arange(32, dtype=np.uint32), (peaks, 1)), axis=1)[:, :3]
    hashes = (rng.integers(0, 64, (peaks, 1), dtype=np.uint32) << 10) | third
    times = np.sort(rng.uniform(0, 30, peaks).astype(np.float32))
    return Fingerprint(hashes.ravel(), np.repeat(times, 3))


def later_copy(one: Fingerprint, rng: np.random.Generator) -> Fingerprint:
    """Seven of ten hashes, 0.7 s later."""
    kept = rng.random(len(one.hashes)) < 0.7
    return Fingerprint(one.hashes[kept], one.times[kept] + np.float32(0.7))


def candidates(fingerprints, directory: Path) -> list:
    directory.mkdir(exist_ok=True)
    found = list(find_candidates(enumerate(fingerprints), directory, n_hashes=sum(len(f.hashes) for f in fingerprints)))
    assert list(directory.iterdir()) == []
    return found


def test_copies_are_candidates_however_common_their_hashes_are(tmp_path):
    rng = np.random.default_rng(0)
    originals = [common_fingerprint(rng) for _ in range(500)]
    _, counts = np.unique(np.concatenate([one.hashes for one in originals]), return_counts=True)
    assert counts.min() > 16
    found = candidates([*originals, *(later_copy(one, rng) for one in originals[::25])], tmp_path / "search")
    assert [(one.first, one.second) for one in found] == [(25 * number, 500 + number) for number in range(20)]
    assert [one.shift for one in found] == pytest.approx([0.7] * 20, abs=0.01)


def test_candidates_do_not_depend_on_the_number_of_files_or_the_order_of_tracks(frames, tmp_path, monkeypatch):
    fingerprints = [fingerprint(cells, SPEC.frame_rate) for cells in frames.values()]
    fingerprints += [fingerprint(cells[30:], SPEC.frame_rate) for cells in list(frames.values())[:9]]
    fingerprints.append(Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.float32)))
    expected = candidates(fingerprints, tmp_path / "search")
    assert len(expected) >= 9
    monkeypatch.setattr(audit_candidates, "_FILE_ROWS", 1000)
    assert candidates(fingerprints, tmp_path / "search") == expected
    backwards = reversed(list(enumerate(fingerprints)))
    assert list(find_candidates(backwards, tmp_path / "search", n_hashes=10**5)) == expected


def test_memory_of_the_search_for_candidates_does_not_grow_with_the_tracks(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_candidates, "_FILE_ROWS", 1 << 14)

    def peak(n_tracks: int) -> int:
        rng = np.random.default_rng(0)
        made = ((number, Fingerprint(rng.integers(0, 2**26, 180, np.uint32), rng.uniform(0, 30, 180).astype("f4")))
                for number in range(n_tracks))  # fmt: skip
        tracemalloc.start()
        for _ in find_candidates(made, tmp_path, n_hashes=180 * n_tracks):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The smaller of two: Python's table of interned names, to which paths add theirs, may grow by megabytes in one.
    few, many = (min(peak(n_tracks), peak(n_tracks)) for n_tracks in (400, 4000))
    assert many < 3 * few  # a number and a time of each track are kept


def test_what_a_killed_search_left_is_removed(frames, tmp_path):
    left = tmp_path / ".cache.0123abcd.tmp"
    left.mkdir()
    (left / "hashes0").write_bytes(bytes(64))
    find(*open_store(tmp_path / "store", dict(list(frames.items())[:2])), cache=tmp_path / "cache")
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "store"}


def test_a_full_disk_leaves_the_cache_and_nothing_else(frames, tmp_path):
    tracks, store = open_store(tmp_path / "store", dict(list(frames.items())[:20]))
    find(tracks[:10], store, cache=tmp_path / "cache")
    before = (tmp_path / "cache").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size, kept in ((len(before) + 1000, True), (3 * len(before), False)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                find(tracks, store, cache=tmp_path / "cache")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert ((tmp_path / "cache").read_bytes() == before) is kept  # new fingerprints are kept once they are complete
        assert {path.name for path in tmp_path.iterdir()} == {"cache", "store"}
    assert find(tracks, store, cache=tmp_path / "cache") == find(tracks, store)


@pytest.fixture(scope="module")
def real() -> dict[FeatureSpec, dict[str, np.ndarray]]:
    """Spectrograms of the excerpts and their copies by spec; making the copies takes longest."""
    frames = {SPEC: {}, IMPORTED: {}}
    for file in sorted((GTZAN / "audio").rglob("*.flac")):
        y = soundfile.read(file, dtype="float32")[0]
        versions = {file.stem: y} | {f"{file.stem}~{kind}": make_copy(y) for kind, (make_copy, _, _) in COPIES.items()}
        for spec, of_spec in frames.items():
            of_spec |= {name: logmel(version, spec) for name, version in versions.items()}
    return frames


@pytest.mark.slow
@needs_gtzan
@pytest.mark.parametrize("spec", [SPEC, IMPORTED], ids=["audio", "imported"])
def test_real_tracks(spec, real, tmp_path):
    pairs = find(*open_store(tmp_path, real[spec], spec))
    assert confused(pairs) == set()
    names = [name for name in real[spec] if "~" not in name]
    for kind in COPIES:
        found = [(name, f"{name}~{kind}") in pairs for name in names]
        assert np.mean(found) >= 0.98
