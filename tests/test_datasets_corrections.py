"""Corrections: added to any source for train only, left out where the data have the recording."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from fma_toy import row, write_fma
from genreflow.audit.directory import audit_manifest
from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.params import AuditParams
from genreflow.audit.recordings import known_recordings, recording_clusters, recording_faults
from genreflow.datasets.corrections import NAME, Correction, Corrections
from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import ingest
from genreflow.errors import ParameterError
from genreflow.files import sha256
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.stages import CORRECTIONS, MANIFEST, RAW
from genreflow.stages import ingest as ingest_stage

RATE = 8000


def identifier(number: int) -> str:
    return f"{number:032x}"


def write_noise(path: Path, *, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, RATE), RATE)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """Two genres with three artists each."""
    for seed, name in enumerate(
        f"{genre}/artist {artist}/song.wav" for genre in ("blues", "rock") for artist in range(3)
    ):
        write_noise(tmp_path / "music" / name, seed=seed)
    return tmp_path / "music"


@pytest.fixture
def corrections(tmp_path) -> Corrections:
    return Corrections(tmp_path / "corrections")


def accept(corrections, number, genre, *, seed=None, group="", original=None) -> Correction:
    original = original or write_noise(corrections.folder.parent / f"sent {number}.wav", seed=seed or 100 + number)
    correction = Correction(f"{identifier(number)}.wav", genre, group, sha256(original), "2026-03-01T00:00:00+00:00")
    corrections.add(correction, original)
    return correction


@pytest.fixture
def run(tmp_path, corrections):
    def run(path: Path, source: str = "folder", **data) -> Manifest:
        params = DataParams(source=source, path=path, **data)
        target = tmp_path / "data/raw", tmp_path / "data/manifest.json"
        return ingest(params, *target, corrections=corrections.folder, progress=False)

    return run


def ids(manifest: Manifest) -> list[str]:
    return [track.id for track in manifest.tracks if track.train_only]


def test_no_corrections_change_nothing(music, run, corrections, tmp_path):
    manifest = run(music)
    before = (tmp_path / "data/manifest.json").read_bytes()
    for table in ("path,genre,group,sha256,accepted\n", ""):
        corrections.folder.mkdir(exist_ok=True)
        corrections.table.write_text(table)
        assert run(music) == manifest
        assert (tmp_path / "data/manifest.json").read_bytes() == before
        assert not (tmp_path / "data/raw" / NAME).exists()


def test_corrections_are_tracks_for_train_only(music, run, corrections, tmp_path):
    plain = run(music)
    accept(corrections, 1, "rock")
    accept(corrections, 2, "blues", group="The  Artist")
    manifest = run(music)
    assert [track for track in manifest.tracks if not track.train_only] == list(plain.tracks)
    assert ids(manifest) == [f"{NAME}/{identifier(number)}" for number in (1, 2)]
    first, second = (manifest.by_id[track_id] for track_id in ids(manifest))
    assert (first.genre, first.group, first.group_source) == ("rock", f"track:{first.id}", "track")
    assert (second.genre, second.group, second.group_source) == ("blues", "the artist", "tracks.csv")
    assert (tmp_path / "data/raw" / first.path).read_bytes() == (corrections.audio / first.path[-36:]).read_bytes()
    assert manifest.groups_known == plain.groups_known
    assert manifest == Manifest.load(tmp_path / "data/manifest.json")
    assert "2 corrections" in manifest.notes[-1]
    split = make_split(manifest, audit_manifest(manifest, None, AuditParams()), SplitParams())
    assert set(ids(manifest)) <= set(split.parts["train"])
    assert run(music) == manifest  # from the raw data of the ingest before

    corrections.remove(identifier(1))
    assert ids(run(music)) == [second.id]
    corrections.remove(identifier(2))
    assert run(music) == plain


@pytest.mark.parametrize("method", ["group", "kfold", "track", "segment"])
def test_corrections_are_in_no_other_part_by_any_method(music, run, corrections, method):
    for number in range(4):
        accept(corrections, number + 1, "rock")
    manifest = run(music)
    split = make_split(manifest, audit_manifest(manifest, None, AuditParams()), SplitParams(method=method, folds=3))
    assert set(ids(manifest)) <= set(split.parts["train"])
    assert not set(ids(manifest)) & {*split.parts["valid"], *split.parts["test"]}


def write_gtzan(folder: Path) -> dict:
    """A copy of six tracks of GTZAN, two in each part of the published split."""
    for seed, name in enumerate(f"{genre}.{number:05}" for genre in ("blues", "rock") for number in (0, 12, 29, 40)):
        path = folder / "genres" / name.partition(".")[0] / f"{name}.wav"
        write_noise(path, seed=seed)
    return {"source": "gtzan"}


def write_small_fma(folder: Path) -> dict:
    parts = ("training", "validation", "test", "training")
    rows = [
        row(2 + 4 * g + n, genre, split=part) for g, genre in enumerate(("Jazz", "Pop")) for n, part in enumerate(parts)
    ]
    write_fma(folder, rows)
    return {"source": "fma", "subset": "small"}


def write_combination(folder: Path) -> dict:
    fma = {"path": "fma", **write_small_fma(folder / "fma"), "genres": {"Jazz": "jazz"}}
    for seed, name in enumerate(
        f"{genre}/artist {artist}/song.wav" for genre in ("jazz", "rock") for artist in range(4)
    ):
        write_noise(folder / "own" / name, seed=50 + seed)
    return {"source": "combination", "sources": [{"source": "folder", "path": "own"}, fma]}


@pytest.mark.parametrize("write", [write_gtzan, write_small_fma, write_combination])
def test_corrections_of_any_source_are_read_by_the_stages_and_are_in_train_only(root, tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    data = {"path": str(tmp_path / "music"), **write(tmp_path / "music")}
    content = yaml.safe_load((root / "params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**content, "data": {**content["data"], **data}}))
    Path("data").mkdir()
    Path("data/tracks.csv").write_text("path,genre,group,split\n")
    ingest_stage.main()
    plain = Manifest.load(MANIFEST)
    for number, genre in enumerate(plain.genres):
        accept(Corrections(CORRECTIONS), number + 1, genre)
    ingest_stage.main()
    manifest = Manifest.load(MANIFEST)
    assert [track for track in manifest.tracks if not track.train_only] == list(plain.tracks)
    assert ids(manifest) == [f"{NAME}/{identifier(number + 1)}" for number in range(len(plain.genres))]
    assert [manifest.by_id[track_id].genre for track_id in ids(manifest)] == list(plain.genres)
    for track_id in ids(manifest):
        assert (RAW / manifest.by_id[track_id].path).is_file()
    for method in ("group", "published", "kfold", "track"):
        if method == "published" and data["source"] == "combination":
            continue  # which has tracks without a published part
        audit = audit_manifest(manifest, None, AuditParams())
        split = make_split(manifest, audit, SplitParams(method=method, folds=3))
        assert set(ids(manifest)) <= set(split.parts["train"]), method
        others = make_split(plain, audit_manifest(plain, None, AuditParams()), SplitParams(method=method, folds=3))
        assert (split.parts["valid"], split.parts["test"]) == (others.parts["valid"], others.parts["test"]), method


def test_a_genre_that_the_data_do_not_have_is_left_out_with_a_note(music, run, corrections):
    accept(corrections, 1, "polka")
    accept(corrections, 2, "rock")
    manifest = run(music)
    assert manifest.genres == ("blues", "rock")
    assert ids(manifest) == [f"{NAME}/{identifier(2)}"]
    assert any("polka" in note for note in manifest.notes)


def test_spectrograms_have_no_corrections(run, corrections, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (8, 40, 16), dtype=np.uint8)
    names = {"track": np.array([f"t{number}" for number in range(8)]), "genre": np.array(["a", "b"] * 4)}
    np.savez(tmp_path / "a.npz", spectrogram=values, **names)
    plain = run(tmp_path / "a.npz", source="spectrograms")
    accept(corrections, 1, "a")
    manifest = run(tmp_path / "a.npz", source="spectrograms")
    assert manifest.tracks == plain.tracks
    assert "1 correction" in manifest.notes[-1]


def test_audio_that_a_clone_lacks_is_that_of_the_raw_data(music, run, corrections):
    correction = accept(corrections, 1, "rock")
    manifest = run(music)
    (corrections.audio / correction.path).unlink()
    assert run(music) == manifest
    assert run(music) == manifest


def test_missing_or_changed_audio_is_one_error_and_keeps_the_data(music, run, corrections, tmp_path):
    run(music)
    before = (tmp_path / "data/manifest.json").read_bytes()
    correction = accept(corrections, 1, "rock")
    (corrections.audio / correction.path).write_bytes(b"other")
    with pytest.raises(ParameterError, match=correction.path):
        run(music)
    (corrections.audio / correction.path).unlink()
    with pytest.raises(ParameterError, match=correction.path):
        run(music)
    assert (tmp_path / "data/manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "row",
    [
        "../../secret.wav,rock,,,",
        f"{identifier(1)}.wav,,,,",
        ",rock,,,",
        f"{identifier(1)}.wav,rock,,,\n{identifier(1)}.mp3,blues,,,",
        "\0",
    ],
)
def test_a_damaged_table_is_an_error(music, run, corrections, row):
    accept(corrections, 1, "rock")
    corrections.table.write_text(f"path,genre,group,sha256,accepted\n{row}\n")
    with pytest.raises(ParameterError, match=r"tracks\.csv"):
        run(music)


def test_a_folder_with_the_name_of_the_corrections_is_refused(music, run, corrections):
    write_noise(music / NAME / "artist" / "song.wav", seed=50)
    run(music)
    accept(corrections, 1, "rock")
    with pytest.raises(ParameterError, match=NAME):
        run(music)


def test_accepting_again_replaces(corrections):
    accept(corrections, 1, "rock")
    accept(corrections, 2, "rock")
    accept(corrections, 1, "blues", group='a "name", or two')
    assert [(row.genre, row.group) for row in corrections.read()] == [("rock", ""), ("blues", 'a "name", or two')]
    assert corrections.remove(identifier(3)) == []
    assert len(corrections.remove(identifier(2))) == 2
    assert [path.name for path in corrections.audio.iterdir()] == [f"{identifier(1)}.wav"]


@pytest.mark.parametrize("genre", ["blues", "rock"])
def test_a_correction_of_a_track_of_the_data_is_left_out_and_changes_nothing(music, run, corrections, genre):
    """Whether it agrees with the label or not."""
    plain = audit_manifest(run(music), None, AuditParams())
    accept(corrections, 1, genre, original=music / "blues/artist 0/song.wav")
    audit = audit_manifest(run(music), None, AuditParams())
    assert audit.left_out - plain.left_out == {f"{NAME}/{identifier(1)}"}
    [fault] = [fault for fault in audit.faults if fault.code == "known_recording"]
    assert "blues/artist 0/song.wav" in fault.message
    assert audit.clusters == plain.clusters


def test_corrections_are_compared_with_each_other(music, run, corrections):
    first = accept(corrections, 1, "rock", seed=7)
    for number, genre, seed in ((2, "rock", 7), (3, "rock", 8), (4, "blues", 8)):
        accept(corrections, number, genre, seed=seed)
    audit = audit_manifest(run(music), None, AuditParams())
    codes = {fault.track[-1]: fault.code for fault in audit.faults if fault.leave_out}
    assert codes == {"2": "duplicate", "3": "conflicting_labels", "4": "conflicting_labels"}
    assert first.genre == "rock"


def track(name: str, genre: str, *, train_only: bool = False) -> Track:
    fields = {"id": name, "genre": genre, "path": f"{name}.wav", "group": name, "hash": f"hash of {name}"}
    return replace(Track(**fields, group_source="folder"), train_only=train_only or None)


def pair(first: str, second: str) -> NearDuplicate:
    return NearDuplicate(first=min(first, second), second=max(first, second), similarity=0.9, offset=0.0, speed=1.0)


def test_a_correction_does_not_connect_tracks_of_the_data():
    """A medley resembles two tracks: it merges no artists, and makes no genres contradict each other."""
    tracks = [track("a", "blues"), track("b", "rock"), track("medley", "rock", train_only=True)]
    tracks.append(track("copy of the medley", "rock", train_only=True))
    pairs = [pair("a", "medley"), pair("b", "medley"), pair("medley", "copy of the medley")]
    known = known_recordings(tracks, pairs)
    assert known == {"medley": "a", "copy of the medley": "a"}
    rest = [each for each in tracks if each.id not in known]
    assert recording_clusters(rest, []) == ()
    assert list(recording_faults(rest, (), [])) == []
