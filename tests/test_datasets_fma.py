"""The FMA: layouts, tables, labelling, and download."""

import hashlib
import threading
import tracemalloc
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fma_toy import row, write_clip, write_fma, write_tables
from genreflow.datasets import download
from genreflow.datasets.fma import archives
from genreflow.datasets.fma.labelling import Unlabelled, make_labeller
from genreflow.datasets.fma.source import find_tracks
from genreflow.datasets.fma.tables import read_genres, read_tracks
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.params import DataParams
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
def run(tmp_path):
    """Ingest into the same folder each time."""

    def run(path, **data):
        params = DataParams(source="fma", path=path, **data)
        return ingest(params, tmp_path / "data/raw", tmp_path / "data/manifest.json", progress=False)

    return run


def genres_of(manifest) -> dict[str, str]:
    return {track.id: track.genre for track in manifest.tracks}


def test_metadata_are_those_of_the_tables(run, tmp_path):
    manifest = run(write_fma(tmp_path / "fma", MEDIUM, clips="fma_medium"))
    metadata = {
        track.id: (track.genre, track.group, track.group_source, track.split, track.path) for track in manifest.tracks
    }
    assert metadata == {
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
def test_every_layout_is_found(run, tmp_path, place):
    """The folder of both, the folder of clips, and a folder of clips with the tables inside."""
    path = write_fma(tmp_path / "fma", SMALL)
    if place == "moved":
        (path / "fma_small").rename(tmp_path / "moved")
        (path / "fma_metadata").rename(tmp_path / "moved/fma_metadata")
        path = tmp_path
    assert len(run(path / place).tracks) == 3


def test_subset_is_read_from_the_clips_of_a_larger_one(run, tmp_path):
    path = write_fma(tmp_path / "fma", MEDIUM, clips="fma_medium")
    assert set(genres_of(run(path, subset="small"))) == {"000/000002", "000/000005", "000/000010"}
    assert len(run(path, subset="medium").tracks) == 6
    with pytest.raises(ParameterError, match=r"^data\.path: .* no fma_large.*497109f4dd721066b5ce5e5f250ec604dc78939e"):
        run(path, subset="large")
    with pytest.raises(ParameterError, match=r"^data\.subset: .* medium.* got large"):
        run(path / "fma_medium", subset="large")
    with pytest.raises(ParameterError, match=r"^data\.subset: .* small, medium, large, full, .* got 'tiny'"):
        run(path, subset="tiny")


def test_tracks_without_clip_or_with_several_genres_are_noted(run, tmp_path):
    manifest = run(write_fma(tmp_path / "fma", ROWS, clips="fma_large", without=[5, 1050]))
    assert "001/001040" not in genres_of(manifest)
    without_clip, several_genres = manifest.notes
    assert without_clip.startswith("2 tracks of fma_large have no clip")
    assert several_genres.startswith("1 track with several genres")


def test_undecodable_clip_is_a_track_with_an_error(run, tmp_path):
    path = write_fma(tmp_path / "fma", SMALL)
    (path / "fma_small/000/000005.mp3").write_bytes(b"no music")
    manifest = run(path)
    assert [track.id for track in manifest.tracks if track.error] == ["000/000005"]


@pytest.mark.parametrize(
    ("genres", "label"),
    [
        (["Metal"], "metal"),
        (["Black-Metal"], "metal"),  # below a selected genre
        (["Metal", "Rock"], "metal"),  # the lower of two matches
        (["Punk", "Black-Metal"], "metal"),
        (["Punk"], "rock"),
        (["Disco"], "disco"),
        (["Disco", "Pop"], None),  # two selected genres
        (["Reggae - Dub", "Hip-Hop"], "reggae"),  # Hip-Hop is not selected
        (["Hip-Hop"], None),
        ([], None),
    ],
)
def test_selected_genres_are_matched_with_the_own_genres_of_a_track(tmp_path, genres, label):
    names = {"Metal": "metal", "Rock": "rock", "Disco": "disco", "Reggae - Dub": "reggae", "Pop": "rock"}
    path = write_fma(tmp_path / "fma", [row(7, *genres)])
    options = IngestOptions(genre_map=names, n_jobs=1, progress=False)
    tracks, notes = find_tracks(path / "fma_metadata", path / "fma_small", "small", options)
    assert [names[track.genre] for track in tracks] == ([label] if label else [])
    assert len(notes) == (label is None)


def test_labeller_tells_why_a_track_has_no_genre(tmp_path):
    write_tables(tmp_path, [row(1, "Rock", "Jazz"), row(2), row(3, "Punk")])
    rows = list(read_tracks(tmp_path / "tracks.csv"))

    def labels(**selection):
        options = IngestOptions(n_jobs=1, progress=False, **selection)
        labeller = make_labeller(read_genres(tmp_path / "genres.csv"), options, genres_file=tmp_path / "genres.csv")
        return [labeller(row) for row in rows]

    assert labels() == [Unlabelled.SEVERAL, Unlabelled.NONE, "Rock"]
    assert labels(genres=["Rock", "Pop"]) == ["Rock", Unlabelled.NONE, "Rock"]
    assert labels(genre_map={"Rock": "a", "Jazz": "b"}) == [Unlabelled.SEVERAL, Unlabelled.NONE, "Rock"]


def test_selected_genres_may_be_of_any_level(run, tmp_path):
    path = write_fma(tmp_path / "fma", ROWS, clips="fma_large")
    assert genres_of(run(path, genres=["Rock", "Metal"])) == {
        "000/000002": "Rock",
        "000/000005": "Rock",
        "001/001040": "Rock",
        "001/001060": "Metal",
    }
    with pytest.raises(ParameterError, match=r"^data\.genres: .* got Mettal\. .*Metal.* International, Blues"):
        run(path, genres=["Rock", "Mettal"])


def test_unchanged_clips_are_not_decoded_again(run, tmp_path, monkeypatch):
    path = write_fma(tmp_path / "fma", SMALL)
    first = run(path)
    monkeypatch.setattr("genreflow.datasets.folder.inspect", None)
    assert run(path) == first
    monkeypatch.undo()
    write_clip(path / "fma_small", 10, seconds=2)
    assert run(path).by_id["000/000010"].duration > 1.9


def test_table_of_tracks_is_ignored(run, tmp_path):
    (tmp_path / "tracks.csv").write_text("path,genre\n000/000002.mp3,Noise\n")
    manifest = run(write_fma(tmp_path / "fma", SMALL), tracks=tmp_path / "tracks.csv")
    assert manifest.by_id["000/000002"].genre == "Rock"
    assert manifest.notes[0].startswith("data.tracks was ignored")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "fma_metadata/tracks.csv").unlink(), r"tracks\.csv: "),
        (
            lambda path: (path / "fma_metadata/genres.csv").write_text("id,name\n1,Rock\n"),
            r"genres\.csv: ",
        ),
        (lambda path: (path / "fma_metadata/tracks.csv").write_text("a,b\nc,d\n"), r"tracks\.csv: .* track\.genre_top"),
        (
            lambda path: truncate(path / "fma_metadata/tracks.csv"),
            r"tracks\.csv, line 9: .* truncated",
        ),
        (
            lambda path: (path / "fma_metadata").rename(path.parent / "elsewhere"),
            r"^data\.path: .* no fma_metadata.*f0df49ffe5f2",
        ),
        (lambda path: (path / "fma_small").rename(path / "clips"), r"^data\.path: .* no fma_small.*ade154f73363"),
        (lambda path: (path / "fma_small/000").rename(path / "fma_small/x"), r"^data\.path: .* no clip of"),
    ],
)
def test_damaged_copy_is_refused_and_previous_data_stay(run, tmp_path, damage, message):
    path = write_fma(tmp_path / "fma", SMALL)
    run(path)
    before = (tmp_path / "data/manifest.json").read_bytes()
    damage(path)
    with pytest.raises(ParameterError, match=message):
        run(path)
    assert (tmp_path / "data/manifest.json").read_bytes() == before


def truncate(file):
    file.write_text(file.read_text()[:-60])


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server with the archives of a small FMA; the list of requested files."""
    site = tmp_path / "site"
    write_fma(site, SMALL)
    small_archives = {}
    for name in ("fma_metadata", "fma_small"):
        with zipfile.ZipFile(site / f"{name}.zip", "w") as archive:
            for file in sorted((site / name).rglob("*")):
                archive.write(file, file.relative_to(site))
        checksum = "sha1:" + hashlib.sha1((site / f"{name}.zip").read_bytes()).hexdigest()
        small_archives[name] = archives.Archive(checksum, 1e-4)
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setattr(archives, "ARCHIVES", small_archives)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        monkeypatch.setattr(archives, "BASE_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield requests
        server.shutdown()
        thread.join()


def test_missing_archives_are_downloaded_once(published, run, tmp_path):
    path = tmp_path / "fma"
    assert len(run(path).tracks) == 3
    assert published == ["/fma_metadata.zip", "/fma_small.zip"]
    assert sorted(file.name for file in path.iterdir()) == ["fma_metadata", "fma_small"]
    run(path)
    assert len(published) == 2


def test_component_of_a_combination_is_downloaded(published, tmp_path):
    component = {"source": "fma", "path": "fma", "genres": {"Rock": "rock", "Jazz": "jazz"}}
    (tmp_path / "music").mkdir()
    data = DataParams(source="combination", path=tmp_path / "music", sources=[component])
    manifest = ingest(data, tmp_path / "raw", tmp_path / "manifest.json", progress=False)
    assert [track.id for track in manifest.tracks] == ["fma/000/000002", "fma/000/000005", "fma/000/000010"]
    assert len(published) == 2


def test_interrupted_download_is_resumed(published, run, tmp_path):
    path = tmp_path / "fma"
    write_tables(path / "fma_metadata", SMALL)
    (path / "fma_small.zip.part").write_bytes(b"")
    assert len(run(path).tracks) == 3
    assert published == ["/fma_small.zip"]


def test_nothing_is_downloaded_to_a_folder_with_other_files(published, run, tmp_path):
    (tmp_path / "fma").mkdir()
    (tmp_path / "fma/thesis.tex").write_text("")
    with pytest.raises(ParameterError, match=r"^data\.path: .* no fma_small"):
        run(tmp_path / "fma")
    assert published == []


def test_message_without_network_names_archive_checksum_and_folder(published, run, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "BASE_URL", "http://nowhere.invalid/fma")
    with pytest.raises(ParameterError) as caught:
        run(tmp_path / "fma")
    for expected in (
        "nowhere.invalid/fma/fma_metadata.zip",
        archives.ARCHIVES["fma_metadata"].checksum,
        str(tmp_path / "fma"),
    ):
        assert expected in str(caught.value)


def test_too_little_disk_space_is_reported_before_the_download(published, run, tmp_path, monkeypatch):
    monkeypatch.setitem(archives.ARCHIVES, "fma_metadata", archives.Archive("sha1:0", 1e9))
    with pytest.raises(ParameterError, match=r"free disk space must be >= 2000000000\.00 GiB for fma_metadata"):
        run(tmp_path / "fma")
    assert published == []


def test_memory_for_reading_the_table_does_not_grow_with_it(tmp_path):
    write_tables(tmp_path, (row(number, "Jazz") for number in range(20_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_tracks(tmp_path / "tracks.csv")) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # the file has 3 MB
    finally:
        tracemalloc.stop()
