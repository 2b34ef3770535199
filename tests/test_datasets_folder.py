"""A folder of music: which files are tracks, their metadata, incremental ingest, and errors."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genreflow.datasets import cache, importing
from genreflow.datasets import folder as folders
from genreflow.datasets.importing import atomic_import
from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import ingest
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from gtzan_excerpts import GTZAN, needs_gtzan

RATE = 8000


def write_noise(path: Path, *, seed: int, seconds: float = 1.2, level: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-level, level, round(RATE * seconds)), RATE)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """Two genres with two artists each, who have two tracks each."""
    for number, name in enumerate(
        f"{genre}/{artist}/{title}.wav"
        for genre, artists in {"blues": ("B.B.", "John Lee"), "rock": ("Queen", "Ünïcode Bänd")}.items()
        for artist in artists
        for title in ("one song", "two")
    ):
        write_noise(tmp_path / "music" / name, seed=number)
    return tmp_path / "music"


@pytest.fixture
def run(tmp_path):
    """Ingest into the same folder each time."""

    def run(path: Path, *, source: str = "folder", n_jobs: int = -1, **data) -> Manifest:
        params = DataParams(source=source, path=path, **data)
        return ingest(params, raw_dir(tmp_path), tmp_path / "data/manifest.json", n_jobs=n_jobs, progress=False)

    return run


def raw_dir(tmp_path: Path) -> Path:
    return tmp_path / "data/raw"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, including hidden ones."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_tracks_are_copied_and_measured(music, run, tmp_path):
    manifest = run(music)
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
    assert contents(raw_dir(tmp_path)) == contents(music)
    assert Manifest.load(tmp_path / "data/manifest.json") == manifest
    assert sorted(os.listdir(tmp_path / "data")) == [".ingested.json", "manifest.json", "raw"]


def test_user_files_are_never_linked(music, run, tmp_path):
    song = music / "rock/Queen/two.wav"
    link = music / "rock/Queen/linked.wav"
    link.symlink_to(music / "blues/B.B./two.wav")
    run(music)
    for name in (song.name, link.name):
        copy = raw_dir(tmp_path) / "rock/Queen" / name
        assert not copy.is_symlink()
        assert copy.stat().st_nlink == 1
        copy.chmod(0o444)
    assert os.access(song, os.W_OK)
    assert link.stat().st_mode & 0o200


def test_only_changed_files_are_decoded_again(music, run, tmp_path, monkeypatch):
    first = run(music)
    decoded = []
    inspect = folders.inspect
    monkeypatch.setattr(folders, "inspect", lambda file: decoded.append(Path(file).name) or inspect(file))
    for copy in raw_dir(tmp_path).rglob("*.wav"):  # as DVC does when it replaces files by links to its cache
        os.utime(copy)
    assert run(music) == first
    assert decoded == []
    write_noise(music / "rock/Queen/three.wav", seed=50)
    write_noise(music / "blues/B.B./two.wav", seed=51, seconds=2)
    second = run(music)
    assert sorted(decoded) == ["three.wav", "two.wav"]
    assert second.by_id["blues/B.B./two"].duration == pytest.approx(2)
    assert second.by_id["blues/B.B./one song"] == first.by_id["blues/B.B./one song"]
    assert contents(raw_dir(tmp_path)) == contents(music)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that are decoded."""
    names, inspect = [], folders.inspect
    monkeypatch.setattr(folders, "inspect", lambda file: names.append(Path(file).name) or inspect(file))
    return names


def test_files_of_a_collection_that_returns_are_not_decoded_again(music, run, tmp_path, decoded):
    first, other = run(music), tmp_path / "other"
    shutil.copytree(music, other)
    write_noise(other / "rock/Queen/two.wav", seed=60)
    run(other)
    decoded.clear()
    assert run(music) == first
    assert contents(raw_dir(tmp_path)) == contents(music)
    assert decoded == []
    run(other)
    assert contents(raw_dir(tmp_path)) == contents(other)
    assert decoded == []
    write_noise(music / "rock/Queen/two.wav", seed=61)
    assert run(music).by_id["rock/Queen/two"].hash != first.by_id["rock/Queen/two"].hash
    assert decoded == ["two.wav"]


def test_a_file_that_changes_while_it_is_copied_is_decoded(music, run, tmp_path, decoded, monkeypatch):
    first, other = run(music), tmp_path / "other"
    shutil.copytree(music, other)
    write_noise(other / "rock/Queen/two.wav", seed=60)
    run(other)
    decoded.clear()
    clone = importing._clone

    def change(original, copy):
        if original.name == "two.wav" and original.parent.name == "Queen":
            write_noise(original, seed=62)
        return clone(original, copy)

    monkeypatch.setattr(importing, "_clone", change)
    assert run(music).by_id["rock/Queen/two"].hash != first.by_id["rock/Queen/two"].hash
    assert decoded == ["two.wav"]


def test_the_number_of_files_whose_facts_are_kept_is_limited(music, run, tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(cache, "_MAX_FILES", 1)
    run(music)
    other = tmp_path / "other"
    shutil.copytree(music, other)
    run(other)
    decoded.clear()
    run(music)
    assert len(decoded) == len(list(music.rglob("*.wav")))


def test_all_files_of_the_current_ingest_are_kept_however_many(music, run, decoded, monkeypatch):
    monkeypatch.setattr(cache, "_MAX_FILES", 1)
    first = run(music)
    decoded.clear()
    assert run(music) == first
    assert decoded == []


def test_a_change_of_equal_size_within_one_step_of_the_clock_is_found(music, run, tmp_path, monkeypatch):
    """A file system with steps of a second: what changes after ingest has read a file must get another time."""
    step, start = 1_000_000_000, time.time_ns() | 1
    monkeypatch.setattr(cache, "_CLOCK_STEP", step)
    file, import_file = music / "rock/Queen/two.wav", folders.import_file

    def rewrite(seed: int) -> None:
        write_noise(file, seed=seed)
        now = time.time_ns()
        os.utime(file, ns=(now, now - (now - start) % step))

    def import_and_change(original, copy, **options):
        reused = import_file(original, copy, **options)
        if original == file:
            rewrite(71)
        return reused

    rewrite(70)
    with monkeypatch.context() as patched:
        patched.setattr(folders, "import_file", import_and_change)
        first = run(music)
    assert run(music).by_id["rock/Queen/two"].hash != first.by_id["rock/Queen/two"].hash
    assert contents(raw_dir(tmp_path)) == contents(music)


def test_copies_of_another_ingest_are_not_reused(music, run, tmp_path):
    """DVC may check out the data of an older state after a newer one was ingested; the sizes are equal."""
    older = run(music)
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path / "data", backup)
    write_noise(music / "rock/Queen/two.wav", seed=77)
    newer = run(music)
    assert newer != older
    shutil.rmtree(raw_dir(tmp_path))
    shutil.copytree(backup / "raw", raw_dir(tmp_path))
    shutil.copy(backup / "manifest.json", tmp_path / "data/manifest.json")
    assert run(music) == newer
    assert contents(raw_dir(tmp_path)) == contents(music)


def test_manifest_does_not_depend_on_location_or_history(music, run, tmp_path):
    (music / "rock/Queen/broken.wav").write_bytes(b"no music")
    run(music)
    expected = (tmp_path / "data/manifest.json").read_bytes()
    run(music)
    assert (tmp_path / "data/manifest.json").read_bytes() == expected
    shutil.move(music, tmp_path / "moved")
    shutil.rmtree(tmp_path / "data")
    run(tmp_path / "moved", n_jobs=2)
    assert (tmp_path / "data/manifest.json").read_bytes() == expected


@pytest.mark.parametrize("fault", ["one genre", "unknown genre", "nothing decodes", "deleted", "tracks.csv"])
def test_failing_ingest_leaves_previous_data_unchanged(music, run, tmp_path, fault):
    run(music)
    before = contents(tmp_path / "data")
    data = {}
    if fault == "one genre":
        shutil.rmtree(music / "rock")
    elif fault == "unknown genre":
        data = {"genres": ["rock", "polka"]}
    elif fault == "nothing decodes":
        for file in music.rglob("*.wav"):
            file.write_bytes(b"")
    elif fault == "deleted":
        shutil.rmtree(music)
    else:
        data = {"tracks": tmp_path / "no.csv"}
    with pytest.raises(ParameterError):
        run(music, **data)
    assert contents(tmp_path / "data") == before


def test_interrupt_leaves_previous_data_unchanged(music, run, tmp_path, monkeypatch):
    run(music)
    before = contents(tmp_path / "data")
    write_noise(music / "rock/Queen/three.wav", seed=50)

    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "inspect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(music)
    assert contents(tmp_path / "data") == before


def test_folder_and_file_are_replaced_together(tmp_path):
    folder, file = tmp_path / "raw", tmp_path / "manifest.json"
    (tmp_path / "disk").mkdir()
    folder.symlink_to(tmp_path / "disk")
    with atomic_import(folder, file) as (new_folder, new_file):
        (new_folder / "a").write_text("new")
        new_file.write_text("new")
        assert contents(tmp_path / "disk") == {}
        assert not file.exists()
    assert folder.is_symlink()
    assert (contents(folder), file.read_text()) == ({"a": b"new"}, "new")
    with pytest.raises(RuntimeError), atomic_import(folder, file):
        pass  # the file was not written
    assert (contents(folder), file.read_text()) == ({"a": b"new"}, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "manifest.json", "raw"]


def test_leftovers_of_a_killed_process_are_removed(music, run, tmp_path):
    run(music)
    (tmp_path / "data/.raw.0123abcd.tmp/rock").mkdir(parents=True)
    (tmp_path / "data/.manifest.json.0123abcd.tmp.json").write_text("{")
    run(music)
    assert sorted(os.listdir(tmp_path / "data")) == [".ingested.json", "manifest.json", "raw"]


def test_previous_data_may_be_read_only(music, run, tmp_path):
    """DVC hard-links them into its cache and makes them read-only."""
    run(music)
    cached = tmp_path / "cache.wav"
    song = raw_dir(tmp_path) / "rock/Queen/two.wav"
    os.link(song, cached)
    cached.chmod(0o444)
    cached_bytes = cached.read_bytes()
    write_noise(music / "rock/Queen/two.wav", seed=77)
    run(music)
    assert cached.read_bytes() == cached_bytes
    assert song.read_bytes() == (music / "rock/Queen/two.wav").read_bytes()


def test_undecodable_files_are_tracks_with_an_error(music, run):
    (music / "rock/Queen/broken.wav").write_bytes(b"RIFF no music at all")
    (music / "rock/Queen/empty.flac").write_bytes(b"")
    (music / "rock/Queen/dangling.wav").symlink_to("nowhere.wav")
    os.mkfifo(music / "rock/Queen/pipe.wav")  # reading it would block
    manifest = run(music)
    for name in ("broken", "empty", "dangling", "pipe"):
        track = manifest.by_id[f"rock/Queen/{name}"]
        assert track.error["code"] == "undecodable"
        assert track.error["message"].startswith(f"rock/Queen/{name}")
    assert len(manifest.tracks) == 12


def test_other_and_hidden_files_are_ignored(music, run):
    (music / "rock/cover.jpg").write_bytes(b"")
    (music / "rock/Queen/notes.txt").write_text("x")
    (music / "rock/Queen/._two.wav").write_bytes(b"")
    (music / ".git/blues").mkdir(parents=True)
    write_noise(music / ".git/blues/x.wav", seed=1)
    manifest = run(music)
    assert len(manifest.tracks) == 8
    (note,) = manifest.notes
    assert note.startswith("2 files ")
    assert "1 .jpg, 1 .txt" in note


def test_files_without_a_genre_are_ignored(music, run):
    write_noise(music / "stray.wav", seed=1)
    manifest = run(music)
    assert len(manifest.tracks) == 8
    (note,) = manifest.notes
    assert note.startswith("1 file without a genre was ")
    assert "stray.wav" in note


def test_group_is_that_of_the_table_then_the_folder_then_the_track(music, run, tmp_path):
    write_noise(music / "rock/alone.wav", seed=30)
    table = tmp_path / "t.csv"
    table.write_text(
        "path,genre,group,split\n"
        "rock/Queen/one song.wav,,  freddie   MERCURY ,test\n"
        "rock/Queen/two,,,\n"
        "blues/B.B./two.wav,rock,Queen,train\n"
    )
    manifest = run(music, tracks=table)
    metadata = {track.id: (track.genre, track.group, track.group_source, track.split) for track in manifest.tracks}
    assert metadata["rock/Queen/one song"] == ("rock", "freddie mercury", "tracks.csv", "test")
    assert metadata["rock/Queen/two"] == ("rock", "queen", "folder", None)
    assert metadata["blues/B.B./two"] == ("rock", "queen", "tracks.csv", "train")
    assert metadata["rock/alone"] == ("rock", "track:rock/alone", "track", None)
    assert any("overrides the genre of 1 track," in note for note in manifest.notes)


def test_flat_folder_with_genres_in_the_table(run, tmp_path):
    for number in range(4):
        write_noise(tmp_path / f"flat/{number}.wav", seed=number)
    (tmp_path / "flat/tracks.csv").write_text("file;label;artist\n0;a;x\n1;a;y\n2;b;z\n3;b;\n")
    manifest = run(tmp_path / "flat")
    assert manifest.tracks_per_genre == {"a": 2, "b": 2}
    assert [track.group for track in manifest.tracks] == ["x", "y", "z", "track:3"]
    assert any("data.tracks" in note for note in manifest.notes)


def test_artist_tag_is_used_if_nothing_else_gives_the_artist(run, tmp_path):
    for number, (genre, artist) in enumerate([("a", "Nina"), ("a", "Various Artists"), ("b", "nina "), ("b", "Miles")]):
        path = tmp_path / f"tagged/{genre}/{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        with sf.SoundFile(path, "w", RATE, 1) as file:
            file.artist = artist
            file.write(np.random.default_rng(number).uniform(-0.5, 0.5, RATE))
    manifest = run(tmp_path / "tagged")
    assert [(track.group, track.group_source) for track in manifest.tracks] == [
        ("nina", "tag"),
        ("track:a/1", "track"),
        ("nina", "tag"),
        ("miles", "tag"),
    ]
    assert not manifest.groups_known
    assert any("optimistically biased" in note for note in manifest.notes)
    assert run(tmp_path / "tagged") == manifest  # also for files that are not decoded again


def test_ids_of_files_that_differ_in_suffix_only_include_it(music, run):
    write_noise(music / "rock/Queen/two.flac", seed=40)
    manifest = run(music)
    assert {"rock/Queen/two.wav", "rock/Queen/two.flac"} <= set(manifest.by_id)


def test_long_names_and_deep_folders(run, tmp_path):
    long = "ü" * 125
    for genre in "ab":
        write_noise(tmp_path / f"music/{genre}/{long}/{long}/{long}.wav", seed=ord(genre))
    manifest = run(tmp_path / "music")
    assert {track.group for track in manifest.tracks} == {long}


def test_cyclic_links_are_not_followed(music, run):
    (music / "rock/again").symlink_to(music)
    (music / "rock/Queen/self").symlink_to(music / "rock/Queen")
    assert len(run(music).tracks) == 8


def test_genres_are_selected_and_checked(music, run):
    write_noise(music / "jazz/x/a.wav", seed=60)
    write_noise(music / "Hip-Hop/x/a.wav", seed=61)
    write_noise(music / "hiphop/x/a.wav", seed=62)
    assert run(music, genres=["rock", "jazz"]).genres == ("jazz", "rock")
    with pytest.raises(ParameterError, match="got 'Hip-Hop' and 'hiphop'"):
        run(music)
    with pytest.raises(ParameterError, match=r"^data\.genres: .*Hip-Hop, blues, hiphop, jazz, rock; got polka"):
        run(music, genres=["rock", "polka"])
    with pytest.raises(ParameterError, match=r"two genres .* got rock"):
        run(music, genres=["rock"])


def test_invalid_sources_are_refused(music, run, tmp_path):
    (tmp_path / "empty").mkdir()
    write_noise(tmp_path / "flat/a.wav", seed=1)
    for name in ("empty", "flat", "nowhere", "flat/a.wav"):
        with pytest.raises(ParameterError, match=rf"^data\.path: .* got {tmp_path / name}"):
            run(tmp_path / name)
    with pytest.raises(ParameterError, match=r"^data\.source: .* got 'tape'"):
        run(music, source="tape")
    with pytest.raises(ParameterError, match=r"^data\.path: .*nowhere\.yaml"):
        run(tmp_path / "nowhere.yaml", source="demo")
    with pytest.raises(ParameterError, match=rf"^data\.path: .* got {tmp_path}\.$"):  # holds the raw data
        run(tmp_path)
    shutil.rmtree(music / "rock")
    with pytest.raises(ParameterError, match=r"two genres .* got blues"):
        run(music)


def test_demo_data_are_ingested(run, tmp_path):
    settings = tmp_path / "demo.yaml"
    settings.write_text("artists_per_genre: 3\ntracks_per_artist: 1\nseconds: 2.0\n")
    manifest = run(settings, source="demo")
    assert (manifest.source, manifest.groups_known) == ("demo", True)
    assert len(manifest.tracks) == len(contents(raw_dir(tmp_path))) == 3 * len(manifest.genres)
    assert len({track.group for track in manifest.tracks}) == len(manifest.tracks)
    assert all(track.group_source == "folder" and track.error is None for track in manifest.tracks)


@needs_gtzan
def test_real_tracks(run, tmp_path):
    manifest = run(GTZAN / "audio", tracks=GTZAN / "tracks.csv")
    assert manifest.tracks_per_genre == dict.fromkeys(manifest.genres, 6)
    assert len(manifest.genres) == 10
    assert manifest.groups_known
    assert manifest.by_id["blues/blues.00000"].group == "john lee hooker"
    assert manifest.by_id["blues/blues.00000"].split == "valid"
    assert all(29 < track.duration < 31 and track.sample_rate == 22050 for track in manifest.tracks)
    assert json.loads((tmp_path / "data/manifest.json").read_text())["genres"]["rock"] == 6
