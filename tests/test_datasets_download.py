"""Downloads from a real server on the loopback address, reliable and not; archives, intact, damaged and hostile."""

import contextlib
import hashlib
import io
import socket
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from genreflow.datasets import download
from genreflow.datasets.download import download_file
from genreflow.datasets.unpack import unpack
from genreflow.errors import ParameterError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA1 = "sha1:" + hashlib.sha1(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT according to `server.behaviour`, and records the requested ranges."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        behaviour = self.server.behaviour
        requested = self.headers.get("Range")
        behaviour.requests.append(requested)
        if behaviour.busy:
            behaviour.busy -= 1
            return self.send_error(503)
        if self.path != "/file.zip":
            return self.send_error(404)
        begin = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and behaviour.ranges else 0
        if begin >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        end = min(begin + behaviour.limit, len(CONTENT)) if behaviour.limit else len(CONTENT)
        with contextlib.suppress(ConnectionError):  # the client closed the connection
            self.wfile.write(CONTENT[begin:end])
        if end < len(CONTENT):
            if behaviour.stall:
                behaviour.done.wait()
            self.close_connection = True
        return None

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Do not wait between attempts, and do not use a proxy of the environment."""
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    """A server whose `behaviour` tests may change."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.behaviour = SimpleNamespace(
            requests=[], ranges=True, limit=None, busy=0, stall=False, done=threading.Event()
        )
        http.url = f"http://127.0.0.1:{http.server_port}/file.zip"
        thread = threading.Thread(target=http.serve_forever, args=[0.01])
        thread.start()
        yield http
        http.behaviour.done.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "file.zip"


def get(server, target, **options):
    return download_file(server.url, target, **{"checksum": SHA1, "progress": False, **options})


def part_of(target):
    return target.with_name("file.zip.part")


def test_file_is_downloaded_once(server, target):
    assert get(server, target) == target
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    get(server, target)
    assert server.behaviour.requests == [None]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_checksum_may_use_another_algorithm(server, target, algorithm):
    get(server, target, checksum=f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}")
    assert target.exists()


def test_download_resumes_that_of_a_previous_run(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1_234_567])
    get(server, target)
    assert server.behaviour.requests == ["bytes=1234567-"]
    assert target.read_bytes() == CONTENT


def test_broken_connection_is_resumed_as_often_as_necessary(server, target):
    server.behaviour.limit = 700_000
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.behaviour.requests) > 4
    assert None not in server.behaviour.requests[1:]


def test_stalled_connection_is_closed_and_resumed(server, target, monkeypatch):
    # Far above what the server's own thread needs to answer on a busy machine: another timeout is another request.
    monkeypatch.setattr(download, "_TIMEOUT", (60, 3))
    server.behaviour.limit, server.behaviour.stall = 2_000_000, True
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.behaviour.requests) == 2


def test_download_restarts_if_the_server_does_not_support_ranges(server, target):
    server.behaviour.ranges = False
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1000])
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_download_without_progress_fails(server, target):
    server.behaviour.ranges, server.behaviour.limit = False, 700_000
    with pytest.raises(ParameterError, match=r"file\.zip: download failed: the connection broke 3 times"):
        get(server, target)
    assert len(server.behaviour.requests) == 4
    assert not target.exists()
    assert part_of(target).exists()


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("leftover", [CONTENT + b"more", b"x" * len(CONTENT), b"x" * 1000])
def test_leftover_of_another_file_is_discarded(server, target, leftover, size):
    target.parent.mkdir()
    part_of(target).write_bytes(leftover)
    get(server, target, size=size)
    assert server.behaviour.requests[-1] is None
    assert target.read_bytes() == CONTENT


def test_complete_leftover_needs_no_transfer(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    get(server, target, size=len(CONTENT))
    assert server.behaviour.requests == []
    assert target.read_bytes() == CONTENT


def test_request_to_a_busy_server_is_repeated(server, target):
    server.behaviour.busy = 2
    get(server, target)
    assert len(server.behaviour.requests) == 3
    assert target.read_bytes() == CONTENT


def test_wrong_checksum_is_an_error_with_both_checksums_and_leaves_nothing(server, target):
    wrong = "sha1:" + "0" * 40
    with pytest.raises(ParameterError, match=f"checksum must be {wrong}; got {SHA1} of 3000000 bytes"):
        get(server, target, checksum=wrong)
    assert list(target.parent.iterdir()) == []
    assert server.behaviour.requests == [None]


def test_another_file_at_the_target_is_not_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"another file")
    with pytest.raises(ParameterError, match=r"file\.zip: checksum must be"):
        get(server, target)
    assert target.read_bytes() == b"another file"
    assert server.behaviour.requests == []


def test_http_error_is_reported_with_url_and_target(server, target):
    with pytest.raises(ParameterError, match=r"file\.zip\.old: .* HTTP 404") as caught:
        download_file(f"{server.url}.old", target, checksum=SHA1, progress=False)
    assert str(target) in str(caught.value)


def test_message_without_network_names_url_cause_checksum_and_target(target):
    with socket.socket() as bound:  # bound but not listening, so that no other process gets the port
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/file.zip"
        with pytest.raises(ParameterError) as caught:
            download_file(url, target, checksum=SHA1, progress=False)
    for expected in (url, "Connection refused", SHA1, str(target)):
        assert expected in str(caught.value)


def test_unknown_host_is_no_connection(target):
    with pytest.raises(ParameterError, match="no connection"):
        download_file("http://nowhere.invalid/file.zip", target, checksum=SHA1, progress=False)


@pytest.mark.parametrize("size", [None, 1 << 60])
def test_too_little_disk_space_is_reported_before_writing(server, target, monkeypatch, size):
    if size is None:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(ParameterError, match=r"free disk space must be >= \S+ GiB .*; got \S+ GiB"):
        get(server, target, size=size)
    assert list(target.parent.iterdir()) == []


def make_archive(path, members: dict[str, bytes], *, links: dict[str, str] | None = None, kind=tarfile.SYMTYPE):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, where in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, where
            archive.addfile(member)
    return path


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_archive_or_one_of_its_folders_is_unpacked(tmp_path, name):
    archive = make_archive(tmp_path / name, {"set/a/1.mp3": b"one", "set/2.mp3": b"two", "README": b"text"})
    unpack(archive, tmp_path / "whole", progress=False)
    assert (tmp_path / "whole/set/a/1.mp3").read_bytes() == b"one"
    unpack(archive, tmp_path / "set", member="set", progress=False)
    assert sorted(file.name for file in (tmp_path / "set").iterdir()) == ["2.mp3", "a"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "set", "whole"])


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("set.zip", "../escaped"),
        ("set.zip", "/tmp/escaped"),
        ("set.zip", "set/../../escaped"),
        ("set.tar.gz", "../escaped"),
        ("set.tar.gz", "set/../../escaped"),
        ("set.tar.gz", "/escaped"),
        ("set.tar.gz", "//escaped"),
        ("set.zip", "C:\\..\\..\\escaped"),
    ],
)
def test_member_outside_of_the_folder_is_refused(tmp_path, name, member):
    folder = tmp_path / "below"
    folder.mkdir()
    archive = make_archive(folder / name, {"set/1": b"one", member: b"malicious"})
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(archive, folder / "set", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["below"]
    assert [file.name for file in folder.iterdir()] == [name]


@pytest.mark.parametrize(
    "links",
    [
        {"set": "/etc"},
        {"set/a": "../../etc"},
        {"set/a": ".."},
        {"set/a": "b/../../../etc"},
        {"set": ".", "set/below": "x"},  # a member below a link
    ],
)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_to_outside_of_the_folder_is_refused(tmp_path, links, kind):
    archive = make_archive(tmp_path / "set.tar.gz", {}, links=links, kind=kind)
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(archive, tmp_path / "out", member="set", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["set.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_pipes_and_devices_in_tar_files_are_refused(tmp_path, kind):
    archive = make_archive(tmp_path / "set.tar.gz", {"set/1": b"one"}, links={"set/x.wav": ""}, kind=kind)
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(archive, tmp_path / "out", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["set.tar.gz"]


def test_link_inside_of_the_folder_is_unpacked(tmp_path):
    archive = make_archive(tmp_path / "set.tar.gz", {"set/x/1": b"one"}, links={"set/y": "x/1", "set/x/z": "../x/1"})
    unpack(archive, tmp_path / "out", member="set", progress=False)
    assert (tmp_path / "out/y").read_bytes() == (tmp_path / "out/x/z").read_bytes() == b"one"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_zip_files_are_refused(tmp_path, kind):
    member = zipfile.ZipInfo("set/x.wav")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(tmp_path / "set.zip", tmp_path / "out", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["set.zip"]


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_damaged_archive_leaves_nothing_behind(tmp_path, name):
    archive = make_archive(tmp_path / name, {"set/1": CONTENT[:100_000]})
    intact = archive.read_bytes()
    archive.write_bytes(intact[:60_000] + bytes(100) + intact[60_100:])
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(archive, tmp_path / "set", progress=False)
    archive.write_bytes(intact[: len(intact) // 2])
    with pytest.raises(ParameterError, match="must be an intact archive"):
        unpack(archive, tmp_path / "set", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "names", [["a", "a/b"], ["n" * 300], ["d/" * 2000 + "f"]], ids=["below a file", "long", "deep"]
)
@pytest.mark.parametrize("archive", ["set.zip", "set.tar.gz"])
def test_names_that_no_file_can_have_are_the_archives_fault(tmp_path, archive, names):
    made = make_archive(tmp_path / archive, dict.fromkeys(names, b"x"))
    with pytest.raises(ParameterError, match=rf"{archive}: must be an intact archive"):
        unpack(made, tmp_path / "out", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == [archive]


def test_folder_that_is_not_empty_is_not_overwritten(tmp_path):
    archive = make_archive(tmp_path / "set.zip", {"1": b"one"})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("mine")
    with pytest.raises(ParameterError, match=r"set: must be empty"):
        unpack(archive, tmp_path / "set", progress=False)
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["mine"]


def test_archive_without_the_requested_folder_is_refused(tmp_path):
    archive = make_archive(tmp_path / "set.zip", {"other/1": b"one"})
    with pytest.raises(ParameterError, match=r"set\.zip: must hold the folder set"):
        unpack(archive, tmp_path / "set", member="set", progress=False)
