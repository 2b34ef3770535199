"""The audit: every fault has a file here."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from genreflow.audit.checks import audit
from genreflow.audit.directory import audit_directory
from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.faults import Audit
from genreflow.audit.kinds import KINDS
from genreflow.audit.recordings import recordings
from genreflow.audit.summary import as_table
from genreflow.datasets.featurize import update_features
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track

RATE = 8000
NAMED = ("track", "code", "leave_out")


def noise(seed: int, seconds: float = 2.0, level: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-level, level, round(RATE * seconds))


def melody(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Plucked notes at random, over a little noise: what a fingerprint can hold on to."""
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


def rewrite(path, change):
    """Let `change` edit the bytes of a file."""
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)


def put(form: str, offset: int, value: int):
    """Return a change that writes an integer into a header."""
    return lambda data: struct.pack_into(form, data, offset, value)


def audited(folder, **options):
    return audit_directory(folder, n_jobs=1, progress=False, **options)


def messages(found: Audit, code: str) -> list[str]:
    return [fault.message for fault in found.faults if fault.code == code]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A folder with one of each fault that a file can have for itself, exact copies and sound tracks."""
    folder = tmp_path_factory.mktemp("faulty") / "music"
    write(folder / "blues/ann/good.wav", noise(1))
    write(folder / "blues/ann/same.flac", sf.read(folder / "blues/ann/good.wav")[0])
    write(folder / "blues/ann/silent.wav", np.zeros(2 * RATE))
    write(folder / "blues/ann/silent too.wav", np.zeros(2 * RATE))
    write(folder / "blues/ann/faint.wav", noise(2, level=5e-4))
    write(folder / "blues/ann/short.wav", noise(3, seconds=0.5))
    write(folder / "blues/bob/claimed.wav", noise(4))
    write(folder / "rock/bob/claimed too.wav", noise(4))
    write(folder / "rock/cy/nan.wav", np.r_[noise(5), np.nan], subtype="FLOAT")
    write(folder / "rock/cy/no samples.wav", np.zeros(0))
    for number, suffix in enumerate(("wav", "au", "flac", "mp3")):
        cut = write(folder / f"rock/cut/{suffix}.{suffix}", noise(60 + number, seconds=20))
        rewrite(cut, lambda data: data[: len(data) // 2])
    write(folder / "rock/dee/loud.wav", np.clip(noise(7, level=4.0), -1, 1))
    write(folder / "rock/dee/peak.wav", np.clip(noise(8, level=1.0), -1, 1))
    rewrite(write(folder / "rock/dee/rate.wav", noise(9, seconds=4)), put("<I", 24, 2 * RATE))
    write(folder / "rock/dee/slow.wav", noise(10), rate=2000)
    rewrite(write(folder / "rock/dee/more.wav", noise(11, seconds=8)), put("<I", 40, 2 * 5 * RATE))
    rewrite(write(folder / "rock/dee/more.au", noise(12, seconds=8), subtype="PCM_16"), put(">I", 8, 2 * 5 * RATE))
    (folder / "rock/cy/text.wav").write_text("no music")
    (folder / "rock/cy/empty.mp3").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def found(faulty):
    before = sorted((path, path.stat().st_mtime_ns) for path in faulty.parent.rglob("*"))
    found = audited(faulty)
    assert sorted((path, path.stat().st_mtime_ns) for path in faulty.parent.rglob("*")) == before
    return found


def test_every_fault_is_found(found, faulty):
    assert sorted(tuple(getattr(fault, name) for name in NAMED) for fault in found.faults) == sorted([
        ("blues/ann/same", "duplicate", True),
        ("blues/ann/silent", "silent", True),
        ("blues/ann/silent too", "silent", True),
        ("blues/ann/faint", "silent", True),
        ("blues/ann/short", "too_short", True),
        ("blues/bob/claimed", "conflicting_labels", True),
        ("rock/bob/claimed too", "conflicting_labels", True),
        ("blues/bob/claimed", "artist_in_genres", False),
        ("rock/cy/nan", "unusable", True),
        ("rock/cy/no samples", "unusable", True),
        ("rock/cut/wav", "truncated", False),
        ("rock/cut/au", "truncated", False),
        ("rock/cut/flac", "truncated", False),
        ("rock/cut/mp3", "truncated", False),
        ("rock/dee/loud", "clipped", False),
        ("rock/dee/rate", "declared_rate", False),
        ("rock/dee/slow", "declared_rate", False),
        ("rock/dee/more.wav", "declared_length", False),
        ("rock/dee/more.au", "declared_length", False),
        ("rock/cy/text", "undecodable", True),
        ("rock/cy/empty", "undecodable", True),
    ])  # fmt: skip
    assert found.genres == {"blues": {"tracks": 7, "usable": 1}, "rock": {"tracks": 15, "usable": 10}}
    assert (found.tracks, found.usable, found.noticed) == (22, 11, 9)
    assert found.counts["silent"] == 3
    assert found.clusters == (("blues/ann/good", "blues/ann/same"), ("blues/bob/claimed", "rock/bob/claimed too"))
    for fault in found.faults:
        assert fault.code in KINDS
        assert fault.message.endswith(".")
        assert str(faulty) not in fault.message


@pytest.mark.parametrize(
    ("track", "words"),
    [
        ("rock/cy/empty", ["rock/cy/empty.mp3", "empty (0 bytes)"]),
        ("rock/cy/text", ["rock/cy/text.wav", "cannot be decoded as audio"]),
        ("rock/cy/nan", ["rock/cy/nan.wav", "NaN"]),
        ("rock/cy/no samples", ["holds no samples"]),
        ("blues/ann/silent", ["all its samples are zero", "audit.silence_db is -60"]),
        ("blues/ann/faint", ["its peak is -66 dB", "audit.silence_db is -60"]),
        ("blues/ann/short", ["lasts 0.5 s", "audit.min_seconds = 1"]),
        ("blues/ann/same", ["blues/ann/same.flac is the same recording as blues/ann/good.wav, which is kept"]),
        ("rock/bob/claimed too", ["blues/bob/claimed (blues), rock/bob/claimed too (rock)"]),
        ("blues/bob/claimed", ["artist bob", "blues (1), rock (1)"]),
        ("rock/cut/wav", ["declares 20.00 s but decodes to 10.00 s"]),
        ("rock/cut/au", ["declares 20.00 s but decodes to 10.00 s"]),
        ("rock/cut/flac", ["declares 20.00 s"]),
        ("rock/cut/mp3", ["declares 20.00 s"]),
        ("rock/dee/loud", ["rock/dee/loud.wav is clipped", "% of its samples", "audit.clipped_share is 0.001"]),
        ("rock/dee/rate", ["declares 16000 Hz", "8000 Hz", "16000 Hz is used"]),
        ("rock/dee/slow", ["declares 2000 Hz", "4000 Hz or more"]),
        ("rock/dee/more.wav", ["declares 5.00 s but holds 8.00 s"]),
        ("rock/dee/more.au", ["declares 5.00 s but holds 8.00 s"]),
    ],
)
def test_a_message_says_what_is_wrong_in_figures(found, track, words):
    said = " ".join(fault.message for fault in found.faults if fault.track == track)
    for word in words:
        assert word in said


def test_limits_are_parameters(faulty):
    found = audited(faulty, min_seconds=0.4, silence_db=-80, clipped_share=0.9, near_duplicates=False)
    codes = ("silent", "too_short", "clipped")
    assert {fault.track for fault in found.faults if fault.code in codes} == {
        "blues/ann/silent",
        "blues/ann/silent too",
    }
    assert not found.compared


def test_audit_comes_back_as_it_was(near, tmp_path):
    found, _ = near
    found.save(tmp_path / "audit.json")
    assert Audit.load(tmp_path / "audit.json") == found
    fields = json.loads((tmp_path / "audit.json").read_text())
    assert (fields["tracks"], fields["usable"], fields["left_out"]) == (9, 6, 3)
    assert {"first", "second", "similarity", "offset", "speed"} == set(fields["near_duplicates"][0])
    (tmp_path / "audit.json").write_text("{}")
    with pytest.raises(ParameterError, match="is not an audit"):
        Audit.load(tmp_path / "audit.json")
    with pytest.raises(ParameterError, match="There is no audit"):
        Audit.load(tmp_path / "none.json")


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """An audit of copies in other guise, and its folder."""
    folder = tmp_path_factory.mktemp("near") / "music"
    song, claimed = melody(1), melody(2)
    write(folder / "jazz/a/song.wav", song)
    write(folder / "jazz/b/louder.flac", 1.6 * song)
    write(folder / "jazz/c/late.wav", np.r_[np.zeros(round(0.7 * RATE)), song])
    write(folder / "jazz/d/coded.mp3", song, bitrate_mode="CONSTANT", compression_level=0.9)
    write(folder / "jazz/e/claimed.wav", claimed)
    write(folder / "rock/f/claimed.wav", claimed)
    write(folder / "rock/g/softer.wav", 0.5 * claimed)
    write(folder / "rock/h/other.wav", melody(3))
    write(folder / "jazz/i/another.wav", melody(4))
    return audited(folder), folder


def test_copies_in_other_guise_are_kept_but_belong_together(near):
    found, _ = near
    songs = ("jazz/a/song", "jazz/b/louder", "jazz/c/late", "jazz/d/coded")
    assert found.compared
    assert songs in found.clusters
    assert not found.left_out & set(songs)
    assert {fault.track for fault in found.faults if fault.code == "near_duplicate"} <= set(songs)
    (said,) = [said for said in messages(found, "near_duplicate") if "c/late" in said and "a/song" in said]
    assert "jazz/c/late.wav is nearly the same as jazz/a/song.wav: " in said
    assert "% alike, 0.7" in said
    assert "s later" in said


def test_copies_in_other_guise_with_other_genres_are_all_left_out(near):
    found, _ = near
    assert found.left_out == {"jazz/e/claimed", "rock/f/claimed", "rock/g/softer"}
    (said,) = set(messages(found, "conflicting_labels"))
    assert said == (
        "The same recording, or nearly so, has different genres: jazz/e/claimed (jazz), rock/f/claimed (rock), "
        "rock/g/softer (rock); which one is right cannot be told."
    )
    assert len(found.clusters) == 2


def test_near_duplicates_need_not_be_looked_for(near):
    _, folder = near
    found = audited(folder, near_duplicates=False)
    assert (found.counts, found.pairs) == ({"conflicting_labels": 2}, ())
    assert "near-duplicates were not looked for" in as_table(found, more="")


def test_recordings_are_joined_through_others():
    tracks = [
        Track(id=name, genre="a", path=name, group=name, group_source="folder", hash=key)
        for name, key in (("e", "1"), ("c", "1"), ("b", "2"), ("a", "3"), ("f", "4"), ("d", "5"), ("x", "6"))
    ]
    near = [NearDuplicate(first=a, second=b, similarity=1.0, offset=0.0, speed=1.0) for a, b in ("ab", "bc", "df")]
    assert recordings(tracks, near) == (("a", "b", "c", "e"), ("d", "f"))


def test_spectrograms_are_audited_in_an_npz(tmp_path):
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (5, 16, 40), dtype=np.uint8)
    cells[3] = cells[0]
    cells[4] = 7
    names, genres = ["one", "two", "three", "one again", "level"], ["a", "b", "a", "a", "b"]
    np.savez_compressed(tmp_path / "some.npz", spectrogram=cells, track=names, genre=genres)
    before = sorted(tmp_path.rglob("*"))
    found = audited(tmp_path / "some.npz", near_duplicates=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert [tuple(getattr(fault, name) for name in NAMED) for fault in found.faults] == [
        ("level", "unusable", True),
        ("one again", "duplicate", True),
    ]
    assert messages(found, "duplicate") == ["one again is the same recording as one, which is kept."]
    assert found.clusters == (("one", "one again"),)
    assert audited(tmp_path, near_duplicates=False) == found


def test_short_spectrograms_are_found_by_their_frames(tmp_path):
    rng = np.random.default_rng(0)
    for name, width in (("long", 100), ("short", 20)):
        cells = rng.integers(0, 256, (2, 16, width), dtype=np.uint8)
        tracks = [f"{name} {number}" for number in range(2)]
        np.savez_compressed(tmp_path / f"{name}.npz", spectrogram=cells, track=tracks, genre=["a", "b"])
    found = audited(tmp_path, near_duplicates=False)
    assert found.left_out == {"short 0", "short 1"}
    assert messages(found, "too_short")[0] == (
        "short 0 has 20 frames, which are 0.464 s, less than audit.min_seconds = 1."
    )


def test_a_track_without_features_is_left_out(tmp_path):
    write(tmp_path / "a.wav", noise(1))
    spec = FeatureSpec()
    tracks = [
        Track(id=name, genre="a", path="a.wav", group=name, group_source="folder", hash=name, duration=2.0)
        for name in "ab"
    ]
    manifest = Manifest.from_tracks("folder", tracks)
    only_a = Manifest.from_tracks("folder", tracks[:1])
    update_features(tmp_path / "f", only_a, tmp_path, spec, make_filter_bank(spec), n_jobs=1, progress=False)
    found = audit(manifest, FeatureStore.open(tmp_path / "f"), near_duplicates=False)
    assert found.left_out == {"b"}
    assert messages(found, "no_features") == [
        "a.wav decodes, but no features could be computed; `dvc repro featurize` says why."
    ]


def test_sound_folder_has_no_faults(tmp_path):
    for number in range(3):
        write(tmp_path / f"m/only/{number}/x.wav", noise(number))
    found = audited(tmp_path / "m")
    assert (found.faults, found.counts, found.clusters) == ((), {}, ())
    assert as_table(found, more="").splitlines()[-1] == "3 tracks, 3 usable: no faults"


def test_folder_that_cannot_be_audited(tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        audited(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="holds no audio files"):
        audited(tmp_path / "empty")
    (tmp_path / "text").write_text("no music")
    with pytest.raises(ParameterError, match=r"not an \.npz file"):
        audited(tmp_path / "text")


def test_first_of_several_duplicates_is_kept():
    tracks = [
        Track(id=name, genre="a", path=f"{name}.wav", group=name, group_source="folder", hash="same", peak=1.0)
        for name in "cab"
    ]
    found = audit(Manifest.from_tracks("folder", tracks))
    assert found.left_out == {"b", "c"}
    assert found.faults[0].message == "b.wav is the same recording as a.wav, which is kept."
    # The one that a published split names is what published figures were measured with.
    tracks[1] = replace(tracks[1], split="test")  # c, a, b
    assert audit(Manifest.from_tracks("folder", tracks)).left_out == {"b", "c"}
    tracks[1], tracks[2] = replace(tracks[1], split=None), replace(tracks[2], split="test")
    assert audit(Manifest.from_tracks("folder", tracks)).left_out == {"a", "c"}


def test_published_faults_stand_beside_what_is_seen():
    names = {"hiphop.00039": "x", "hiphop.00045": "x", "disco.00055": "y", "disco.00060": "y", "disco.00089": "z"}
    tracks = [
        Track(id=f"{name[:-6]}/{name}", genre="a", path=name, group=name, group_source="folder", hash=key)
        for name, key in {**names, "jazz.00033": "w", "something else": "x"}.items()
    ]
    rows = {
        row.tracks: (row.kind, row.absent, row.seen) for row in audit(Manifest.from_tracks("gtzan", tracks)).published
    }
    assert rows[("hiphop/hiphop.00039", "hiphop/hiphop.00045")] == ("exact", 0, "found")
    assert rows[("disco/disco.00055", "disco/disco.00060", "disco/disco.00089")] == ("exact", 0, "in part")
    assert rows[("jazz/jazz.00033",)] == ("exact", 1, "")
    assert audit(Manifest.from_tracks("folder", tracks[-1:])).published == ()


def test_the_table_lists_a_few_of_a_kind_and_counts_all(found):
    text = as_table(found, shown=2, more="there are more elsewhere")
    lines = text.splitlines()
    assert lines.index("Left out") < lines.index("Noticed")
    assert "… and 2 more; there are more elsewhere" in text
    assert [line.split()[:2] for line in lines if "rock/cut" in line] == [
        ["Truncated", "4"],
        ["rock/cut/flac.flac", "declares"],
    ]
    assert lines[-1] == "22 tracks, 11 usable: 11 left out, 9 noticed"
