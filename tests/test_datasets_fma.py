"""The FMA: its layouts, its tables, which genre decides, and its download."""

import hashlib
import threading
import tracemalloc
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fma_toy import row, write_clip, write_fma, write_tables
from genreflow.datasets import download
from genreflow.datasets.fma import archives
from genreflow.datasets.fma.source import find
from genreflow.datasets.fma.tables import read_tracks
from genreflow.datasets.request import Component, Request
from genreflow.datasets.sources import ingest
from genreflow.errors import ParameterError

ROWS = (
    row(2, "Rock", artist="AWOL", artist_id=1),
    row(5, "Punk", artist="Awol  ", artist_id=1, split="validation"),
    row(10, "Jazz", artist="Kurt", split="test"),
    row(1040, "Jazz", "Rock", artist="Kurt", artist_id=10, subset="large"),
    row(1050, "Disco", artist="Various Artists", artist_id=77, subset="medium"),
    row(1051, "Disco", artist="Various Artists", artist_id=77, subset="medium"),
    row(1060, "Metal", artist="Ängel", subset="medium"),
)
SMALL, MEDIUM = ROWS[:3], [*ROWS[:3], *ROWS[4:]]


@pytest.fixture
def bring(tmp_path):
    """Ingest into one and the same place."""

    def run(path, **options):
        return ingest("fma", path, tmp_path / "data/raw", tmp_path / "data/manifest.json", progress=False, **options)

    return run


def genres_of(manifest) -> dict[str, str]:
    return {track.id: track.genre for track in manifest.tracks}


def test_tracks_have_what_the_tables_say(bring, tmp_path):
    manifest = bring(write_fma(tmp_path / "fma", MEDIUM, clips="fma_medium"))
    described = {
        track.id: (track.genre, track.group, track.group_source, track.split, track.path) for track in manifest.tracks
    }
    assert described == {
        "000/000002": ("Rock", "awol", "published", "train", "000/000002.mp3"),
        "000/000005": ("Rock", "awol", "published", "valid", "000/000005.mp3"),
        "000/000010": ("Jazz", "kurt", "published", "test", "000/000010.mp3"),
        "001/001050": ("Soul-RnB", "fma artist 77", "published", "train", "001/001050.mp3"),
        "001/001051": ("Soul-RnB", "fma artist 77", "published", "train", "001/001051.mp3"),
        "001/001060": ("Rock", "ängel", "published", "train", "001/001060.mp3"),
    }
    assert all((tmp_path / "data/raw" / track.path).is_file() and track.error is None for track in manifest.tracks)
    assert manifest.groups_known
    assert manifest.notes == ()


@pytest.mark.parametrize("place", [".", "fma_small", "moved"])
def test_clips_are_found_in_every_layout(bring, tmp_path, place):
    """The folder of both, that of the clips, and clips that hold the tables."""
    path = write_fma(tmp_path / "fma", SMALL)
    if place == "moved":
        (path / "fma_small").rename(tmp_path / "moved")
        (path / "fma_metadata").rename(tmp_path / "moved/fma_metadata")
        path = tmp_path
    assert len(bring(path / place).tracks) == 3


def test_subset_is_taken_from_the_clips_of_a_larger_one(bring, tmp_path):
    path = write_fma(tmp_path / "fma", MEDIUM, clips="fma_medium")
    assert set(genres_of(bring(path, subset="small"))) == {"000/000002", "000/000005", "000/000010"}
    assert len(bring(path, subset="medium").tracks) == 6
    with pytest.raises(ParameterError, match=r"holds no fma_large; .*497109f4dd721066b5ce5e5f250ec604dc78939e"):
        bring(path, subset="large")
    with pytest.raises(ParameterError, match="holds the smaller subset medium"):
        bring(path / "fma_medium", subset="large")
    with pytest.raises(ParameterError, match=r"data\.subset is 'tiny'; one of small, medium, large, full"):
        bring(path, subset="tiny")


def test_tracks_without_clip_and_tracks_of_several_genres_are_counted(bring, tmp_path):
    manifest = bring(write_fma(tmp_path / "fma", ROWS, clips="fma_large", without=[5, 1050]))
    assert "001/001040" not in genres_of(manifest)
    assert manifest.notes == (
        "2 tracks of fma_large have no clip in fma_large.",
        "1 tracks were left out, since they are of several genres.",
    )


def test_clip_that_cannot_be_decoded_is_a_fault(bring, tmp_path):
    path = write_fma(tmp_path / "fma", SMALL)
    (path / "fma_small/000/000005.mp3").write_bytes(b"no music")
    manifest = bring(path)
    assert [track.id for track in manifest.tracks if track.error] == ["000/000005"]


@pytest.mark.parametrize(
    ("genres", "label"),
    [
        (["Metal"], "metal"),
        (["Black-Metal"], "metal"),  # below a genre that is named
        (["Metal", "Rock"], "metal"),  # the lower counts
        (["Punk", "Black-Metal"], "metal"),
        (["Punk"], "rock"),
        (["Disco"], "disco"),
        (["Disco", "Pop"], None),  # two of ours
        (["Reggae - Dub", "Hip-Hop"], "reggae"),  # Hip-Hop is none of ours
        (["Hip-Hop"], None),
        ([], None),
    ],
)
def test_own_genres_decide_where_genres_are_named(tmp_path, genres, label):
    names = {"Metal": "metal", "Rock": "rock", "Disco": "disco", "Reggae - Dub": "reggae", "Pop": "rock"}
    path = write_fma(tmp_path / "fma", [row(7, *genres)])
    tracks, notes = find(path / "fma_metadata", path / "fma_small", "small", Request(genre_map=names))
    assert [names[track.genre] for track in tracks] == ([label] if label else [])
    assert len(notes) == (label is None)


def test_named_genres_may_be_any_of_the_tree(bring, tmp_path):
    path = write_fma(tmp_path / "fma", ROWS, clips="fma_large")
    assert genres_of(bring(path, genres=["Rock", "Metal"])) == {
        "000/000002": "Rock",
        "000/000005": "Rock",
        "001/001040": "Rock",
        "001/001060": "Metal",
    }
    with pytest.raises(
        ParameterError, match=r"no genre Mettal; near it are Metal.* top genres are International, Blues"
    ):
        bring(path, genres=["Rock", "Mettal"])


def test_second_time_nothing_is_decoded(bring, tmp_path, monkeypatch):
    path = write_fma(tmp_path / "fma", SMALL)
    first = bring(path)
    monkeypatch.setattr("genreflow.datasets.folder.inspect", None)
    assert bring(path) == first
    monkeypatch.undo()
    write_clip(path / "fma_small", 10, seconds=2)
    assert bring(path).by_id["000/000010"].duration > 1.9


def test_table_of_tracks_is_not_read(bring, tmp_path):
    (tmp_path / "tracks.csv").write_text("path,genre\n000/000002.mp3,Noise\n")
    manifest = bring(write_fma(tmp_path / "fma", SMALL), tracks_csv=tmp_path / "tracks.csv")
    assert manifest.by_id["000/000002"].genre == "Rock"
    assert manifest.notes[0].startswith("data.tracks was not read")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: (path / "fma_metadata/tracks.csv").unlink(), "tracks.csv cannot be read"),
        (
            lambda path: (path / "fma_metadata/genres.csv").write_text("id,name\n1,Rock\n"),
            "genres.csv cannot be underst",
        ),
        (lambda path: (path / "fma_metadata/tracks.csv").write_text("a,b\nc,d\n"), "has no column track.genre_top"),
        (
            lambda path: _cut(path / "fma_metadata/tracks.csv"),
            "tracks.csv, line 9, cannot be understood .the row is cut off",
        ),
        (lambda path: (path / "fma_metadata").rename(path.parent / "elsewhere"), "holds no fma_metadata.*f0df49ffe5f2"),
        (lambda path: (path / "fma_small").rename(path / "clips"), "holds no fma_small.*ade154f73363"),
        (lambda path: (path / "fma_small/000").rename(path / "fma_small/x"), "holds no clip that"),
    ],
)
def test_what_is_wrong_with_a_copy_is_told(bring, tmp_path, harm, words):
    path = write_fma(tmp_path / "fma", SMALL)
    bring(path)
    before = (tmp_path / "data/manifest.json").read_bytes()
    harm(path)
    with pytest.raises(ParameterError, match=words):
        bring(path)
    assert (tmp_path / "data/manifest.json").read_bytes() == before


def _cut(file):
    file.write_text(file.read_text()[:-60])


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The archives of a small FMA on a server of our own; the files that were asked for."""
    site = tmp_path / "site"
    write_fma(site, SMALL)
    mine = {}
    for name in ("fma_metadata", "fma_small"):
        with zipfile.ZipFile(site / f"{name}.zip", "w") as archive:
            for file in sorted((site / name).rglob("*")):
                archive.write(file, file.relative_to(site))
        checksum = "sha1:" + hashlib.sha1((site / f"{name}.zip").read_bytes()).hexdigest()
        mine[name] = archives.Archive(checksum, 1e-4)
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setattr(archives, "ARCHIVES", mine)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        monkeypatch.setattr(archives, "BASE_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_what_is_not_there_is_downloaded_once(published, bring, tmp_path):
    path = tmp_path / "fma"
    assert len(bring(path).tracks) == 3
    assert published == ["/fma_metadata.zip", "/fma_small.zip"]
    assert sorted(file.name for file in path.iterdir()) == ["fma_metadata", "fma_small"]
    bring(path)
    assert len(published) == 2


def test_part_of_a_combination_is_downloaded(published, tmp_path):
    part = Component(source="fma", path=Path("fma"), genres={"Rock": "rock", "Jazz": "jazz"})
    (tmp_path / "music").mkdir()
    options = {"components": [part], "progress": False}
    manifest = ingest("combination", tmp_path / "music", tmp_path / "raw", tmp_path / "manifest.json", **options)
    assert [track.id for track in manifest.tracks] == ["fma/000/000002", "fma/000/000005", "fma/000/000010"]
    assert len(published) == 2


def test_interrupted_download_goes_on(published, bring, tmp_path):
    path = tmp_path / "fma"
    write_tables(path / "fma_metadata", SMALL)
    (path / "fma_small.zip.part").write_bytes(b"")
    assert len(bring(path).tracks) == 3
    assert published == ["/fma_small.zip"]


def test_folder_that_holds_other_things_is_not_downloaded_into(published, bring, tmp_path):
    (tmp_path / "fma").mkdir()
    (tmp_path / "fma/thesis.tex").write_text("")
    with pytest.raises(ParameterError, match="holds no fma_small"):
        bring(tmp_path / "fma")
    assert published == []


def test_without_network_the_message_names_archive_checksum_and_place(published, bring, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "BASE_URL", "http://nowhere.invalid/fma")
    with pytest.raises(ParameterError) as caught:
        bring(tmp_path / "fma")
    for word in (
        "nowhere.invalid/fma/fma_metadata.zip",
        archives.ARCHIVES["fma_metadata"].checksum,
        str(tmp_path / "fma"),
    ):
        assert word in str(caught.value)


def test_too_small_a_disk_is_told_first(published, bring, tmp_path, monkeypatch):
    monkeypatch.setitem(archives.ARCHIVES, "fma_metadata", archives.Archive("sha1:0", 1e9))
    with pytest.raises(ParameterError, match=r"fma_metadata, packed and unpacked, needs 2000000000\.00 GiB"):
        bring(tmp_path / "fma")
    assert published == []


def test_table_is_read_in_flat_memory(tmp_path):
    write_tables(tmp_path, (row(number, "Jazz") for number in range(20_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_tracks(tmp_path / "tracks.csv")) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # the file has 3 MB
    finally:
        tracemalloc.stop()
