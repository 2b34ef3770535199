"""GTZAN: layouts of copies, download, checksums, and published metadata."""

import csv
import hashlib
import io
import json
import shutil
import socket
import tarfile
import threading
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.datasets import download, sources
from genreflow.datasets import folder as folders
from genreflow.datasets.gtzan.archive import Archive, RemoteFile
from genreflow.datasets.gtzan.facts import TRACK_IDS, published_artists, published_faults, published_split
from genreflow.datasets.gtzan.source import gtzan
from genreflow.datasets.labels import artist_key
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.params import DataParams
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from gtzan_excerpts import GTZAN, needs_gtzan

RATE = 22050
# (group, part): tracks of two genres, of every part of the published split and none, and with an unknown artist.
EXCERPTS = {
    "blues.00000": ("john lee hooker", "valid"),
    "blues.00012": ("robert johnson", "test"),
    "blues.00029": ("kelly joe phelps", "train"),
    "jazz.00001": ("leonard bernstein", "train"),
    "jazz.00002": ("james carter", "valid"),
    "jazz.00033": ("coleman hawkins", None),
    "jazz.00054": ("track:jazz.00054", "train"),
    "jazz.00073": ("dexter gordon", "test"),
}


def write_excerpts(home: Path, suffix: str, names=EXCERPTS, *, seconds: float = 0.5) -> Path:
    """Write noise as a copy of GTZAN with its genre folders in `home`."""
    for number, name in enumerate(names):
        file = home / name.partition(".")[0] / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        sf.write(file, np.random.default_rng(number).uniform(-0.3, 0.3, round(RATE * seconds)), RATE)
    return home


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy with the published layout: ``genres/<genre>/<genre>.<number>.au``."""
    write_excerpts(tmp_path / "copy/genres", ".au")
    return tmp_path / "copy"


@pytest.fixture
def run(tmp_path):
    """Ingest into the same folder each time."""

    def run(path: Path, **data) -> Manifest:
        params = DataParams(source="gtzan", path=path, **data)
        return sources.ingest(params, tmp_path / "raw", tmp_path / "manifest.json", progress=False)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize(
    ("home", "suffix"),
    [
        ("genres", ".au"),
        ("genres", ".wav"),
        ("gtzan_genre/genres", ".wav"),
        ("Data/genres_original", ".wav"),
        ("genres_original", ".wav"),
        ("", ".au"),
        ("", ".FLAC"),
    ],
)
def test_every_layout_gives_the_same_tracks(run, tmp_path, home, suffix):
    copy = tmp_path / "copy"
    write_excerpts(copy / home, suffix)
    images = copy / home / "../images_original/blues"
    images.mkdir(parents=True)
    (images / "blues00000.png").write_bytes(b"\x89PNG")
    (copy / home / "../features_30_sec.csv").write_text("filename,label\n")
    manifest = run(copy)
    assert manifest.genres == ("blues", "jazz")
    assert {track.id: (track.group, track.split) for track in manifest.tracks} == EXCERPTS
    assert {track.genre for track in manifest.tracks if track.id.startswith("jazz.")} == {"jazz"}
    assert manifest.by_id["blues.00000"].group_source == "published"
    assert manifest.by_id["jazz.00054"].group_source == "track"
    raw = sorted(str(file.relative_to(tmp_path / "raw")) for file in (tmp_path / "raw").rglob("*.*"))
    assert raw == [track.path for track in manifest.tracks]
    assert raw == [f"{name.partition('.')[0]}/{name}{suffix}" for name in EXCERPTS]
    assert all(track.sample_rate == RATE and not track.error for track in manifest.tracks)


def test_missing_tracks_are_noted(copy, run):
    [note] = [note for note in run(copy).notes if "missing" in note]
    assert note.startswith("992 of the 1,000 tracks are missing: blues.00001, blues.00002, ")
    assert note.endswith(" and 987 more.")


def test_corrupt_file_is_a_track_with_an_error(run, tmp_path):
    """Like jazz.00054 in the copy on Kaggle."""
    home = write_excerpts(tmp_path / "copy/Data/genres_original", ".wav")
    (home / "jazz/jazz.00054.wav").write_bytes(b"\x00\x01" * 5000)
    manifest = run(tmp_path / "copy")
    assert [track.id for track in manifest.tracks if track.error] == ["jazz.00054"]
    track = manifest.by_id["jazz.00054"]
    assert track.error["code"] == "undecodable"
    assert str(tmp_path) not in track.error["message"]
    assert len(manifest.tracks) == len(EXCERPTS)


def test_other_files_are_ignored_and_noted(copy, run):
    write_excerpts(copy / "genres", ".wav", ["blues.00000"])
    (copy / "genres/blues/blues.00001.mf").write_text("")
    (copy / "genres/blues/song.au").write_bytes((copy / "genres/blues/blues.00000.au").read_bytes())
    (copy / "genres/blues/.DS_Store").write_text("")
    manifest = run(copy)
    assert {track.id for track in manifest.tracks} == set(EXCERPTS)
    assert manifest.by_id["blues.00000"].path == "blues/blues.00000.au"
    others, duplicates = (note for note in manifest.notes if "ignored" in note)
    assert others.startswith("2 files ")
    assert others.endswith(": blues/blues.00001.mf, blues/song.au.")
    assert duplicates.startswith("1 file was ")
    assert duplicates.endswith(": blues/blues.00000.wav.")


def test_genres_can_be_selected(copy, run):
    write_excerpts(copy / "genres", ".au", ["rock.00000"])
    assert run(copy, genres=["rock", "blues"]).genres == ("blues", "rock")
    with pytest.raises(ParameterError, match=r"^data\.genres: .* got folk"):
        run(copy, genres=["folk", "blues"])


def test_table_of_tracks_overrides_published_metadata(copy, run, tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("track,genre,artist\ngenres/blues/blues.00000.au,rock,Somebody\njazz.00054,,Nobody Else\n")
    manifest = run(copy, tracks=table)
    track = manifest.by_id["blues.00000"]
    assert (track.genre, track.group, track.group_source, track.split) == ("rock", "somebody", "tracks.csv", "valid")
    assert manifest.by_id["jazz.00054"].group == "nobody else"
    assert manifest.by_id["blues.00012"].group == "robert johnson"


def test_parts_of_the_table_replace_the_published_split(copy, run, tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("track,split\nblues.00000,train\njazz.00001,test\n")
    manifest = run(copy, tracks=table)
    assert {track.id: track.split for track in manifest.tracks if track.split} == {
        "blues.00000": "train",
        "jazz.00001": "test",
    }


def test_unchanged_files_are_not_decoded_again(copy, run, monkeypatch):
    first = run(copy)
    decoded = []
    inspect = folders.inspect
    monkeypatch.setattr(folders, "inspect", lambda file: decoded.append(file.name) or inspect(file))
    write_excerpts(copy / "genres", ".au", ["jazz.00074"])
    second = run(copy)
    assert decoded == ["jazz.00074.au"]
    assert set(first.tracks) == {track for track in second.tracks if track.id != "jazz.00074"}


@pytest.mark.parametrize("inside", ["song.wav", "blues/one.wav", "genres/blues/one.wav"])
def test_folder_without_gtzan_is_refused(run, tmp_path, inside):
    file = tmp_path / "music" / inside
    file.parent.mkdir(parents=True)
    sf.write(file, np.zeros(100), RATE)
    with pytest.raises(ParameterError, match=rf"^data\.path: .* got {tmp_path / 'music'}"):
        run(tmp_path / "music")
    assert contents(tmp_path / "music") == {inside: file.read_bytes()}


def test_file_is_refused(run, tmp_path):
    (tmp_path / "genres.zip").write_bytes(b"")
    with pytest.raises(ParameterError, match=r"^data\.path: .*genres\.zip"):
        run(tmp_path / "genres.zip")


def test_folder_that_cannot_be_written_is_refused(packed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"^data\.path: .* Not a directory"):
        download_and_ingest(tmp_path / "file/gtzan", published_at(1, packed), destination=tmp_path / "raw")


# --- published checksums


def write_index(file: Path, home: Path) -> None:
    """Write an index of the files in `home` in the format of mirdata."""
    tracks = {
        path.stem: {
            "audio": [f"gtzan_genre/genres/{path.parent.name}/{path.name}", hashlib.md5(path.read_bytes()).hexdigest()],
            "beats": [None, None],
        }
        for path in home.rglob("*.wav")
    }
    file.write_text(json.dumps({"version": "1.0", "tracks": tracks}))


def test_files_that_differ_from_the_published_ones_are_noted(run, tmp_path):
    home = write_excerpts(tmp_path / "copy/genres", ".wav")
    write_index(tmp_path / "copy/gtzan_genre_index_1.0.json", home)
    assert not any("published ones" in note for note in run(tmp_path / "copy").notes)
    sf.write(home / "blues/blues.00012.wav", np.zeros(RATE), RATE)
    (note,) = (note for note in run(tmp_path / "copy").notes if "published ones" in note)
    assert note.startswith("1 of 8 files ")
    assert "blues.00012.wav" in note


def test_damaged_index_is_refused(run, tmp_path):
    write_excerpts(tmp_path / "copy/genres", ".wav")
    (tmp_path / "copy/gtzan_genre_index_1.0.json").write_text("[]")
    with pytest.raises(ParameterError, match=r"gtzan_genre_index_1\.0\.json: "):
        run(tmp_path / "copy")


def test_archive_is_that_of_mirdata():
    archive = Archive.from_mirdata()
    assert archive.music == RemoteFile(
        "genres.tar.gz", "http://opihi.cs.uvic.ca/sound/genres.tar.gz", "md5:5b3d6dddb579ab49814ab86dba69e7c7"
    )
    assert archive.index.name == archive.mirdata_index.name == "gtzan_genre_index_1.0.json"
    assert archive.index.url.startswith("https://zenodo.org/")


# --- download


class Handler(BaseHTTPRequestHandler):
    """Sends `server.files` with byte ranges, up to the byte `server.limit`."""

    def do_GET(self):
        content = self.server.files.get(self.path.removeprefix("/"))
        if content is None:
            return self.send_error(404)
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.offsets.append(begin)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[begin : self.server.limit])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> dict[str, bytes]:
    """An archive of the test excerpts with the published layout, and its index."""
    folder = tmp_path_factory.mktemp("published")
    home = write_excerpts(folder / "genres", ".wav")
    write_index(folder / "index.json", home)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(home, "genres")
    return {"genres.tar.gz": stream.getvalue(), "index.json": (folder / "index.json").read_bytes()}


@pytest.fixture
def server(packed, monkeypatch):
    """A server on the loopback address, whose files tests may change, and the archive that it publishes."""
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.files, http.limit, http.offsets = dict(packed), None, []
        thread = threading.Thread(target=http.serve_forever, args=[0.01])
        thread.start()
        yield SimpleNamespace(http=http, archive=published_at(http.server_port, packed))
        http.shutdown()
        thread.join()


def published_at(port: int, packed: dict[str, bytes]) -> Archive:
    music, index = (
        RemoteFile(name, f"http://127.0.0.1:{port}/{name}", "md5:" + hashlib.md5(packed[name]).hexdigest())
        for name in ("genres.tar.gz", "index.json")
    )
    return Archive(music=music, index=index, mirdata_index=Path("nowhere"))


def download_and_ingest(path: Path, archive: Archive, *, destination: Path | None = None) -> Manifest:
    destination = destination or path.with_name("raw")
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir()
    return gtzan(path, destination, IngestOptions(n_jobs=1, progress=False), archive=archive)


@pytest.mark.parametrize("exists", [True, False])
def test_gtzan_is_downloaded_to_a_missing_or_empty_folder(server, tmp_path, exists):
    path = tmp_path / "gtzan"
    if exists:
        path.mkdir()
    manifest = download_and_ingest(path, server.archive)
    assert {track.id: (track.group, track.split) for track in manifest.tracks} == EXCERPTS
    assert sorted(file.name for file in path.iterdir()) == ["genres", "index.json"]
    assert not any("published ones" in note for note in manifest.notes)
    server.http.files.clear()
    assert download_and_ingest(path, server.archive) == manifest  # without another request


def test_missing_index_is_noted(server, tmp_path):
    del server.http.files["index.json"]
    manifest = download_and_ingest(tmp_path / "gtzan", server.archive)
    assert len(manifest.tracks) == len(EXCERPTS)
    [note] = [note for note in manifest.notes if "not compared" in note]
    assert server.archive.index.url in note
    assert "index.json" in note


def test_interrupted_download_is_resumed(server, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_CHUNK", 1000)  # the most that is lost when a transfer breaks
    path, half = tmp_path / "gtzan", len(packed["genres.tar.gz"]) // 2
    server.http.limit = half
    with pytest.raises(ParameterError, match=r"genres\.tar\.gz\.part is kept"):
        download_and_ingest(path, server.archive)
    [(name, received)] = contents(path).items()
    assert name == "genres.tar.gz.part"
    assert half - 1000 < len(received) <= half
    server.http.limit, server.http.offsets = None, []
    assert len(download_and_ingest(path, server.archive).tracks) == len(EXCERPTS)
    assert server.http.offsets == [len(received), 0]  # the rest of the archive, and the index


def test_archive_downloaded_by_the_user_is_unpacked(server, packed, tmp_path):
    (tmp_path / "gtzan").mkdir()
    (tmp_path / "gtzan/genres.tar.gz").write_bytes(packed["genres.tar.gz"])
    server.http.files.clear()
    assert len(download_and_ingest(tmp_path / "gtzan", server.archive).tracks) == len(EXCERPTS)


def test_wrong_checksum_is_refused(server, tmp_path):
    server.http.files["genres.tar.gz"] += b"!"
    with pytest.raises(ParameterError, match=server.archive.music.checksum):
        download_and_ingest(tmp_path / "gtzan", server.archive)
    assert not (tmp_path / "gtzan").exists()


def test_without_network_previous_data_stay(packed, copy, run, tmp_path, monkeypatch):
    run(copy)
    before = {**contents(tmp_path / "raw"), "manifest": (tmp_path / "manifest.json").read_bytes()}
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "empty").mkdir()
    with socket.socket() as bound:  # bound but not listening, so that no other process gets the port
        bound.bind(("127.0.0.1", 0))
        archive = published_at(bound.getsockname()[1], packed)
        monkeypatch.setitem(sources.SOURCES, "gtzan", partial(gtzan, archive=archive))
        with pytest.raises(ParameterError) as caught:
            run(tmp_path / "empty")
    for expected in (archive.music.url, archive.music.checksum, str(tmp_path / "empty/genres.tar.gz")):
        assert expected in str(caught.value)
    assert (tmp_path / "empty").is_dir()
    assert {**contents(tmp_path / "raw"), "manifest": (tmp_path / "manifest.json").read_bytes()} == before


def test_archive_without_gtzan_is_refused(packed, server, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("genres/readme.txt"))
    server.http.files["genres.tar.gz"] = stream.getvalue()
    other = published_at(server.http.server_port, {**packed, "genres.tar.gz": stream.getvalue()})
    with pytest.raises(ParameterError, match=r"genres\.tar\.gz: must hold GTZAN"):
        download_and_ingest(tmp_path / "gtzan", other)


# --- published metadata


def test_complete_gtzan_has_the_published_split(run, tmp_path):
    write_excerpts(tmp_path / "copy/genres", ".au", TRACK_IDS, seconds=0.02)
    manifest = run(tmp_path / "copy")
    assert set(manifest.tracks_per_genre.values()) == {100}
    assert manifest.groups_known
    (note,) = manifest.notes
    assert "81 of 1000 tracks" in note
    split = make_split(
        manifest, audit_manifest(manifest, None, AuditParams(min_seconds=0.0)), SplitParams(method="published")
    )
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 443, "valid": 197, "test": 290}
    assert any(note.startswith("70 tracks ") for note in split.notes)
    assert not split.leaking


def test_published_split_has_its_published_size():
    split = published_split()
    assert Counter(split.values()) == {"train": 443, "valid": 197, "test": 290}
    assert set(split) <= set(TRACK_IDS)


def test_published_split_is_artist_disjoint():
    split, parts = published_split(), {}
    for name, artist in published_artists().items():
        if name in split:
            parts.setdefault(artist_key(artist), set()).add(split[name])
    assert len(parts) > 200
    assert all(len(own) == 1 for own in parts.values())


def test_published_faults_explain_all_tracks_missing_from_the_split():
    split = published_split()
    left_out = set(TRACK_IDS) - set(split)
    repeated = [fault for fault in published_faults() if fault.kind in ("exact", "recording")]
    explained = {name for fault in repeated for name in fault.tracks if name not in split}
    explained |= {name for fault in published_faults() if fault.kind == "distortion" for name in fault.tracks}
    assert len(left_out) == 70
    assert explained == left_out
    assert all(sum(name in split for name in fault.tracks) <= 1 for fault in repeated)


def test_tracks_of_a_fault_have_one_artist():
    artists = published_artists()
    for fault in published_faults():
        assert fault.tracks == tuple(sorted(fault.tracks))
        assert set(fault.tracks) <= set(TRACK_IDS)
        assert len({artist_key(artists[name]) for name in fault.tracks}) == 1
        assert fault.source


def test_exact_duplicates_are_disjoint_and_identical_files_are_marked():
    exact = [fault for fault in published_faults() if fault.kind == "exact"]
    assert sum(len(fault.tracks) for fault in exact) == len({name for fault in exact for name in fault.tracks})
    assert sum("identical files" in fault.note for fault in exact) == 14
    assert [fault.tracks for fault in exact if len({name.split(".")[0] for name in fault.tracks}) > 1] == [
        ("metal.00058", "rock.00016")
    ]


@needs_gtzan
def test_artists_and_parts_agree_with_those_of_the_excerpts():
    with open(GTZAN / "tracks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    artists, split = published_artists(), published_split()
    assert len(rows) == 639
    assert all(split[row["track"]] == row["split"] for row in rows)
    differing = [row["track"] for row in rows if artist_key(row["artist"]) != artist_key(artists.get(row["track"]))]
    assert differing == ["disco.00056", "disco.00059"]  # spelled without comma and ampersand in the table
