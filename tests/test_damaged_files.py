"""Manifest, audit and split that are damaged end in one sentence, and full disks do."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genreflow.audit.faults import Audit, Fault, LargestTrack
from genreflow.datasets.cache import IngestCache, signatures_path
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.split import Split

TRACKS = [
    Track(
        id=f"{g}/{n}",
        genre=g,
        path=f"{g}/{n}.wav",
        group=f"{g}{n}",
        group_source="folder",
        hash=f"{g}{n}",
        duration=2.0,
    )
    for g in "ab"
    for n in range(9)
]


def write_manifest(path: Path) -> None:
    Manifest.from_tracks("folder", TRACKS).save(path)


def write_audit(path: Path) -> None:
    fault = Fault("a/0", "silent", "a/0.wav: is silent.", True)
    genres = {genre: {"tracks": 9, "usable": 8} for genre in "ab"}
    largest = {"a": LargestTrack("a/1", 9, 30.5, 300.0)}
    clusters = (("a/1", "a/2"),)
    Audit((fault,), {"silent": 1}, genres, clusters, notes=("a note",), largest_tracks=largest).save(path)


def write_split(path: Path) -> None:
    manifest = Manifest.from_tracks("folder", TRACKS)
    audit = Audit((), {}, {genre: {"tracks": 9, "usable": 9} for genre in "ab"})
    make_split(manifest, audit, SplitParams()).save(path)


KINDS = {"manifest": (write_manifest, Manifest), "audit": (write_audit, Audit), "split": (write_split, Split)}


def change(content: dict) -> bytes:
    return json.dumps(content).encode()


def damages(data: bytes) -> dict[str, bytes]:
    content = json.loads(data)
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "zeros": bytes(len(data)),
        "not UTF-8": data.replace(b"a", b"\xff"),
        "deep": b"[" * 100_000,
        "deep inside": data.rstrip()[:-1] + b', "x": ' + b"[" * 100_000,
        "another file": b"version: 1",
        **{f"a JSON {text}": text.encode() for text in ("null", "[]", "{}", "3", '"text"')},
        **{f"without {name}": change({key: content[key] for key in content if key != name}) for name in content},
        **{f"{name}: 5.5": change(content | {name: 5.5}) for name in content},
        **{f"{name}: [null]": change(content | {name: [None]}) for name in content},
        **{f"{name}: null": change(content | {name: None}) for name in content},
    }  # fmt: skip


# Fields whose value may be missing or null, or that only people read.
IGNORED = {"audit": ("tracks", "usable", "left_out", "flagged"), "split": (), "manifest": ()}
OPTIONAL = {"split": ("segments", "folds", "fold", "notes", "train_only", "train_only_left_out")}


@pytest.mark.parametrize("kind", KINDS)
def test_intact_files_are_read_as_they_were_written(tmp_path, kind):
    write, cls = KINDS[kind]
    write(tmp_path / "x.json")
    value = cls.load(tmp_path / "x.json")
    value.save(tmp_path / "y.json")
    assert (tmp_path / "y.json").read_bytes() == (tmp_path / "x.json").read_bytes()
    assert cls.load(tmp_path / "y.json") == value


def refusal(cls: type, path: Path) -> str | None:
    try:
        cls.load(path)
    except ParameterError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_one_line(tmp_path, kind):
    write, cls = KINDS[kind]
    path = tmp_path / "x.json"
    write(path)
    accepted = []
    for damage, data in damages(path.read_bytes()).items():
        path.write_bytes(data)
        message = refusal(cls, path)
        if message is None:
            accepted.append(damage)
            continue
        assert message.startswith(f"{path}: "), damage
        assert len(message.splitlines()) == 1, damage
        assert len(message) < 500, damage
    expected = [f"without {name}" for name in IGNORED[kind]]
    expected += [f"{name}: {value}" for value in ("5.5", "[null]", "null") for name in IGNORED[kind]]
    expected += [f"{name}: null" for name in OPTIONAL.get(kind, ())]
    expected += [f"without {name}" for name in OPTIONAL.get(kind, ())]
    assert sorted(set(accepted) - set(expected)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_or_an_unreadable_path_is_refused(tmp_path, kind):
    for path in (tmp_path, tmp_path / "missing.json", tmp_path / ("x" * 300)):
        with pytest.raises(ParameterError):
            KINDS[kind][1].load(path)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_content_is_refused(tmp_path, kind):
    write, cls = KINDS[kind]
    path = tmp_path / "x.json"
    write(path)
    path.write_text(path.read_text().replace("a/1", "a/x"))
    with pytest.raises(ParameterError, match="hash"):
        cls.load(path)


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 100_000, b"\xff", b"{}"])
def test_damaged_signatures_are_ignored(tmp_path, data):
    write_manifest(tmp_path / "manifest.json")
    signatures_path(tmp_path / "manifest.json").write_bytes(data)
    cache = IngestCache.load(tmp_path / "raw", tmp_path / "manifest.json")
    assert cache.lookup("a/1.wav", Path(__file__)) is None


def limited(bytes_per_file: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))


@pytest.fixture
def music(tmp_path):
    for number, name in enumerate(("a/x/1", "a/y/2", "b/z/3", "b/w/4")):
        path = tmp_path / "music" / f"{name}.wav"
        path.parent.mkdir(parents=True)
        sf.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, 100_000), 8000)
    return tmp_path / "music"


PROGRAM = """
import sys
from pathlib import Path
from genreflow.datasets.params import DataParams
from genreflow.datasets.sources import ingest
from genreflow.logs import exit_with_errors
with exit_with_errors():
    ingest(DataParams(source="folder", path=sys.argv[1]), Path("raw"), Path("manifest.json"), progress=False)
"""


def test_an_ingest_that_cannot_write_ends_and_keeps_the_previous_data(music, tmp_path):
    """A limit of the size of files stands for a full disk: both fail in the middle of a write."""
    command = [sys.executable, "-c", PROGRAM, music]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sf.write(music / "b/w/new.wav", np.random.default_rng(9).uniform(-0.3, 0.3, 100_000), 8000)
    before[music / "b/w/new.wav"] = (music / "b/w/new.wav").read_bytes()
    done = subprocess.run(
        command, cwd=tmp_path, check=False, timeout=300, capture_output=True, preexec_fn=limited(100_000)
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_audit_that_cannot_write_ends_in_one_sentence(music, tmp_path):
    command = [sys.executable, "-c", "from genreflow.cli import main; main()", "audit", music, "--jobs", "1"]
    # Without the measurement of coverage, which writes a file of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(command, check=False, timeout=300, capture_output=True, preexec_fn=limited(20_000), env=env)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"genreflow: ")


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_what_the_audit_writes_follows_the_umask(music, tmp_path, umask, mode):
    program = f"import os; os.umask({umask}); from genreflow.cli import main; main()"
    command = [sys.executable, "-c", program, "audit", music, "--html", tmp_path / "audit.html", "--jobs", "1"]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    previous = os.umask(umask)
    try:
        for name, (write, _) in KINDS.items():
            write(tmp_path / f"{name}.json")
    finally:
        os.umask(previous)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("audit.html", "manifest.json", "audit.json", "split.json"), mode)
