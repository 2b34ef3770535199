"""The audit: every fault has a file here."""

import json

import numpy as np
import pytest
import soundfile as sf

from genreflow.datasets.audit import Audit, audit, audit_directory
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.track import Track
from genreflow.errors import ParameterError

RATE = 8000


def noise(seed: int, seconds: float = 2.0, level: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-level, level, round(RATE * seconds))


@pytest.fixture
def faulty(tmp_path):
    """A folder with one of each fault."""
    folder = tmp_path / "music"

    def write(name: str, y: np.ndarray, **options) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / name, y, RATE, **options)

    write("blues/ann/good.wav", noise(1))
    write("blues/ann/same.flac", sf.read(folder / "blues/ann/good.wav")[0])
    write("blues/ann/silent.wav", np.zeros(2 * RATE))
    write("blues/ann/faint.wav", noise(2, level=5e-4))
    write("blues/ann/short.wav", noise(3, seconds=0.5))
    write("blues/bob/claimed.wav", noise(4))
    write("rock/bob/claimed too.wav", noise(4))
    write("rock/cy/nan.wav", np.r_[noise(5), np.nan], subtype="FLOAT")
    write("rock/cy/no samples.wav", np.zeros(0))
    write("rock/cy/cut.flac", noise(6, seconds=20))
    cut = folder / "rock/cy/cut.flac"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (folder / "rock/cy/text.wav").write_text("no music")
    (folder / "rock/cy/empty.mp3").write_bytes(b"")
    return folder


def test_every_fault_is_found(faulty, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    found = audit_directory(faulty, progress=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert {(fault.track, fault.code, fault.leave_out) for fault in found.faults} == {
        ("blues/ann/same", "duplicate", True),
        ("blues/ann/silent", "silent", True),
        ("blues/ann/faint", "silent", True),
        ("blues/ann/short", "too_short", True),
        ("blues/bob/claimed", "conflicting_labels", True),
        ("rock/bob/claimed too", "conflicting_labels", True),
        ("blues/bob/claimed", "artist_in_genres", False),
        ("rock/cy/nan", "unusable", True),
        ("rock/cy/no samples", "unusable", True),
        ("rock/cy/cut", "truncated", False),
        ("rock/cy/text", "undecodable", True),
        ("rock/cy/empty", "undecodable", True),
    }
    assert len(found.faults) == 12
    assert "rock/cy/cut" not in found.left_out
    assert found.genres == {"blues": {"tracks": 6, "usable": 1}, "rock": {"tracks": 6, "usable": 1}}
    assert found.counts["silent"] == 2
    for fault in found.faults:
        assert fault.message.endswith(".")
        assert fault.message.count(str(faulty)) == 0


def test_limits_are_parameters(faulty):
    found = audit_directory(faulty, min_seconds=0.4, silence_db=-80, progress=False)
    assert {fault.track for fault in found.faults if fault.code in ("silent", "too_short")} == {"blues/ann/silent"}


def test_audit_comes_back_as_it_was(faulty, tmp_path):
    found = audit_directory(faulty, progress=False)
    found.save(tmp_path / "audit.json")
    assert Audit.load(tmp_path / "audit.json") == found
    fields = json.loads((tmp_path / "audit.json").read_text())
    assert (fields["tracks"], fields["usable"], fields["left_out"]) == (12, 2, 10)
    (tmp_path / "audit.json").write_text("{}")
    with pytest.raises(ParameterError, match="is not an audit"):
        Audit.load(tmp_path / "audit.json")
    with pytest.raises(ParameterError, match="There is no audit"):
        Audit.load(tmp_path / "none.json")


def test_sound_folder_has_no_faults(tmp_path):
    for number in range(3):
        (tmp_path / f"m/only/{number}").mkdir(parents=True)
        sf.write(tmp_path / f"m/only/{number}/x.wav", noise(number), RATE)
    found = audit_directory(tmp_path / "m", progress=False)
    assert (found.faults, found.counts) == ((), {})


def test_folder_that_cannot_be_audited(tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        audit_directory(tmp_path / "none", progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="holds no audio files"):
        audit_directory(tmp_path / "empty", progress=False)


def test_first_of_several_duplicates_is_kept():
    tracks = [
        Track(id=name, genre="a", path=f"{name}.wav", group=name, group_source="folder", hash="same", peak=1.0)
        for name in "cab"
    ]
    found = audit(Manifest.of("folder", tracks))
    assert found.left_out == {"b", "c"}
    assert found.faults[0].message == "b.wav is the same recording as a.wav, which is kept."
