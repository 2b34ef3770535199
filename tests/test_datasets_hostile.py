"""Folders of music with links, pipes and devices, names that are not UTF-8, and names that differ in suffix only."""

import errno
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genreflow.audit.directory import audit_directory
from genreflow.audit.params import AuditParams
from genreflow.datasets import folder as folders
from genreflow.datasets.layout import track_ids
from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import ingest
from genreflow.datasets.track_table import TrackTable
from genreflow.errors import GenreflowError, ParameterError
from genreflow.manifest.manifest import Manifest

RATE = 8000
SECONDS = 300  # after which a command that waits for a pipe is ended


def write_noise(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.3, 0.3, RATE * 2), RATE)
    return path


@pytest.fixture
def music(tmp_path) -> Path:
    """Two genres with two tracks each."""
    for number, name in enumerate(("blues/ann/a.wav", "blues/bob/b.wav", "rock/cleo/c.wav", "rock/dan/d.wav")):
        write_noise(tmp_path / "music" / name, number)
    return tmp_path / "music"


def run(music: Path, **data) -> Manifest:
    root = music.parent / "project"
    return ingest(
        DataParams(**{"source": "folder", "path": music} | data), root / "raw", root / "manifest.json", progress=False
    )


def kept(music: Path) -> list[str]:
    raw = music.parent / "project/raw"
    return sorted(str(path.relative_to(raw)) for path in raw.rglob("*") if not path.is_dir())


def errors(manifest: Manifest) -> dict[str, str]:
    return {track.path: track.error["message"] for track in manifest.tracks if track.error}


def command(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from genreflow.cli import main; main()", *map(os.fspath, arguments)],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        **options,
    )


# Links


def test_links_that_leave_the_folder_are_refused_and_others_followed(music, tmp_path):
    outside = write_noise(tmp_path / "elsewhere/rock/x/far.wav", 9)
    (tmp_path / "elsewhere/secret").write_text("root:x:0:0")
    (music / "rock/cleo/file.wav").symlink_to(outside)
    (music / "rock/cleo/secret.wav").symlink_to(tmp_path / "elsewhere/secret")
    (music / "rock/cleo/passwd.wav").symlink_to("/etc/passwd")
    (music / "rock/cleo/relative.wav").symlink_to("../../../elsewhere/secret")
    (music / "rock/cleo/chain.wav").symlink_to("secret.wav")
    (music / "rock/folder").symlink_to(tmp_path / "elsewhere")
    (music / "jazz").symlink_to(tmp_path / "elsewhere/rock")
    (music / "rock/root").symlink_to("/")
    (music / "rock/dan/inside.wav").symlink_to("../cleo/c.wav")
    (music / "rock/again").symlink_to(music / "blues/ann")
    manifest = run(music)
    assert set(errors(manifest)) == {
        "jazz/", "rock/folder/", "rock/root/",
        *(f"rock/cleo/{name}.wav" for name in ("file", "secret", "passwd", "relative", "chain")),
    }  # fmt: skip
    assert all("link" in message for message in errors(manifest).values())
    assert kept(music) == [
        "blues/ann/a.wav", "blues/bob/b.wav", "rock/again/a.wav", "rock/cleo/c.wav", "rock/dan/d.wav",
        "rock/dan/inside.wav",
    ]  # fmt: skip
    audit = audit_directory(music, AuditParams(), n_jobs=1, progress=False)
    assert {fault.track for fault in audit.faults if fault.code == "undecodable"} == {
        track.id for track in manifest.tracks if track.error
    }
    assert audit.genres["jazz"] == {"tracks": 1, "usable": 0}


def test_the_folder_itself_may_be_a_link(music, tmp_path):
    (tmp_path / "link").symlink_to(music)
    assert errors(run(tmp_path / "link")) == {}
    assert len(kept(music)) == 4


def test_a_file_that_became_a_link_is_not_kept(music, tmp_path):
    run(music)
    song = music / "rock/dan/d.wav"
    shutil.move(song, tmp_path / "moved.wav")
    song.symlink_to(tmp_path / "moved.wav")
    assert list(errors(run(music))) == ["rock/dan/d.wav"]
    assert "rock/dan/d.wav" not in kept(music)


def test_what_does_not_decode_is_not_kept(music):
    (music / "rock/dan/words.mp3").write_text("these are words")
    (music / "rock/dan/empty.wav").touch()
    os.link("/etc/hostname", music / "rock/dan/hard.wav") if os.stat("/etc").st_dev == os.stat(music).st_dev else None
    manifest = run(music)
    assert {"rock/dan/words.mp3", "rock/dan/empty.wav"} <= set(errors(manifest))
    assert kept(music) == ["blues/ann/a.wav", "blues/bob/b.wav", "rock/cleo/c.wav", "rock/dan/d.wav"]
    assert run(music) == manifest  # nor is it missed by the next ingest


@pytest.mark.parametrize("layout", ["png", "npz"])
def test_spectrograms_behind_links_are_refused(tmp_path, layout):
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 20), dtype=np.uint8)
    if layout == "png":
        from PIL import Image

        for number, image in enumerate(images):
            path = tmp_path / f"music/{'ab'[number % 2]}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        Image.fromarray(images[0] // 2).save(tmp_path / "secret.png")
        (tmp_path / "music/a/link.png").symlink_to(tmp_path / "secret.png")
        os.mkfifo(tmp_path / "music/a/pipe.png")
        manifest = run(tmp_path / "music", source="spectrograms")
        assert {track.id for track in manifest.tracks if track.error} == {"a/link", "a/pipe"}
        assert sum(track.hash is not None for track in manifest.tracks) == 4
        return
    (tmp_path / "music").mkdir()
    np.savez(tmp_path / "secret.npz", spectrogram=images, track=list("wxyz"), genre=list("abab"))
    (tmp_path / "music/link.npz").symlink_to(tmp_path / "secret.npz")
    with pytest.raises(ParameterError, match=r"link\.npz: .* link"):
        run(tmp_path / "music", source="spectrograms")


# Ids


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["song.mp3", "song.wav", "song.mp3.wav"], ["song.mp3", "song.wav", "song.mp3.wav"]),
        (["song.mp3", "song.mp3.wav"], ["song", "song.mp3"]),  # as before: no collision
        (["song.wav", "song.flac", "other.wav"], ["song.wav", "song.flac", "other"]),
        (
            ["a.mp3", "a.wav", "a.mp3.wav", "a.mp3.wav.flac", "a.mp3.wav.flac.ogg"],
            ["a.mp3", "a.wav", "a.mp3.wav", "a.mp3.wav.flac", "a.mp3.wav.flac.ogg"],
        ),
        (["x/a.wav", "y/a.wav", "a.wav", "A.wav"], ["x/a", "y/a", "a", "A"]),
    ],
)
def test_ids_are_distinct_and_do_not_depend_on_the_order(names, ids):
    expected = dict(zip(names, ids, strict=True))
    assert track_ids(names) == expected
    assert track_ids(names[::-1]) == expected


def test_a_fault_of_one_excludes_no_other_of_a_similar_name(music):
    for number, name in enumerate(("song.flac", "song.wav", "song.flac.wav")):
        write_noise(music / "rock/dan" / name, 20 + number)
    (music / "rock/dan/song.wav").write_bytes(b"no music")
    (music / "tracks.csv").write_text("path,group\nrock/dan/song.flac,eve\nrock/dan/song.flac.wav,fay\n")
    manifest = run(music)
    assert len(manifest.by_id) == len(manifest.tracks) == 7
    assert list(errors(manifest)) == ["rock/dan/song.wav"]
    assert {track.path: track.group for track in manifest.tracks if "song" in track.path} == {
        "rock/dan/song.flac": "eve",
        "rock/dan/song.wav": "dan",
        "rock/dan/song.flac.wav": "fay",
    }
    assert len(kept(music)) == 6
    audit = audit_directory(music, AuditParams(), n_jobs=1, progress=False)
    assert audit.left_out == {"rock/dan/song.wav"}


def test_a_table_without_suffixes_still_has_to_be_unambiguous(tmp_path):
    table = TrackTable(tmp_path / "t.csv", {"rock/song": None})
    with pytest.raises(ParameterError, match="must match one track"):
        table.match(["rock/song.mp3", "rock/song.wav"], root=tmp_path)


# Names

CONTROL = (
    "new\nline",
    "carriage\rreturn",
    "next\x85line",
    "line\u2028separator",
    "escape\x1b[31m",
    "tab\tulator",
    '"quoted",',
)


def test_names_with_control_characters_are_tracks(music):
    for number, name in enumerate(CONTROL):
        write_noise(music / f"rock/dan/{name}.wav", 30 + number)
    manifest = run(music)
    assert errors(manifest) == {}
    assert {f"rock/dan/{name}" for name in CONTROL} <= set(manifest.by_id)
    path = music.parent / "project/manifest.json"
    assert Manifest.load(path) == manifest
    assert sum("rock/dan/" in line for line in path.read_text("utf-8").splitlines()) == 8  # one line per track


@pytest.fixture
def not_utf8(music) -> Path:
    for number, name in enumerate((b"caf\xe9.wav", b"caf\xe8.wav", b"caf\\xe9.wav", b"cut \xc3.wav")):
        path = music / "rock/dan" / os.fsdecode(name)
        try:
            write_noise(music / "buffer.wav", 40 + number).rename(path)
        except OSError as error:
            pytest.skip(f"the file system refuses such names: {error.strerror}")
    return music


def test_names_that_are_not_utf8_are_reported(not_utf8):
    manifest = run(not_utf8)
    assert len(manifest.tracks) == 8
    assert set(errors(manifest)) == {"rock/dan/caf\\xe9.wav?", "rock/dan/caf\\xe8.wav", "rock/dan/cut \\xc3.wav"}
    assert manifest.by_id["rock/dan/caf\\xe9"].hash  # has a backslash
    assert all("UTF-8" in message for message in errors(manifest).values())
    assert kept(not_utf8)[-1] == "rock/dan/d.wav"
    assert Manifest.load(not_utf8.parent / "project/manifest.json") == manifest


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"PYTHONIOENCODING": "ascii:strict"}])
def test_audit_prints_any_name(not_utf8, locale):
    write_noise(not_utf8 / "rock/dan/Ünï\n\x1b[31m.wav", 50).write_bytes(b"no music")
    for arguments in ([], ["--json"]):
        done = command("audit", not_utf8, "--no-near-duplicates", *arguments, env=os.environ | locale)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout
        assert b"cut " in done.stdout
        if arguments:
            assert {fault["code"] for fault in json.loads(done.stdout)["faults"]} == {"undecodable"}
        else:
            assert done.stdout.count(b"rock/dan/") == 4  # one line each


# Pipes, sockets and devices


def test_pipes_and_sockets_are_reported_and_never_opened(music, tmp_path):
    os.mkfifo(music / "rock/dan/pipe.wav")
    os.mkfifo(music / "rock/dan/pipe.mp3")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(music / "rock/dan/socket.wav"))
    (music / "rock/dan/zero.wav").symlink_to("/dev/zero")
    (music / "rock/dan/loop.wav").symlink_to("loop.wav")
    (music / "rock/dan/folder.wav").mkdir()
    write_noise(music / "rock/dan/folder.wav/inner.wav", 60)
    done = command("audit", music, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tracks"] == 10
    assert sorted(fault["track"] for fault in report["faults"] if fault["code"] == "undecodable") == [
        f"rock/dan/{name}" for name in ("loop", "pipe.mp3", "pipe.wav", "socket", "zero")
    ]
    assert set(errors(run(music))) == {
        f"rock/dan/{name}" for name in ("loop.wav", "pipe.mp3", "pipe.wav", "socket.wav", "zero.wav")
    }


@pytest.mark.parametrize("name", ["x.wav", "x.npz", "x.csv", "tracks.csv"])
def test_a_pipe_as_an_argument_is_refused(music, tmp_path, name):
    os.mkfifo(tmp_path / name)
    if name == "tracks.csv":
        done = command("audit", music, "--tracks", tmp_path / name)
    else:
        done = command("audit", tmp_path / name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert name.encode() in done.stderr


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/stdin"])
def test_a_device_as_an_argument_is_refused(device):
    done = command("audit", device, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_pipes_instead_of_other_inputs_are_refused(music, tmp_path):
    os.mkfifo(tmp_path / "demo.yaml")
    with pytest.raises(ParameterError, match=r"demo\.yaml"):
        run(tmp_path / "demo.yaml", source="demo")
    (tmp_path / "spectrograms").mkdir()
    os.mkfifo(tmp_path / "spectrograms/x.npz")
    with pytest.raises(ParameterError, match=r"x\.npz"):
        run(tmp_path / "spectrograms", source="spectrograms")


# Damaged and hostile files


def test_settings_of_the_demo_that_are_nested_too_deeply(tmp_path):
    (tmp_path / "demo.yaml").write_text("[" * 100_000)
    with pytest.raises(ParameterError, match=r"demo\.yaml: .* nested too deeply"):
        run(tmp_path / "demo.yaml", source="demo")


@pytest.mark.parametrize(
    "settings", ["seed: &a [*a]", "seed: 2001-99-99", "? [a, b]\n: 3", "seed: !!int x", "\x00", "- " * 9999]
)
def test_settings_of_the_demo_that_are_no_settings(tmp_path, settings):
    (tmp_path / "demo.yaml").write_text(settings)
    with pytest.raises(ParameterError, match=r"demo\.yaml: "):
        run(tmp_path / "demo.yaml", source="demo")


def npz(path: Path, **arrays) -> Path:
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 20), dtype=np.uint8)
    np.savez_compressed(path, **{"spectrogram": images, "track": list("wxyz"), "genre": list("abab")} | arrays)
    return path


@pytest.mark.parametrize("fault", ["cut", "flipped", "not a zip", "empty", "huge header", "objects"])
def test_damaged_npz_files_are_refused(tmp_path, fault):
    path = npz(tmp_path / "x.npz", **({"track": np.array([[], 1, 2, 3], object)} if fault == "objects" else {}))
    data = bytearray(path.read_bytes())
    if fault == "cut":
        data = data[: len(data) // 2]
    elif fault == "flipped":
        data[200:240] = bytes(40)
    elif fault == "not a zip":
        data = b"PK\3\4 no archive"
    elif fault == "empty":
        data = b""
    elif fault == "huge header":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["spectrogram.npy"] = members["spectrogram.npy"].replace(b"(4, 16, 20), }", b"(4, 160000, 2000000), }")
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        data = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(ParameterError, match=r"x\.npz: "):
        run(path, source="spectrograms")


def with_header(array: bytes, header: bytes) -> bytes:
    """Replace the header of a ``.npy`` file."""
    length = struct.unpack("<H", array[8:10])[0]
    return array[:8] + struct.pack("<H", len(header)) + header + array[10 + length :]


def change_members(path: Path, changes: dict[str, bytes]) -> None:
    """Rewrite an ``.npz`` with other content of some arrays, and valid checksums."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {f"{key}.npy": value for key, value in changes.items()}).items():
            archive.writestr(name, content)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "header", [b"(" * 90, b"[" * 9000, b"{'a':" * 1000, b"-" * 5000, b"\xff" * 9, b"lambda: 0\n", b""]
)
@pytest.mark.parametrize("key", ["spectrogram", "track"])
def test_headers_of_arrays_that_are_no_headers_are_refused(tmp_path, key, header):
    path = npz(tmp_path / "x.npz")
    array = npy(np.zeros((4, 16, 20), np.uint8) if key == "spectrogram" else np.array(list("wxyz")))
    change_members(path, {key: with_header(array, header)})
    with pytest.raises(ParameterError, match=r"x\.npz: ") as refused:
        run(path, source="spectrograms")
    assert len(str(refused.value).splitlines()) == 1


def test_names_that_are_no_text_are_refused(tmp_path):
    path = npz(tmp_path / "x.npz")
    array = npy(np.array(list("wxyz")))
    change_members(path, {"track": array[:-4] + b"\xff\xff\xff\x7f"})
    with pytest.raises(ParameterError, match=r"x\.npz: track must be text"):
        run(path, source="spectrograms")


@pytest.mark.filterwarnings("ignore")
def test_changed_bytes_of_an_npz_are_refused_or_read(tmp_path):
    path = npz(tmp_path / "x.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(150):
        key = list(members)[number % 3]
        content = bytearray(members[key])
        for at in rng.integers(len(content) if number % 2 else 130, size=rng.integers(1, 4)):
            content[at] ^= 1 << rng.integers(8)
        change_members(path, members | {key: bytes(content)})
        try:
            run(path, source="spectrograms")
        except GenreflowError:
            refused += 1
    assert 50 < refused < 150


@pytest.mark.parametrize("key", ["spectrogram", "track"])
def test_an_npz_that_expands_enormously_is_refused_in_little_memory(tmp_path, key):
    path = npz(tmp_path / "x.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            with archive.open(name, "w", force_zip64=True) as file:
                if name != f"{key}.npy":
                    file.write(members[name])
                    continue
                header = {"descr": "|u1" if key == "spectrogram" else "<U75000000", "fortran_order": False}
                np.lib.format.write_array_header_1_0(
                    file, header | {"shape": (4, 75_000, 1000) if key == "spectrogram" else (1,)}
                )
                for _ in range(300):
                    file.write(bytes(1_000_000))
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); "
        "from genreflow.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "audit", path],
        capture_output=True,
        check=False,
        timeout=SECONDS,
        # A thread for each core would take address space, too, on large machines all of it.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert b"x.npz" in done.stderr


def png_bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_images_that_expand_enormously_are_tracks_with_an_error(tmp_path):
    from PIL import Image

    for name in ("a/1", "b/2"):
        (tmp_path / f"music/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 20), dtype=np.uint8)).save(
            tmp_path / f"music/{name}.png"
        )
    (tmp_path / "music/a/bomb.png").write_bytes(png_bomb(10_000, 10_000))
    (tmp_path / "music/a/text.png").write_bytes(png_bomb(16, 16))
    manifest = run(tmp_path / "music", source="spectrograms")
    assert {track.id for track in manifest.tracks if track.error} == {"a/bomb", "a/text"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_a_full_disk_ends_the_ingest_and_leaves_the_previous_data(music, monkeypatch, code):
    run(music)
    project = music.parent / "project"
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    write_noise(music / "rock/dan/new.wav", 70)

    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(folders, "import_file", full)
    with pytest.raises(GenreflowError, match=os.strerror(code)):
        run(music)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_components_of_a_combination_refuse_links_that_leave_them(music, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(music, home / "one")
    shutil.copytree(music, home / "two")
    for number, path in enumerate(home.rglob("*.wav")):
        write_noise(path, 80 + number)
    (home / "two/rock/dan/link.wav").symlink_to("/etc/passwd")
    (home / "two/rock/dan/d.wav.wav").write_bytes(b"no music")
    components = [{"source": "folder", "path": name} for name in ("one", "two")]
    manifest = run(home, source="combination", sources=components)
    assert set(errors(manifest)) == {"two/rock/dan/link.wav", "two/rock/dan/d.wav.wav"}
    assert len(manifest.by_id) == 10
    assert len(kept(home)) == 8
