"""Downloads from a real server on the loopback address, well-behaved and not; archives, whole and hostile."""

import contextlib
import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from genreflow.datasets import download
from genreflow.datasets.download import extract, fetch
from genreflow.errors import ParameterError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA1 = "sha1:" + hashlib.sha1(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT, as `server.behaviour` says, and notes what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        behaviour = self.server.behaviour
        wanted = self.headers.get("Range")
        behaviour.asked.append(wanted)
        if behaviour.busy:
            behaviour.busy -= 1
            return self.send_error(503)
        if self.path != "/file.zip":
            return self.send_error(404)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and behaviour.ranges else 0
        if begin >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        end = min(begin + behaviour.cut, len(CONTENT)) if behaviour.cut else len(CONTENT)
        with contextlib.suppress(ConnectionError):  # the client has seen enough
            self.wfile.write(CONTENT[begin:end])
        if end < len(CONTENT):
            if behaviour.stalls:
                behaviour.over.wait()
            self.close_connection = True
        return None

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Neither wait between attempts nor ask a proxy of the developer's."""
    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    """A server; `behaviour` may be changed by the test."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.behaviour = SimpleNamespace(asked=[], ranges=True, cut=None, busy=0, stalls=False, over=threading.Event())
        http.url = f"http://127.0.0.1:{http.server_port}/file.zip"
        thread = threading.Thread(target=http.serve_forever, args=[0.01])
        thread.start()
        yield http
        http.behaviour.over.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "file.zip"


def get(server, target, **options):
    return fetch(server.url, target, **{"checksum": SHA1, "progress": False, **options})


def part_of(target):
    return target.with_name("file.zip.part")


def test_file_is_downloaded_checked_and_left_alone_the_second_time(server, target):
    assert get(server, target) == target
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    get(server, target)
    assert server.behaviour.asked == [None]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_checksum_may_be_of_another_kind(server, target, algorithm):
    get(server, target, checksum=f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}")
    assert target.exists()


def test_download_continues_from_what_an_earlier_run_left(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1_234_567])
    get(server, target)
    assert server.behaviour.asked == ["bytes=1234567-"]
    assert target.read_bytes() == CONTENT


def test_connection_that_breaks_again_and_again_is_continued(server, target):
    server.behaviour.cut = 700_000
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.behaviour.asked) > 4
    assert None not in server.behaviour.asked[1:]


def test_connection_that_falls_silent_is_given_up_and_continued(server, target, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", (5, 0.2))
    server.behaviour.cut, server.behaviour.stalls = 2_000_000, True
    get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 2


def test_server_without_ranges_starts_over(server, target):
    server.behaviour.ranges = False
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1000])
    get(server, target)
    assert target.read_bytes() == CONTENT


def test_server_without_ranges_that_always_breaks_is_given_up(server, target):
    server.behaviour.ranges, server.behaviour.cut = False, 700_000
    with pytest.raises(ParameterError, match="the connection broke 3 times"):
        get(server, target)
    assert len(server.behaviour.asked) == 4
    assert not target.exists()
    assert part_of(target).exists()


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("left", [CONTENT + b"more", b"x" * len(CONTENT), b"x" * 1000])
def test_leftover_of_another_file_is_dropped_once(server, target, left, size):
    target.parent.mkdir()
    part_of(target).write_bytes(left)
    get(server, target, size=size)
    assert server.behaviour.asked[-1] is None
    assert target.read_bytes() == CONTENT


def test_leftover_that_is_whole_needs_no_transfer(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    get(server, target, size=len(CONTENT))
    assert server.behaviour.asked == []
    assert target.read_bytes() == CONTENT


def test_busy_server_is_asked_again(server, target):
    server.behaviour.busy = 2
    get(server, target)
    assert len(server.behaviour.asked) == 3
    assert target.read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing_and_says_both(server, target):
    wrong = "sha1:" + "0" * 40
    with pytest.raises(ParameterError, match=f"3000000 bytes with the checksum {SHA1}, not {wrong}"):
        get(server, target, checksum=wrong)
    assert list(target.parent.iterdir()) == []
    assert server.behaviour.asked == [None]


def test_other_file_at_the_target_is_kept(server, target):
    target.parent.mkdir()
    target.write_bytes(b"my own")
    with pytest.raises(ParameterError, match="move it away"):
        get(server, target)
    assert target.read_bytes() == b"my own"
    assert server.behaviour.asked == []


def test_missing_file_names_the_answer(server, target):
    with pytest.raises(ParameterError, match="the server answers 404 Not Found") as caught:
        fetch(f"{server.url}.old", target, checksum=SHA1, progress=False)
    assert str(target) in str(caught.value)


def test_without_network_the_message_says_what_to_fetch_and_where_to_put_it(target):
    with socket.socket() as bound:  # bound, not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/file.zip"
        with pytest.raises(ParameterError) as caught:
            fetch(url, target, checksum=SHA1, progress=False)
    assert str(caught.value) == (
        f"{url} cannot be fetched: no connection (Connection refused). Fetch it by another way ({SHA1}), put it at "
        f"{target}, and run this again."
    )


def test_name_that_no_server_has_is_no_connection(target):
    with pytest.raises(ParameterError, match="cannot be fetched: no connection"):
        fetch("http://nowhere.invalid/file.zip", target, checksum=SHA1, progress=False)


@pytest.mark.parametrize("size", [None, 1 << 60])
def test_too_small_a_disk_is_told_before_anything_is_written(server, target, monkeypatch, size):
    if size is None:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(ParameterError, match=r"needs \S+ GiB on the disk of .*, where \S+ GiB are free"):
        get(server, target, size=size)
    assert list(target.parent.iterdir()) == []


def make_archive(path, members: dict[str, bytes], *, links: dict[str, str] | None = None):
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
            member.type, member.linkname = tarfile.SYMTYPE, where
            archive.addfile(member)
    return path


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_archive_becomes_a_folder(tmp_path, name):
    archive = make_archive(tmp_path / name, {"set/a/1.mp3": b"one", "set/2.mp3": b"two", "README": b"text"})
    extract(archive, tmp_path / "whole", progress=False)
    assert (tmp_path / "whole/set/a/1.mp3").read_bytes() == b"one"
    extract(archive, tmp_path / "set", inside="set", progress=False)
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
    ],
)
def test_member_that_leaves_the_folder_is_refused(tmp_path, name, member):
    folder = tmp_path / "below"
    folder.mkdir()
    archive = make_archive(folder / name, {"set/1": b"one", member: b"evil"})
    with pytest.raises(ParameterError, match="cannot be unpacked"):
        extract(archive, folder / "set", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["below"]
    assert [file.name for file in folder.iterdir()] == [name]


def test_link_that_leaves_the_folder_is_refused(tmp_path):
    archive = make_archive(tmp_path / "set.tar.gz", {}, links={"set": "/etc"})
    with pytest.raises(ParameterError, match="cannot be unpacked"):
        extract(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_damaged_archive_leaves_nothing(tmp_path, name):
    archive = make_archive(tmp_path / name, {"set/1": CONTENT[:100_000]})
    whole = archive.read_bytes()
    archive.write_bytes(whole[:60_000] + bytes(100) + whole[60_100:])
    with pytest.raises(ParameterError, match="cannot be unpacked"):
        extract(archive, tmp_path / "set", progress=False)
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ParameterError, match="cannot be unpacked"):
        extract(archive, tmp_path / "set", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_folder_that_holds_something_is_kept(tmp_path):
    archive = make_archive(tmp_path / "set.zip", {"1": b"one"})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("mine")
    with pytest.raises(ParameterError, match="in the way"):
        extract(archive, tmp_path / "set", progress=False)
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["mine"]


def test_archive_without_the_folder_says_so(tmp_path):
    archive = make_archive(tmp_path / "set.zip", {"other/1": b"one"})
    with pytest.raises(ParameterError, match="holds no folder set"):
        extract(archive, tmp_path / "set", inside="set", progress=False)
