"""The stage `package`: the previous champion stays until the new one is complete, whatever happens meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from genreflow.bundle import Bundle
from genreflow.registry.model_registry import Registry
from serving_toy import write_toy_bundle, write_toy_project

# Runs the stage, and kills the process when it calls a function, or when that returns.
KILLED = """
import importlib, os, signal, sys
from genreflow.stages.__main__ import main
module, name, moment = sys.argv[1:]
owner = importlib.import_module(module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
original = getattr(owner, name)
def killing(*args, **options):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, killing)
main("package")
"""

# Runs the stage, and kills the process while BentoML copies the bento into its store, before one of the files.
KILLED_COPY = """
import os, shutil, signal, sys
from pathlib import Path
from genreflow.stages.__main__ import main
store, name = sys.argv[1:]
original = shutil.copy
def killing(source, target, **options):
    if Path(target).is_relative_to(store) and Path(target).name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(source, target, **options)
shutil.copy = killing
main("package")
"""


class Packaging:
    """A project whose champion `old` is packaged, and whose pointer names `new`."""

    def __init__(self, folder):
        self.folder = write_toy_project(folder)
        self.champion, self.pointer = folder / "models" / "champion", folder / "models" / "champion.json"
        self.old = write_toy_bundle(folder / "old", temperature=1.1).hash
        self.new = write_toy_bundle(folder / "new", temperature=1.2).hash
        registry = Registry.open(folder)
        registry.promote(registry.register(folder / "old", metrics={}), self.pointer)
        registry.fetch("1", self.champion)
        registry.promote(registry.register(folder / "new", metrics={}), self.pointer)
        (folder / "reports").mkdir()

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        environment = os.environ | {"BENTOML_HOME": str(self.folder / "bentos")}
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def package(self, **options) -> subprocess.CompletedProcess:
        return self.run("-m", "genreflow.stages", "package", **options)

    @property
    def packaged(self) -> str:
        return Bundle.load(self.champion).hash


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Packaging(tmp_path_factory.mktemp("project"))


@pytest.fixture
def packaging(project):
    """The project, with its old champion packaged."""
    Registry.open(project.folder).fetch("1", project.champion)
    return project


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "moment", "complete"),
    [
        ("genreflow.registry.bundle_download", "download_artifacts", "before", False),
        ("genreflow.registry.bundle_download", "download_artifacts", "after", False),
        ("genreflow.registry.stored_versions", "stamp", "after", False),
        ("bentoml.bentos", "build_bentofile", "before", False),
        ("bentoml.bentos", "build_bentofile", "after", False),
        ("genreflow.files", "_exchange", "before", False),
        ("genreflow.files", "_exchange", "after", True),
        ("genreflow.stages.package", "write_json", "before", True),
    ],
)
def test_a_kill_leaves_a_champion(packaging, module, name, moment, complete):
    done = packaging.run("-c", KILLED, module, name, moment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Of the two `_exchange`, the first one is that of the download's temporary directory.
    assert packaging.packaged in ({packaging.old, packaging.new} if complete else {packaging.old})
    assert (packaging.package().returncode, packaging.packaged) == (0, packaging.new)
    assert sorted(path.name for path in packaging.champion.parent.iterdir()) == ["champion", "champion.json"]


def limit_files_to(size):
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [500, *(pytest.param(size, marks=pytest.mark.slow) for size in (0, 2000))])
def test_a_full_disk_keeps_the_champion(packaging, size):
    done = packaging.package(preexec_fn=limit_files_to(size))
    assert done.returncode != 0
    assert packaging.packaged == packaging.old
    assert not [path for path in packaging.champion.parent.iterdir() if path.name.startswith(".")]


def test_an_unreadable_registry_keeps_the_champion(packaging):
    for name in ("mlruns", "mlflow.db"):
        there, away = packaging.folder / name, packaging.folder / f"{name}.away"
        there.rename(away)
        try:
            done = packaging.package()
        finally:
            if there.exists():
                there.unlink()
            away.rename(there)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert packaging.packaged == packaging.old


def test_a_damaged_version_keeps_the_champion(packaging):
    [model] = (
        path
        for path in (packaging.folder / "mlruns").rglob("model.onnx")
        if Bundle.load(path.parent).hash == packaging.new
    )
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    done = packaging.package()
    model.write_bytes(content)
    assert (done.returncode, packaging.packaged) == (2, packaging.old)
    assert str(model) in done.stderr


@pytest.mark.slow
def test_old_bentos_of_the_project_are_deleted(packaging):
    other = packaging.run("-m", "bentoml", "build")
    assert other.returncode == 0, other.stderr
    tags = []
    for _ in range(4):
        assert packaging.package().returncode == 0
        tags.append(json.loads((packaging.folder / "reports" / "package.json").read_text())["bento"])
    home = packaging.folder / "bentos" / "bentos" / "genre-classifier"
    left = {path.name for path in home.iterdir() if path.is_dir()}
    assert {tag.split(":")[1] for tag in tags} & left == {tag.split(":")[1] for tag in tags[-3:]}
    assert len(left) >= 4, "a bento of `bentoml build` was deleted"


@pytest.mark.slow
def test_an_incomplete_bento_does_not_stop_later_ones(packaging):
    """BentoML copies bentos into its store file by file, and lists none while one of them is incomplete."""
    store = packaging.folder / "bentos" / "bentos" / "genre-classifier"
    before = set(store.glob("*/"))
    done = packaging.run("-c", KILLED_COPY, str(store), "bento.yaml")
    assert done.returncode == -signal.SIGKILL, done.stderr
    [incomplete] = set(store.glob("*/")) - before
    assert packaging.run("-m", "bentoml", "list").returncode != 0, "BentoML reads such a store: this test is needless"
    for path in (incomplete, *incomplete.rglob("*")):
        os.utime(path, (time.time() + 3600,) * 2)  # it is being copied, however long the next package takes
    done = packaging.package()
    assert (done.returncode, packaging.packaged) == (0, packaging.new), done.stderr
    for path in (incomplete, *incomplete.rglob("*")):
        os.utime(path, (0, 0))
    for name in ("empty", "opened"):
        (store / name).mkdir()
    (store / "opened" / "bento.yaml").touch()
    for path in (store / "empty", store / "opened", store / "opened" / "bento.yaml"):
        os.utime(path, (0, 0))
    done = packaging.package()
    assert (done.returncode, packaging.packaged) == (0, packaging.new), done.stderr
    listed = packaging.run("-m", "bentoml", "list", "--output", "json")
    assert listed.returncode == 0, listed.stderr
    left = {bento["tag"].split(":")[1] for bento in json.loads(listed.stdout)}
    assert left == {folder.name for folder in store.glob("*/")}
    assert not left & {incomplete.name, "empty", "opened"}


@pytest.mark.slow
def test_a_bento_that_cannot_be_read_stays_and_stops_nothing(packaging):
    """Another version of BentoML may have written it."""
    description = packaging.folder / "bentos" / "bentos" / "genre-classifier" / "other" / "bento.yaml"
    description.parent.mkdir(parents=True)
    description.write_text("format: unknown")
    os.utime(description, (0, 0))
    done = packaging.package()
    assert (done.returncode, packaging.packaged) == (0, packaging.new), done.stderr
    assert "earlier bentos were not deleted" in done.stdout + done.stderr
    assert description.exists()
    description.unlink()
    description.parent.rmdir()
