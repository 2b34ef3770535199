"""Playlists of classified files: their format, odd names, and files of others that are left alone."""

import os

import pytest
from click.testing import CliRunner

from genreflow import cli
from genreflow.errors import ParameterError
from genreflow.inference.audio_files import find_audio
from genreflow.inference.playlists import Playlists, playlist_names
from serving_toy import write_tone, write_toy_bundle


def result(file, genre="rock", duration=61.6):
    return {"file": str(file), "genre": genre, "duration": duration}


def paths_in(playlist):
    return [line for line in playlist.read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle").directory


def test_classify_writes_a_playlist_per_genre_with_relative_paths(bundle, tmp_path):
    music, folder = tmp_path / "music", tmp_path / "lists"
    low = write_tone(music / "a" / "low, very low.wav", "bass", 3.0)
    high = write_tone(music / "b" / "hoch – ö.wav", "whistle", 2.0)
    (music / "words.mp3").write_text("no audio")
    for extra in ([], ["--output", str(tmp_path / "out.csv")]):
        ended = CliRunner().invoke(
            cli.cli, ["classify", str(music), "--bundle", str(bundle), "--playlists", str(folder), *extra]
        )
        assert ended.exit_code == 1, ended.output  # words.mp3
        assert sorted(path.name for path in folder.iterdir()) == ["bass.m3u8", "whistle.m3u8"]
        text = (folder / "bass.m3u8").read_bytes().decode("utf-8")
        assert text.startswith("#EXTM3U\n")
        assert text.endswith("#PLAYLIST:bass\n#EXTINF:3,low, very low\n../music/a/low, very low.wav\n")
        assert [os.path.realpath(path) for path in find_audio([folder / "whistle.m3u8"])] == [str(high)]
        assert [os.path.realpath(path) for path in find_audio([folder / "bass.m3u8"])] == [str(low)]


def test_files_without_a_genre_are_in_no_playlist(tmp_path):
    bundle = write_toy_bundle(tmp_path / "abstaining", abstain_below=1.0).directory
    song = write_tone(tmp_path / "bass.wav", "bass", 3.0)
    ended = CliRunner().invoke(
        cli.cli, ["classify", str(song), "--bundle", str(bundle), "--playlists", str(tmp_path / "lists")]
    )
    assert ended.exit_code == 0
    assert not (tmp_path / "lists").exists()


def test_paths_that_readers_would_misread_are_written_unambiguously_or_left_out(tmp_path):
    lists = Playlists(tmp_path, ["rock"])
    odd = ["#1 hit.mp3", " leading.mp3", "http:x.mp3", "plain.mp3"]
    unwritable = ["a\nb.mp3", "c\rd.mp3", "latin\udce9.mp3"]
    for name in odd + unwritable:
        (tmp_path / name).touch()
        lists.add(result(tmp_path / name))
    assert set(lists.write().values()) == {4}
    assert lists.left_out == [str(tmp_path / name) for name in unwritable]
    assert paths_in(tmp_path / "rock.m3u8") == ["./#1 hit.mp3", "./ leading.mp3", "./http:x.mp3", "plain.mp3"]
    found = find_audio([tmp_path / "rock.m3u8"])
    assert [os.path.samefile(path, tmp_path / name) for path, name in zip(found, odd, strict=True)] == [True] * 4


def test_a_playlist_in_a_linked_folder_names_its_files(tmp_path):
    (tmp_path / "deep" / "lists").mkdir(parents=True)
    (tmp_path / "lists").symlink_to(tmp_path / "deep" / "lists")
    (tmp_path / "song.mp3").touch()
    lists = Playlists(tmp_path / "lists", ["rock"])
    lists.add(result(tmp_path / "song.mp3"))
    lists.write()
    [found] = find_audio([tmp_path / "lists" / "rock.m3u8"])
    assert found.samefile(tmp_path / "song.mp3")


def test_names_of_playlists_are_valid_and_unique():
    names = playlist_names(["R&B/Soul", "Rock", "rock", "..", "a\nb", "ö" * 300])
    assert list(names.values())[:5] == ["R&B_Soul.m3u8", "Rock.m3u8", "rock (2).m3u8", "genre.m3u8", "a_b.m3u8"]
    assert all(len(name.encode()) < 230 for name in names.values())


def test_only_playlists_that_were_written_here_are_replaced(tmp_path):
    song = tmp_path / "song.mp3"
    song.touch()
    lists = Playlists(tmp_path, ["jazz", "rock"])
    lists.add(result(song, "jazz"))
    lists.write()
    lists = Playlists(tmp_path, ["jazz", "rock"])
    lists.add(result(song, "rock"))
    lists.write()
    assert (paths_in(tmp_path / "jazz.m3u8"), paths_in(tmp_path / "rock.m3u8")) == ([], ["song.mp3"])

    edited = (tmp_path / "rock.m3u8").read_text("utf-8") + "mine.mp3\n"
    for content in (edited, "#EXTM3U\nmine.mp3\n", ""):
        (tmp_path / "rock.m3u8").write_text(content, "utf-8")
        with pytest.raises(ParameterError, match=r"rock\.m3u8"):
            Playlists(tmp_path, ["jazz", "rock"])
        assert (tmp_path / "rock.m3u8").read_text("utf-8") == content


def test_a_file_of_another_ends_classify_before_it_begins(bundle, tmp_path):
    song = write_tone(tmp_path / "bass.wav", "bass", 3.0)
    (tmp_path / "drone.m3u8").mkdir()
    arguments = ["classify", str(song), "--bundle", str(bundle), "--playlists", str(tmp_path)]
    ended = CliRunner().invoke(cli.cli, [*arguments, "--output", str(tmp_path / "out.csv")])
    assert isinstance(ended.exception, ParameterError)
    assert not (tmp_path / "out.csv").exists()
