"""Near-duplicates: copies are found and linked to their originals, and different music is not."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import yaml

from genreflow.audit.candidates import find_candidates
from genreflow.audit.duplicates import NearDuplicate, near_duplicates
from genreflow.audit.fingerprint import Fingerprint, fingerprint
from genreflow.audit.recordings import recordings
from genreflow.datasets.demo import compose
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.features.logmel import LogMel
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore, update
from genreflow.manifest.track import Track

GTZAN = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtzan"
RATE = 22050
SPEC = FeatureSpec()
# Of a clip, 387 frames as spectrograms are published: 12.9 a second, not averaged.
IMPORTED = FeatureSpec(level_reference="minmax", frames_kept=387)
LATER = round(0.7 * RATE)


def gained(y: np.ndarray) -> np.ndarray:
    return y * 10 ** (-12 / 20)


def clipped(y: np.ndarray) -> np.ndarray:
    return np.clip(2 * y, -1, 1)


def cut(y: np.ndarray) -> np.ndarray:
    return y[LATER:]


def delayed(y: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(LATER, np.float32), y])


def mp3(y: np.ndarray) -> np.ndarray:
    """Through mp3 at 64 kbit/s."""
    file = io.BytesIO()
    # libsndfile has no knob for the rate itself; at 22,050 Hz this level is LAME's 64 kbit/s
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


# How each copy is made, and the offset and speed at which it is to be found.
COPIES = {
    "gain": (gained, 0.0, 1.0),
    "clipped": (clipped, 0.0, 1.0),
    "cut": (cut, -0.7, 1.0),
    "delayed": (delayed, 0.7, 1.0),
    "mp3": (mp3, 0.0, 1.0),
    "faster": (faster, 0.0, 1.01),
    "slower": (slower, 0.0, 0.99),
    "all": (lambda y: mp3(faster(cut(gained(y)))), -0.7 / 1.01, 1.01),
}


@cache
def transform(spec: FeatureSpec) -> LogMel:
    return LogMel(spec, make_filter_bank(spec))


def logmel(y: np.ndarray, spec: FeatureSpec = SPEC) -> np.ndarray:
    return transform(spec).clip(np.asarray(y, np.float32))


def open_store(directory: Path, frames: dict[str, np.ndarray | list], spec: FeatureSpec = SPEC):
    """Write a store; return its tracks, each with its id for a hash, and the store."""
    pieces = {name: value if isinstance(value, list) else [value] for name, value in frames.items()}
    update(directory, spec, pieces.items(), lambda arrays: arrays, n_jobs=1, progress=False)
    return [track_of(name) for name in frames], FeatureStore.open(directory)


def track_of(name: str) -> Track:
    return Track(id=name, genre="a", path=f"{name}.wav", group=f"track:{name}", group_source="track", hash=name)


def find(tracks, store, **options) -> dict[tuple[str, str], NearDuplicate]:
    return {(pair.first, pair.second): pair for pair in near_duplicates(tracks, store, progress=False, **options)}


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> dict[str, np.ndarray]:
    """Sixty tracks of 10 s; the two of an artist share their drums and voices."""
    folder = tmp_path_factory.mktemp("music")
    settings = {"seed": 5, "seconds": 10.0, "artists_per_genre": 3, "tracks_per_artist": 2}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    compose(folder / "settings.yaml", folder / "tracks", progress=False)
    files = sorted((folder / "tracks").rglob("*.flac"))
    return {file.stem: soundfile.read(file, dtype="float32")[0] for file in files}


@pytest.fixture(scope="module")
def frames(music) -> dict[str, np.ndarray]:
    return {name: logmel(y) for name, y in music.items()}


def test_no_false_alarms_among_different_tracks(frames, tmp_path):
    assert len(frames) == 60
    assert find(*open_store(tmp_path, frames)) == {}


def test_copies_are_found_and_linked_to_their_originals(music, frames, tmp_path):
    planted = {
        f"{name}~{kind}": logmel(copy(music[name]))
        for name in list(music)[::6]
        for kind, (copy, _, _) in COPIES.items()
    }
    pairs = find(*open_store(tmp_path, frames | planted))
    assert {pair for pair in pairs if pair[0].split("~")[0] != pair[1].split("~")[0]} == set()
    for copy in planted:
        original, kind = copy.split("~")
        _, offset, speed = COPIES[kind]
        pair = pairs[original, copy]
        assert pair.similarity > 0.6
        assert pair.offset == pytest.approx(offset, abs=0.05)
        assert pair.speed == pytest.approx(speed, abs=0.006)


@pytest.mark.parametrize("kind", ["gain", "cut", "mp3"])
def test_copies_are_found_among_imported_spectrograms(kind, music, tmp_path):
    copy, offset, _ = COPIES[kind]
    names = list(music)[::4]
    originals = {name: logmel(music[name], IMPORTED) for name in names}
    planted = {f"{name}~": logmel(copy(music[name]), IMPORTED) for name in names}
    pairs = find(*open_store(tmp_path, originals | planted, IMPORTED))
    assert set(pairs) == {(name, f"{name}~") for name in names}
    assert [pair.offset for pair in pairs.values()] == pytest.approx([offset] * len(names), abs=0.05)


def test_an_excerpt_is_found_in_a_track_many_times_as_long(frames, tmp_path):
    long = np.concatenate(list(frames.values()))  # ten minutes
    begin = 30 * SPEC.frame_rate
    excerpt = long[round(begin) : round(begin) + SPEC.frames(8)]
    (pair,) = find(*open_store(tmp_path, {"excerpt": excerpt, "long": long})).values()
    assert pair.offset == pytest.approx(30, abs=0.05)
    assert pair.similarity > 0.95


def test_a_long_copy_is_followed_where_it_drifts_by_seconds(music, tmp_path):
    y = np.concatenate(list(music.values())[:12])
    spec = replace(SPEC, clip_seconds=400.0)
    tracks, store = open_store(tmp_path, {"a": logmel(y, spec), "b": logmel(faster(y), spec)}, spec)
    (pair,) = find(tracks, store).values()
    assert pair.similarity > 0.7
    assert pair.offset == pytest.approx(0, abs=0.2)
    assert pair.speed == pytest.approx(1.01, abs=0.0005)


@pytest.mark.parametrize("n_mels", [1, 2, 40, 96])
@pytest.mark.parametrize("kept", [30, 120, 387])
def test_coarse_spectrograms_raise_no_false_alarms(n_mels, kept, music, tmp_path):
    spec = replace(IMPORTED, n_mels=n_mels, frames_kept=kept)
    few = {name: logmel(y, spec) for name, y in list(music.items())[:6]}
    few |= {f"{name}~": cells[:-2] for name, cells in few.items()}
    pairs = find(*open_store(tmp_path, few, spec))
    assert set(pairs) <= {(name, f"{name}~") for name in few}


def test_pieces_of_a_track_count_as_its_whole(frames, tmp_path):
    whole = next(iter(frames.values()))
    pieces = [whole[:200].copy(), whole[200:].copy()]
    assert list(find(*open_store(tmp_path, {"pieces": pieces, "whole": whole}))) == [("pieces", "whole")]


def test_of_exact_duplicates_the_first_stands_for_all(frames, tmp_path):
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path, {"m": y, "n": y[30:]})
    twin = replace(track_of("m"), id="b")
    assert list(find([*tracks, twin], store)) == [("b", "n")]


def test_a_recording_that_is_there_very_often_is_connected_not_paired_out(frames, tmp_path):
    original = next(iter(frames.values()))
    copies = {f"copy {number:02}": np.maximum(original, number).astype(np.uint8) for number in range(30)}
    tracks, store = open_store(tmp_path, copies)
    found = find(tracks, store)
    assert 29 <= len(found) < 100  # of 435
    (cluster,) = recordings(tracks, found.values())
    assert cluster == tuple(copies)


def test_ids_not_the_order_of_the_tracks_say_which_comes_first(frames, tmp_path):
    y = next(iter(frames.values()))
    tracks, store = open_store(tmp_path, {"z": y, "a": y[30:]})
    forward, backward = find(tracks, store), find(tracks[::-1], store)
    assert forward == backward
    assert forward["a", "z"].offset == pytest.approx(30 / SPEC.frame_rate, abs=0.05)


@pytest.mark.parametrize("count", [0, 1])
def test_none_among_fewer_than_two_tracks(count, frames, tmp_path):
    tracks, store = open_store(tmp_path, dict(list(frames.items())[:count]))
    assert find(tracks, store, cache=tmp_path / "cache") == {}


def test_silence_and_what_is_too_short_are_nobodys_copies(frames, tmp_path):
    y = next(iter(frames.values()))
    short = {f"short{n}": y[:n] for n in (1, 2, 5, 20, 60, SPEC.frames(2.9))}
    silent = {f"silent{n}": np.zeros((n, SPEC.n_mels), np.uint8) for n in (100, 431)}
    constant = {f"constant{n}": np.full((n, SPEC.n_mels), 200, np.uint8) for n in (100, 431)}
    assert find(*open_store(tmp_path, {"whole": y} | short | silent | constant)) == {}


def test_tracks_without_features_are_passed_over(frames, tmp_path):
    tracks, store = open_store(tmp_path, dict(list(frames.items())[:2]))
    broken = replace(track_of("broken"), hash=None)
    assert find([*tracks, broken, track_of("elsewhere")], store) == {}


def test_the_cache_changes_nothing_and_spares_what_it_holds(frames, tmp_path, monkeypatch):
    from genreflow.audit import duplicates

    names = list(frames)[:6]
    held = {name: frames[name] for name in names}
    copies = {f"{name}~": frames[name][30:] for name in names[:3]}
    tracks, store = open_store(tmp_path / "store", held | copies)
    kept = tmp_path / "hidden" / "fingerprints"
    plain = find(tracks, store)
    assert len(plain) == 3

    computed = []
    monkeypatch.setattr(duplicates, "fingerprint", lambda *of: computed.append(of) or fingerprint(*of))
    find(tracks[:-2], store, cache=kept)
    assert len(computed) == len(tracks) - 2
    assert find(tracks, store, cache=kept) == plain
    assert len(computed) == len(tracks)
    assert find(tracks, store, cache=kept) == plain
    assert len(computed) == len(tracks)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert find(tracks, store, cache=kept) == plain
    assert len(computed) == 2 * len(tracks)
    assert [file.name for file in kept.parent.iterdir()] == ["fingerprints"]


def test_a_cache_of_another_spec_is_not_used(frames, tmp_path):
    few, kept = dict(list(frames.items())[:2]), tmp_path / "fingerprints"
    tracks, store = open_store(tmp_path / "one", few)
    find(tracks, store, cache=kept)
    slow = replace(SPEC, hop_length=1024)
    other = {name: cells[::2] for name, cells in few.items()}
    other["copy"] = other[tracks[0].id][20:]
    tracks, store = open_store(tmp_path / "two", other, slow)
    assert find(tracks, store, cache=kept) == find(tracks, store) != {}


def test_a_hash_common_to_all_tracks_makes_no_candidates():
    rng = np.random.default_rng(0)
    times = rng.uniform(0, 9000, (100, 200)).astype(np.float32)
    assert list(find_candidates([Fingerprint(np.zeros(200, np.uint32), of_track) for of_track in times])) == []


@pytest.mark.slow
@pytest.mark.skipif(not GTZAN.is_dir(), reason="no GTZAN material beside the project")
@pytest.mark.parametrize("spec", [SPEC, IMPORTED], ids=["audio", "imported"])
def test_real_tracks(spec, tmp_path):
    frames, planted = {}, {}
    for file in sorted((GTZAN / "audio").rglob("*.flac")):
        y = soundfile.read(file, dtype="float32")[0]
        frames[file.stem] = logmel(y, spec)
        planted |= {f"{file.stem}~{kind}": logmel(copy(y), spec) for kind, (copy, _, _) in COPIES.items()}
    pairs = find(*open_store(tmp_path, frames | planted))
    assert {pair for pair in pairs if pair[0].split("~")[0] != pair[1].split("~")[0]} == set()
    for kind in COPIES:
        found = [(name, f"{name}~{kind}") in pairs for name in frames]
        assert np.mean(found) >= 0.98
