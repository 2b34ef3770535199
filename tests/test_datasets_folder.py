"""Folders of music: what is found, what it is called, and what is refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genreflow.datasets import folder as folders
from genreflow.datasets.sources import ingest
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest

RATE = 8000
GTZAN = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtzan"


def write_tone(path: Path, *, seed: int, seconds: float = 1.2, level: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    y = np.random.default_rng(seed).uniform(-level, level, round(RATE * seconds))
    sf.write(path, y, RATE)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """Two genres of two artists of two tracks."""
    for number, name in enumerate(
        f"{genre}/{artist}/{title}.wav"
        for genre, artists in {"blues": ("B.B.", "John Lee"), "rock": ("Queen", "Ünïcode Bänd")}.items()
        for artist in artists
        for title in ("one song", "two")
    ):
        write_tone(tmp_path / "music" / name, seed=number)
    return tmp_path / "music"


@pytest.fixture
def bring(tmp_path):
    """Ingest into one and the same place."""

    def run(path: Path, *, source: str = "folder", **options) -> Manifest:
        return ingest(source, path, raw(tmp_path), tmp_path / "data/manifest.json", progress=False, **options)

    return run


def raw(tmp_path: Path) -> Path:
    return tmp_path / "data/raw"


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_folder_is_brought_and_described(music, bring, tmp_path):
    manifest = bring(music)
    assert manifest.genres == ("blues", "rock")
    assert manifest.groups_known
    track = manifest.by_id["rock/Ünïcode Bänd/one song"]
    assert (track.path, track.group, track.group_source) == (
        "rock/Ünïcode Bänd/one song.wav",
        "ünïcode bänd",
        "folder",
    )
    assert track.duration == pytest.approx(1.2)
    assert (track.sample_rate, track.channels, track.error) == (RATE, 1, None)
    assert 0.25 < track.peak <= 0.3
    assert track.rms == pytest.approx(0.3 / np.sqrt(3), rel=0.05)
    assert len({track.hash for track in manifest.tracks}) == 8
    assert contents(raw(tmp_path)) == contents(music)
    assert Manifest.load(tmp_path / "data/manifest.json") == manifest
    assert sorted(os.listdir(tmp_path / "data")) == [".ingested.json", "manifest.json", "raw"]


def test_user_files_are_never_linked(music, bring, tmp_path):
    song = music / "rock/Queen/two.wav"
    linked = music / "rock/Queen/linked.wav"
    linked.symlink_to(write_tone(tmp_path / "elsewhere/far.wav", seed=99))
    bring(music)
    for name in (song.name, linked.name):
        copy = raw(tmp_path) / "rock/Queen" / name
        assert not copy.is_symlink()
        assert copy.stat().st_nlink == 1
        copy.chmod(0o444)
    assert os.access(song, os.W_OK)
    assert linked.stat().st_mode & 0o200


def test_only_what_changed_is_inspected(music, bring, tmp_path, monkeypatch):
    first = bring(music)
    inspected = []
    real = folders.inspect
    monkeypatch.setattr(folders, "inspect", lambda file: inspected.append(Path(file).name) or real(file))
    for copy in raw(tmp_path).rglob("*.wav"):  # as DVC does when it takes its links back
        os.utime(copy)
    assert bring(music) == first
    assert inspected == []
    write_tone(music / "rock/Queen/three.wav", seed=50)
    write_tone(music / "blues/B.B./two.wav", seed=51, seconds=2)
    second = bring(music)
    assert sorted(inspected) == ["three.wav", "two.wav"]
    assert second.by_id["blues/B.B./two"].duration == pytest.approx(2)
    assert second.by_id["blues/B.B./one song"] == first.by_id["blues/B.B./one song"]
    assert contents(raw(tmp_path)) == contents(music)


def test_what_the_copies_once_were_is_not_taken_for_what_they_are(music, bring, tmp_path):
    """DVC checks out the data of an older state after a newer one was ingested; sizes are the same."""
    older = bring(music)
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "data", kept)
    write_tone(music / "rock/Queen/two.wav", seed=77)
    newer = bring(music)
    assert newer != older
    shutil.rmtree(raw(tmp_path))
    shutil.copytree(kept / "raw", raw(tmp_path))
    shutil.copy(kept / "manifest.json", tmp_path / "data/manifest.json")
    assert bring(music) == newer
    assert contents(raw(tmp_path)) == contents(music)


def test_manifest_does_not_depend_on_place_or_history(music, bring, tmp_path):
    (music / "rock/Queen/broken.wav").write_bytes(b"no music")
    bring(music)
    bytes_before = (tmp_path / "data/manifest.json").read_bytes()
    bring(music)
    assert (tmp_path / "data/manifest.json").read_bytes() == bytes_before
    shutil.move(music, tmp_path / "moved")
    shutil.rmtree(tmp_path / "data")
    bring(tmp_path / "moved", n_jobs=2)
    assert (tmp_path / "data/manifest.json").read_bytes() == bytes_before


@pytest.mark.parametrize("fault", ["one genre", "unknown genre", "nothing decodes", "gone", "tracks.csv"])
def test_failing_ingest_leaves_everything_as_it_was(music, bring, tmp_path, fault):
    bring(music)
    before = contents(tmp_path / "data")
    options = {}
    if fault == "one genre":
        shutil.rmtree(music / "rock")
    elif fault == "unknown genre":
        options = {"genres": ["rock", "polka"]}
    elif fault == "nothing decodes":
        for file in music.rglob("*.wav"):
            file.write_bytes(b"")
    elif fault == "gone":
        shutil.rmtree(music)
    else:
        options = {"tracks_csv": tmp_path / "no.csv"}
    with pytest.raises(ParameterError):
        bring(music, **options)
    assert contents(tmp_path / "data") == before


def test_interrupt_leaves_everything_as_it_was(music, bring, tmp_path, monkeypatch):
    bring(music)
    before = contents(tmp_path / "data")
    write_tone(music / "rock/Queen/three.wav", seed=50)

    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "inspect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bring(music)
    assert contents(tmp_path / "data") == before


def test_dvc_may_have_made_the_previous_data_read_only(music, bring, tmp_path):
    bring(music)
    cached = tmp_path / "cache.wav"
    song = raw(tmp_path) / "rock/Queen/two.wav"
    os.link(song, cached)
    cached.chmod(0o444)
    cached_bytes = cached.read_bytes()
    write_tone(music / "rock/Queen/two.wav", seed=77)
    bring(music)
    assert cached.read_bytes() == cached_bytes
    assert song.read_bytes() == (music / "rock/Queen/two.wav").read_bytes()


def test_one_corrupt_track_among_many_is_a_fault(music, bring):
    (music / "rock/Queen/broken.wav").write_bytes(b"RIFF no music at all")
    (music / "rock/Queen/empty.flac").write_bytes(b"")
    (music / "rock/Queen/dangling.wav").symlink_to("nowhere.wav")
    manifest = bring(music)
    for name in ("broken", "empty", "dangling"):
        track = manifest.by_id[f"rock/Queen/{name}"]
        assert track.error["code"] == "undecodable"
        assert track.error["message"].startswith(f"rock/Queen/{name}")
    assert len(manifest.tracks) == 11


def test_other_files_are_counted_not_taken(music, bring):
    (music / "rock/cover.jpg").write_bytes(b"")
    (music / "rock/Queen/notes.txt").write_text("x")
    (music / "rock/Queen/._two.wav").write_bytes(b"")
    (music / ".git/blues").mkdir(parents=True)
    write_tone(music / ".git/blues/x.wav", seed=1)
    manifest = bring(music)
    assert len(manifest.tracks) == 8
    assert "2 files of other kinds were ignored (1 .jpg, 1 .txt)." in manifest.notes


def test_files_outside_genres_are_counted(music, bring):
    write_tone(music / "stray.wav", seed=1)
    manifest = bring(music)
    assert len(manifest.tracks) == 8
    assert any("1 files were ignored, stray.wav among them" in note for note in manifest.notes)


def test_group_from_table_before_folder_before_track(music, bring, tmp_path):
    write_tone(music / "rock/alone.wav", seed=30)
    table = tmp_path / "t.csv"
    table.write_text(
        "path,genre,group,split\n"
        "rock/Queen/one song.wav,,  freddie   MERCURY ,test\n"
        "rock/Queen/two,,,\n"
        "blues/B.B./two.wav,rock,Queen,train\n"
    )
    manifest = bring(music, tracks_csv=table)
    found = {track.id: (track.genre, track.group, track.group_source, track.split) for track in manifest.tracks}
    assert found["rock/Queen/one song"] == ("rock", "freddie mercury", "tracks.csv", "test")
    assert found["rock/Queen/two"] == ("rock", "queen", "folder", None)
    assert found["blues/B.B./two"] == ("rock", "queen", "tracks.csv", "train")
    assert found["rock/alone"] == ("rock", "track:rock/alone", "track", None)
    assert any("another genre than their folder" in note for note in manifest.notes)


def test_flat_folder_with_genres_in_table(bring, tmp_path):
    for number in range(4):
        write_tone(tmp_path / f"flat/{number}.wav", seed=number)
    (tmp_path / "flat/tracks.csv").write_text("file;label;artist\n0;a;x\n1;a;y\n2;b;z\n3;b;\n")
    manifest = bring(tmp_path / "flat")
    assert manifest.tracks_per_genre == {"a": 2, "b": 2}
    assert [track.group for track in manifest.tracks] == ["x", "y", "z", "track:3"]
    assert any("name it in data.tracks" in note for note in manifest.notes)


def test_artist_tag_is_the_last_resort(bring, tmp_path):
    for number, (genre, artist) in enumerate([("a", "Nina"), ("a", "Various Artists"), ("b", "nina "), ("b", "Miles")]):
        path = tmp_path / f"tagged/{genre}/{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        with sf.SoundFile(path, "w", RATE, 1) as file:
            file.artist = artist
            file.write(np.random.default_rng(number).uniform(-0.5, 0.5, RATE))
    manifest = bring(tmp_path / "tagged")
    assert [(track.group, track.group_source) for track in manifest.tracks] == [
        ("nina", "tag"),
        ("track:a/1", "track"),
        ("nina", "tag"),
        ("miles", "tag"),
    ]
    assert not manifest.groups_known
    assert any("figures may flatter" in note for note in manifest.notes)
    assert bring(tmp_path / "tagged") == manifest  # tags of files that are not inspected again


def test_same_stem_in_two_formats(music, bring):
    write_tone(music / "rock/Queen/two.flac", seed=40)
    manifest = bring(music)
    assert {"rock/Queen/two.wav", "rock/Queen/two.flac"} <= set(manifest.by_id)


def test_long_names_and_depth(bring, tmp_path):
    long = "ü" * 125
    for genre in "ab":
        write_tone(tmp_path / f"music/{genre}/{long}/{long}/{long}.wav", seed=ord(genre))
    manifest = bring(tmp_path / "music")
    assert {track.group for track in manifest.tracks} == {long}


def test_link_that_leads_back_is_walked_once(music, bring):
    (music / "rock/again").symlink_to(music)
    (music / "rock/Queen/self").symlink_to(music / "rock/Queen")
    assert len(bring(music).tracks) == 8


def test_fifo_is_a_fault_not_a_wait(music, bring):
    os.mkfifo(music / "rock/Queen/pipe.wav")
    assert bring(music).by_id["rock/Queen/pipe"].error["code"] == "undecodable"


def test_genre_subset(music, bring):
    write_tone(music / "jazz/x/a.wav", seed=60)
    write_tone(music / "Hip-Hop/x/a.wav", seed=61)
    write_tone(music / "hiphop/x/a.wav", seed=62)
    assert bring(music, genres=["rock", "jazz"]).genres == ("jazz", "rock")
    with pytest.raises(ParameterError, match="spells one genre in 2 ways: 'Hip-Hop' and 'hiphop'"):
        bring(music)
    with pytest.raises(ParameterError, match=r"data\.genres names polka.*are: Hip-Hop, blues, hiphop, jazz, rock"):
        bring(music, genres=["rock", "polka"])
    with pytest.raises(ParameterError, match="gives one genre, rock; a classifier needs at least two"):
        bring(music, genres=["rock"])


def test_sources_that_are_refused(music, bring, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"holds no audio files; expected is one sub-folder a genre"):
        bring(tmp_path / "empty")
    write_tone(tmp_path / "flat/a.wav", seed=1)
    with pytest.raises(ParameterError, match="lie in no genre's folder; expected is one sub-folder a genre"):
        bring(tmp_path / "flat")
    with pytest.raises(ParameterError, match=r"data\.path names .*nowhere, which does not exist"):
        bring(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="which is not a folder"):
        bring(tmp_path / "flat/a.wav")
    with pytest.raises(ParameterError, match=r"data\.source is 'tape'; one of folder, .* is right"):
        bring(music, source="tape")
    with pytest.raises(ParameterError, match="no settings file"):
        bring(tmp_path / "nowhere.yaml", source="demo")
    with pytest.raises(ParameterError, match="lies in, or holds"):
        bring(tmp_path)
    shutil.rmtree(music / "rock")
    with pytest.raises(ParameterError, match="gives one genre, blues"):
        bring(music)


def test_demo_is_composed_into_raw_data(bring, tmp_path):
    settings = tmp_path / "demo.yaml"
    settings.write_text("artists_per_genre: 3\ntracks_per_artist: 1\nseconds: 2.0\n")
    manifest = bring(settings, source="demo")
    assert (manifest.source, manifest.groups_known) == ("demo", True)
    assert len(manifest.tracks) == len(contents(raw(tmp_path))) == 3 * len(manifest.genres)
    assert len({track.group for track in manifest.tracks}) == len(manifest.tracks)
    assert all(track.group_source == "folder" and track.error is None for track in manifest.tracks)


@pytest.mark.skipif(not GTZAN.is_dir(), reason="no GTZAN material beside the project")
def test_real_tracks(bring, tmp_path):
    manifest = bring(GTZAN / "audio", tracks_csv=GTZAN / "tracks.csv")
    assert manifest.tracks_per_genre == dict.fromkeys(manifest.genres, 6)
    assert len(manifest.genres) == 10
    assert manifest.groups_known
    assert manifest.by_id["blues/blues.00000"].group == "john lee hooker"
    assert manifest.by_id["blues/blues.00000"].split == "valid"
    assert all(29 < track.duration < 31 and track.sample_rate == 22050 for track in manifest.tracks)
    assert json.loads((tmp_path / "data/manifest.json").read_text())["genres"]["rock"] == 6
