"""The audit finds every kind of fault."""

import json
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from encoded import encode
from genreflow.audit.directory import audit_directory
from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.faults import Audit
from genreflow.audit.kinds import KINDS
from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.audit.recordings import recording_clusters
from genreflow.audit.summary import format_audit
from genreflow.datasets.featurize import update_features
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

RATE = 8000


def noise(seed: int, seconds: float = 2.0, level: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-level, level, round(RATE * seconds))


def melody(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Random plucked notes over low noise, with enough spectral peaks for fingerprints."""
    rng = np.random.default_rng(seed)
    y = 0.002 * rng.standard_normal(round(RATE * seconds))
    for _ in range(round(8 * seconds)):
        t = np.arange(rng.integers(RATE // 8, RATE)) / RATE
        note = sum(np.sin(2 * np.pi * 110 * 2 ** (rng.integers(36) / 12) * k * t) / k for k in (1, 2, 3))
        begin = rng.integers(len(y) - len(t))
        y[begin : begin + len(t)] += 0.05 * note * np.exp(-t * rng.uniform(3, 9))
    return y


def write(path, y, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, y, rate, **options)
    return path


def edit_bytes(path, edit):
    """Apply `edit` to the bytes of a file; it changes them in place or returns new ones."""
    data = bytearray(path.read_bytes())
    path.write_bytes(edit(data) or data)


def set_header(form: str, offset: int, value: int):
    """Return an edit that writes an integer into a header."""
    return lambda data: struct.pack_into(form, data, offset, value)


def audit_folder(folder, **params) -> Audit:
    return audit_directory(folder, AuditParams(**params), n_jobs=1, progress=False)


def rows(audit: Audit) -> list[tuple[str, str, bool]]:
    return [(fault.track, fault.code, fault.leave_out) for fault in audit.faults]


def messages(audit: Audit, code: str) -> list[str]:
    return [fault.message for fault in audit.faults if fault.code == code]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A folder with every fault of a single file, exact duplicates, and tracks without faults."""
    folder = tmp_path_factory.mktemp("faulty") / "music"
    write(folder / "blues/ann/good.wav", noise(1))
    write(folder / "blues/ann/same.flac", sf.read(folder / "blues/ann/good.wav")[0])
    write(folder / "blues/ann/silent.wav", np.zeros(2 * RATE))
    write(folder / "blues/ann/silent too.wav", np.zeros(2 * RATE))
    write(folder / "blues/ann/faint.wav", noise(2, level=5e-4))
    write(folder / "blues/ann/short.wav", noise(3, seconds=0.5))
    write(folder / "blues/bob/shared.wav", noise(4))
    write(folder / "rock/bob/shared too.wav", noise(4))
    write(folder / "rock/cy/nan.wav", np.r_[noise(5), np.nan], subtype="FLOAT")
    write(folder / "rock/cy/no samples.wav", np.zeros(0))
    for number, suffix in enumerate(("wav", "au", "flac", "mp3")):
        truncated = write(folder / f"rock/cut/{suffix}.{suffix}", noise(60 + number, seconds=20))
        edit_bytes(truncated, lambda data: data[: len(data) // 2])
    write(folder / "rock/eve/offset.wav", np.full(2 * RATE, 0.2))
    write(folder / "rock/eve/opposite.wav", np.stack([noise(70), -noise(70)], axis=1))
    damaged = bytearray(encode(noise(71, seconds=8), 44100, "aac"))
    for begin in range(2000, len(damaged), 1500):
        damaged[begin : begin + 150] = bytes(150)
    (folder / "rock/eve/damaged.aac").write_bytes(damaged)
    write(folder / "rock/dee/loud.wav", np.clip(noise(7, level=4.0), -1, 1))
    write(folder / "rock/dee/peak.wav", np.clip(noise(8, level=1.0), -1, 1))
    edit_bytes(write(folder / "rock/dee/rate.wav", noise(9, seconds=4)), set_header("<I", 24, 2 * RATE))
    write(folder / "rock/dee/slow.wav", noise(10), rate=2000)
    edit_bytes(write(folder / "rock/dee/more.wav", noise(11, seconds=8)), set_header("<I", 40, 2 * 5 * RATE))
    au = write(folder / "rock/dee/more.au", noise(12, seconds=8), subtype="PCM_16")
    edit_bytes(au, set_header(">I", 8, 2 * 5 * RATE))
    (folder / "rock/cy/text.wav").write_text("no music")
    (folder / "rock/cy/empty.mp3").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def audit(faulty) -> Audit:
    before = sorted((path, path.stat().st_mtime_ns) for path in faulty.parent.rglob("*"))
    audit = audit_folder(faulty)
    assert sorted((path, path.stat().st_mtime_ns) for path in faulty.parent.rglob("*")) == before
    return audit


def test_every_fault_is_found(audit, faulty):
    assert sorted(rows(audit)) == sorted([
        ("blues/ann/same", "duplicate", True),
        ("blues/ann/silent", "silent", True),
        ("blues/ann/silent too", "silent", True),
        ("blues/ann/faint", "silent", True),
        ("blues/ann/short", "too_short", True),
        ("blues/bob/shared", "conflicting_labels", True),
        ("rock/bob/shared too", "conflicting_labels", True),
        ("blues/bob/shared", "artist_in_genres", False),
        ("rock/cy/nan", "unusable", True),
        ("rock/cy/no samples", "unusable", True),
        ("rock/cut/wav", "truncated", False),
        ("rock/cut/au", "truncated", False),
        ("rock/cut/flac", "truncated", False),
        ("rock/cut/mp3", "truncated", False),
        ("rock/eve/damaged", "damaged", False),
        ("rock/eve/offset", "constant_offset", True),
        ("rock/eve/opposite", "opposite_phase", False),
        ("rock/dee/loud", "clipped", False),
        ("rock/dee/rate", "declared_rate", False),
        ("rock/dee/slow", "declared_rate", False),
        ("rock/dee/more.wav", "declared_length", False),
        ("rock/dee/more.au", "declared_length", False),
        ("rock/cy/text", "undecodable", True),
        ("rock/cy/empty", "undecodable", True),
    ])  # fmt: skip
    assert audit.genres == {"blues": {"tracks": 7, "usable": 1}, "rock": {"tracks": 18, "usable": 12}}
    assert (audit.tracks, audit.usable, audit.flagged) == (25, 13, 11)
    assert audit.counts["silent"] == 3
    assert audit.clusters == (("blues/ann/good", "blues/ann/same"), ("blues/bob/shared", "rock/bob/shared too"))
    for fault in audit.faults:
        assert fault.code in KINDS
        assert fault.message.endswith(".")
        assert str(faulty) not in fault.message


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ("rock/cy/empty", ["rock/cy/empty.mp3"]),
        ("rock/cy/text", ["rock/cy/text.wav"]),
        ("rock/cy/nan", ["rock/cy/nan.wav", "NaN"]),
        ("rock/cy/no samples", ["rock/cy/no samples.wav"]),
        ("blues/ann/silent", ["audit.silence_db", "-60", "zero"]),
        ("blues/ann/faint", ["audit.silence_db", "-60", "-66"]),
        ("blues/ann/short", ["audit.min_seconds", "1 s", "0.5 s"]),
        ("blues/ann/same", ["blues/ann/same.flac", "blues/ann/good.wav"]),
        ("rock/bob/shared too", ["blues/bob/shared (blues), rock/bob/shared too (rock)"]),
        ("blues/bob/shared", ["bob", "blues (1), rock (1)"]),
        ("rock/cut/wav", ["20.00 s", "10.00 s"]),
        ("rock/cut/au", ["20.00 s", "10.00 s"]),
        ("rock/cut/flac", ["20.00 s"]),
        ("rock/cut/mp3", ["20.00 s"]),
        ("rock/eve/damaged", ["rock/eve/damaged.aac", "%"]),
        ("rock/eve/offset", ["rock/eve/offset.wav", "0.2"]),
        ("rock/eve/opposite", ["rock/eve/opposite.wav", "dB"]),
        ("rock/dee/loud", ["rock/dee/loud.wav", "audit.clipped_share", "0.001"]),
        ("rock/dee/rate", ["16000 Hz", "8000 Hz"]),
        ("rock/dee/slow", ["2000 Hz", "4000 Hz"]),
        ("rock/dee/more.wav", ["5.00 s", "8.00 s"]),
        ("rock/dee/more.au", ["5.00 s", "8.00 s"]),
    ],
)
def test_message_names_file_parameter_and_values(audit, track, expected):
    message = " ".join(fault.message for fault in audit.faults if fault.track == track)
    for word in expected:
        assert word in message


def test_thresholds_are_parameters(faulty):
    audit = audit_folder(faulty, min_seconds=0.4, silence_db=-80, clipped_share=0.9, near_duplicates=False)
    codes = ("silent", "too_short", "clipped")
    assert {fault.track for fault in audit.faults if fault.code in codes} == {
        "blues/ann/silent",
        "blues/ann/silent too",
    }
    assert not audit.compared


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """The audit of a folder with near-duplicates, and the folder."""
    folder = tmp_path_factory.mktemp("near") / "music"
    song, shared = melody(1), melody(2)
    write(folder / "jazz/a/song.wav", song)
    write(folder / "jazz/b/louder.flac", 1.6 * song)
    write(folder / "jazz/c/late.wav", np.r_[np.zeros(round(0.7 * RATE)), song])
    write(folder / "jazz/d/coded.mp3", song, bitrate_mode="CONSTANT", compression_level=0.9)
    write(folder / "jazz/e/shared.wav", shared)
    write(folder / "rock/f/shared.wav", shared)
    write(folder / "rock/g/softer.wav", 0.5 * shared)
    write(folder / "rock/h/other.wav", melody(3))
    write(folder / "jazz/i/another.wav", melody(4))
    return audit_folder(folder), folder


def test_audit_survives_saving_and_loading(near, tmp_path):
    audit, _ = near
    path = tmp_path / "audit.json"
    audit.save(path)
    assert Audit.load(path) == audit
    fields = json.loads(path.read_text())
    assert (fields["tracks"], fields["usable"], fields["left_out"]) == (9, 6, 3)
    assert {"first", "second", "similarity", "offset", "speed"} == set(fields["near_duplicates"][0])
    path.write_text("{}")
    with pytest.raises(ParameterError, match=r"audit\.json: "):
        Audit.load(path)
    with pytest.raises(ParameterError, match=r"none\.json: "):
        Audit.load(tmp_path / "none.json")


def test_near_duplicates_are_kept_and_clustered(near):
    audit, _ = near
    songs = ("jazz/a/song", "jazz/b/louder", "jazz/c/late", "jazz/d/coded")
    assert audit.compared
    assert songs in audit.clusters
    assert not audit.left_out & set(songs)
    assert {fault.track for fault in audit.faults if fault.code == "near_duplicate"} <= set(songs)
    found = messages(audit, "near_duplicate")
    (message,) = [message for message in found if "c/late.wav" in message and "a/song.wav" in message]
    assert "0.70 s later" in message


def test_near_duplicates_with_different_genres_are_all_left_out(near):
    audit, _ = near
    assert audit.left_out == {"jazz/e/shared", "rock/f/shared", "rock/g/softer"}
    (message,) = set(messages(audit, "conflicting_labels"))
    assert "jazz/e/shared (jazz), rock/f/shared (rock), rock/g/softer (rock)" in message
    assert len(audit.clusters) == 2


def test_search_for_near_duplicates_can_be_turned_off(near):
    _, folder = near
    audit = audit_folder(folder, near_duplicates=False)
    assert (audit.counts, audit.pairs) == ({"conflicting_labels": 2}, ())
    assert "near-duplicates were not searched for" in format_audit(audit, more="")


def test_clusters_are_transitive():
    tracks = [
        Track(id=name, genre="a", path=name, group=name, group_source="folder", hash=key)
        for name, key in (("e", "1"), ("c", "1"), ("b", "2"), ("a", "3"), ("f", "4"), ("d", "5"), ("x", "6"))
    ]
    pairs = [NearDuplicate(first=a, second=b, similarity=1.0, offset=0.0, speed=1.0) for a, b in ("ab", "bc", "df")]
    assert recording_clusters(tracks, pairs) == (("a", "b", "c", "e"), ("d", "f"))


def test_spectrograms_in_an_npz_are_audited(tmp_path):
    cells = np.random.default_rng(0).integers(0, 256, (5, 16, 40), dtype=np.uint8)
    cells[3] = cells[0]
    cells[4] = 7
    names, genres = ["one", "two", "three", "one again", "level"], ["a", "b", "a", "a", "b"]
    np.savez_compressed(tmp_path / "some.npz", spectrogram=cells, track=names, genre=genres)
    before = sorted(tmp_path.rglob("*"))
    audit = audit_folder(tmp_path / "some.npz", near_duplicates=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert rows(audit) == [("level", "unusable", True), ("one again", "duplicate", True)]
    assert audit.clusters == (("one", "one again"),)
    assert audit_folder(tmp_path, near_duplicates=False) == audit


def test_short_spectrograms_are_found_by_their_frames(tmp_path):
    rng = np.random.default_rng(0)
    for name, width in (("long", 100), ("short", 20)):
        cells = rng.integers(0, 256, (2, 16, width), dtype=np.uint8)
        tracks = [f"{name} {number}" for number in range(2)]
        np.savez_compressed(tmp_path / f"{name}.npz", spectrogram=cells, track=tracks, genre=["a", "b"])
    audit = audit_folder(tmp_path, near_duplicates=False)
    assert audit.left_out == {"short 0", "short 1"}
    first, _ = messages(audit, "too_short")
    assert "audit.min_seconds" in first
    assert "0.464 s" in first


def test_track_without_features_is_left_out(tmp_path):
    write(tmp_path / "a.wav", noise(1))
    spec = FeatureSpec()
    tracks = [
        Track(id=name, genre="a", path="a.wav", group=name, group_source="folder", hash=name, duration=2.0)
        for name in "ab"
    ]
    manifest = Manifest.from_tracks("folder", tracks)
    only_a = Manifest.from_tracks("folder", tracks[:1])
    update_features(tmp_path / "f", only_a, tmp_path, spec, make_filter_bank(spec), n_jobs=1, progress=False)
    audit = audit_manifest(manifest, FeatureStore.open(tmp_path / "f"), AuditParams(near_duplicates=False))
    assert rows(audit) == [("b", "no_features", True)]


def test_folder_without_faults(tmp_path):
    for number in range(3):
        write(tmp_path / f"m/only/{number}/x.wav", noise(number))
    audit = audit_folder(tmp_path / "m")
    assert (audit.faults, audit.counts, audit.clusters) == ((), {}, ())
    assert format_audit(audit, more="").splitlines()[-1] == "3 tracks, 3 usable: no faults"


@pytest.mark.parametrize("name", ["none", "empty", "text"])
def test_path_without_music_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no music")
    with pytest.raises(ParameterError, match=name):
        audit_folder(tmp_path / name)


def test_first_of_several_duplicates_is_kept():
    tracks = [
        Track(id=name, genre="a", path=f"{name}.wav", group=name, group_source="folder", hash="same", peak=1.0)
        for name in "cab"
    ]

    def left_out(tracks):
        return audit_manifest(Manifest.from_tracks("folder", tracks), None, AuditParams()).left_out

    assert left_out(tracks) == {"b", "c"}
    # A track in a published split is preferred: published results were measured with it.
    c, a, b = tracks
    assert left_out([c, replace(a, split="test"), b]) == {"b", "c"}
    assert left_out([c, a, replace(b, split="test")]) == {"a", "c"}


def genre_of(name: str, *seconds: float | None, **fields) -> list[Track]:
    return [
        Track(
            id=f"{name}/{n}",
            genre=name,
            path=f"{name}/{n}.wav",
            group=f"{name}{n}",
            group_source="folder",
            hash=f"{name}{n}",
            **{"duration": s, **fields},
        )
        for n, s in enumerate(seconds)
    ]


def audit_of(*genres: list[Track], **params) -> Audit:
    manifest = Manifest.from_tracks("folder", [track for genre in genres for track in genre])
    return audit_manifest(manifest, None, AuditParams(**params))


def test_the_largest_share_of_one_track_in_its_genre_is_reported():
    audit = audit_of(genre_of("clips", 30, 30, 40), genre_of("mixes", 30, 7200, 30), genre_of("one", 100.0))
    assert {genre: (largest.track, round(largest.share, 3)) for genre, largest in audit.largest_tracks.items()} == {
        "clips": ("clips/2", 0.4),
        "mixes": ("mixes/1", 0.992),
        "one": ("one/0", 1.0),
    }
    assert rows(audit) == [("mixes/1", "dominant", False)]
    assert {"mixes/1.wav", "audit.track_share", "0.99"} <= set(re.split("[ ;:,]+", audit.faults[0].message))
    lines = {line.split()[0]: line.split()[-1] for line in format_audit(audit, more="").splitlines() if line}
    assert (lines["clips"], lines["mixes"], lines["one"]) == ("40%", "99%", "100%")
    assert audit.to_dict()["largest_tracks"]["mixes"]["share"] == 0.9917


@pytest.mark.parametrize(
    ("seconds", "share", "flagged"),
    [
        ((30, 91), 0.5, True),
        ((30, 90), 0.5, False),  # not more than three times as long as the other one
        ((30,), 0.5, False),
        ((30,) * 100 + (2900,), 0.5, False),
        ((30,) * 100 + (2900,), 0.25, True),
        ((7200, 7200, 30), 0.5, False),
        ((30, 30, None), 0.5, False),
    ],
)
def test_a_track_is_flagged_if_it_dominates_its_genre(seconds, share, flagged):
    audit = audit_of(genre_of("a", *seconds), track_share=share)
    assert [code for _, code, _ in rows(audit)] == ["dominant"] * flagged
    assert not audit.left_out


def test_tracks_that_are_left_out_have_no_share():
    silent = genre_of("b", 7200, peak=0.0)[0]
    audit = audit_of([*genre_of("a", 30, 30, peak=0.5), replace(silent, genre="a")])
    assert audit.largest_tracks["a"].share == 0.5
    assert "dominant" not in audit.counts


def test_published_faults_are_compared_with_the_audit():
    names = {"hiphop.00039": "x", "hiphop.00045": "x", "disco.00055": "y", "disco.00060": "y", "disco.00089": "z"}
    tracks = [
        Track(id=f"{name[:-6]}/{name}", genre="a", path=name, group=name, group_source="folder", hash=key)
        for name, key in {**names, "jazz.00033": "w", "something else": "x"}.items()
    ]

    def published(tracks):
        return audit_manifest(Manifest.from_tracks("gtzan", tracks), None, AuditParams()).published

    checks = {check.tracks: (check.kind, check.absent, check.seen) for check in published(tracks)}
    assert checks[("hiphop/hiphop.00039", "hiphop/hiphop.00045")] == ("exact", 0, "found")
    assert checks[("disco/disco.00055", "disco/disco.00060", "disco/disco.00089")] == ("exact", 0, "in part")
    assert checks[("jazz/jazz.00033",)] == ("exact", 1, "")
    assert published(tracks[-1:]) == ()


def test_summary_lists_some_faults_of_each_kind_and_counts_all(audit):
    text = format_audit(audit, shown=2, more="see elsewhere")
    lines = text.splitlines()
    assert lines.index("Left out") < lines.index("Flagged")
    assert "… and 2 more; see elsewhere" in text
    assert [line.split()[:2] for line in lines if "rock/cut" in line] == [
        ["Truncated", "4"],
        ["rock/cut/flac.flac:", "declares"],
    ]
    assert lines[-1] == "25 tracks, 13 usable: 12 left out, 11 flagged"
