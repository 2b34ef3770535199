"""`dvc repro` that is killed or has no disk space leaves a champion that `bentoml serve` can serve."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest

from genreflow.bundle import Bundle
from genreflow.costs.service_process import served
from genreflow.registry.model_registry import Registry
from pipeline import Project, quick_project
from serving_toy import write_toy_bundle
from waiting import wait_for

pytestmark = pytest.mark.slow
PACKAGE = ("dvc", "repro", "--single-item", "package")


class PackagedProject(Project):
    """A project with two versions in its registry and a packaged champion; bundles are toys, so nothing is trained."""

    def __init__(self, folder):
        super().__init__(folder)
        self.champion, self.pointer = folder / "models" / "champion", folder / "models" / "champion.json"
        self.registry = Registry.open(folder)
        self.hashes = {}
        for temperature in (1.1, 1.2):
            bundle = write_toy_bundle(folder.parent / f"toy {temperature}", temperature=temperature)
            self.hashes[self.registry.register(bundle.directory, metrics={})] = bundle.hash
        (folder / "reports").mkdir()
        (folder / "reports" / "gate.json").write_text("{}")
        self.promote("1")
        self.seconds = -time.monotonic()
        self.run(*PACKAGE)
        self.seconds += time.monotonic()

    def promote(self, version: str) -> None:
        self.registry.promote(version, self.pointer)

    @property
    def packaged(self) -> str:
        return Bundle.load(self.champion).hash

    @property
    def other(self) -> str:
        """The version that is not packaged."""
        return next(version for version, bundle_hash in self.hashes.items() if bundle_hash != self.packaged)

    def start(self, *command: str, **options) -> subprocess.Popen:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    def left(self) -> list[str]:
        """Temporary files beside the champion."""
        return [path.name for path in self.champion.parent.iterdir() if ".tmp" in path.name]


def kill(process: subprocess.Popen) -> None:
    """Kill a process with its children, as the kernel or `kill -9` does, and wait until all of them are gone.

    DVC takes what a process has locked whose parent has not yet asked how it ended for locked.
    """
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    def is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(is_gone)


def serve_version(folder) -> str:
    """Start the service in a project and return the version that it serves."""
    with served(cwd=folder, watch=False) as service:
        return httpx.post(f"{service.url}/model", json={}, timeout=300).json()["version"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return PackagedProject(tmp_path_factory.mktemp("package") / "project")


@pytest.mark.parametrize("moment", [0.4, 0.6, 0.8, 0.95])
def test_a_killed_package_leaves_a_champion(project, moment):
    """DVC and its stage are killed together, after a part of the time that they take."""
    before, version = project.packaged, project.other
    project.promote(version)
    process = project.start(*PACKAGE)
    time.sleep(moment * project.seconds)
    kill(process)
    assert project.packaged in (before, project.hashes[version])
    served_version = serve_version(project.folder)
    assert project.hashes[served_version] == project.packaged
    # as `make run` does: DVC may have been killed while it wrote one of its files
    project.run("python", "-m", "genreflow.stages", "check")
    project.run(*PACKAGE)
    assert (project.packaged, project.left()) == (project.hashes[version], [])


def test_a_service_that_starts_meanwhile_has_a_whole_champion(project):
    version = project.other
    project.promote(version)
    process = project.start(*PACKAGE)
    found = []
    while process.poll() is None:
        found.append(serve_version(project.folder))
    assert (process.returncode, project.packaged) == (0, project.hashes[version])
    assert found
    assert set(found) <= set(project.hashes)
    assert serve_version(project.folder) == version


@pytest.mark.parametrize("size", [300, 30_000])
def test_a_full_disk_keeps_the_champion(project, size):
    """A limit of the size of files stands for a full disk: both fail in the middle of a write."""
    before, version = project.packaged, project.other
    project.promote(version)
    limit = (size, resource.RLIM_INFINITY)
    process = project.start(*PACKAGE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    process.communicate()
    assert process.returncode != 0
    assert project.packaged == before
    project.run(*PACKAGE)
    assert (project.packaged, project.left()) == (project.hashes[version], [])


@pytest.mark.parametrize("missing", ["mlflow.db", "mlruns"])
def test_an_unreadable_registry_keeps_the_champion(project, missing):
    before, version = project.packaged, project.other
    project.promote(version)
    (project.folder / missing).rename(project.folder.parent / missing)
    printed = project.run(*PACKAGE, ok=False).stdout
    assert len([line for line in printed.splitlines() if line.startswith("genreflow: ")]) == 1
    assert "Traceback" not in printed
    assert project.packaged == before
    if missing == "mlflow.db":  # an empty one was made meanwhile
        (project.folder / missing).unlink(missing_ok=True)
    (project.folder.parent / missing).rename(project.folder / missing)
    project.run(*PACKAGE)
    assert project.packaged == project.hashes[version]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    project = quick_project(tmp_path_factory.mktemp("kills"))
    project.set(gate={"min_probability": 0.5}, bundle={"abstain_below": 0.1})
    project.repro()
    return project


def test_a_kill_in_any_stage_leaves_a_champion(pipeline):
    """Each `dvc repro` is killed in the next stage, at its beginning or in the middle; the last one ends."""
    champion = pipeline.folder / "models" / "champion"
    before = Bundle.load(champion).hash
    pipeline.set(bundle={"abstain_below": 0.2})

    def after(seconds: float) -> Callable[[], object]:
        return lambda: time.sleep(seconds)

    def with_a_new(name: str) -> Callable[[], object]:
        """Wait until MLflow knows one more model, or version of one; at a time, the stage may have ended before."""

        def count() -> int:
            with closing(sqlite3.connect(pipeline.folder / "mlflow.db", timeout=60)) as connection:
                return connection.execute(f"select max(rowid) from {name}").fetchone()[0]

        known = count()
        return lambda: wait_for(lambda: count() > known)

    for stage, moment in (
        ("train", lambda: after(4)),
        ("evaluate", lambda: after(0)),
        ("evaluate", lambda: after(1)),
        ("register", lambda: after(0)),
        ("register", lambda: with_a_new("logged_models")),
        ("register", lambda: with_a_new("model_versions")),
    ):
        wait = moment()
        # as `make run` does: DVC may have been killed while it wrote dvc.lock
        pipeline.run("python", "-m", "genreflow.stages", "check")
        process = PackagedProject.start(pipeline, "dvc", "repro")
        for line in process.stdout:
            if f"Running stage '{stage}'" in line:
                break
        else:
            pytest.fail(f"{stage} did not run")
        wait()
        kill(process)
        assert Bundle.load(champion).hash == before
    assert serve_version(pipeline.folder) == "1"
    pipeline.run("python", "-m", "genreflow.stages", "check")
    pipeline.repro()
    candidate = Bundle.load(pipeline.folder / "models" / "candidate")
    assert Bundle.load(champion).hash == candidate.hash != before
    versions = json.loads(pipeline.run("genreflow", "registry", "list", "--json").stdout)
    assert [version["version"] for version in versions] == ["2", "1"], "a killed registration was counted"
    assert json.loads((pipeline.folder / "reports" / "gate.json").read_text())["times_test_split_used"] == 2
    assert "Data and pipelines are up to date." in pipeline.repro()


def test_a_damaged_champion_in_the_registry_does_not_block_new_candidates(pipeline):
    """Runs after the test above. The packaged champion is compared with the candidate instead."""
    champion = Bundle.load(pipeline.folder / "models" / "champion")
    models = (pipeline.folder / "mlruns").rglob("model.onnx")
    [stored] = (path for path in models if Bundle.load(path.parent).hash == champion.hash)
    stored.write_bytes(stored.read_bytes()[:-1])
    pipeline.set(bundle={"abstain_below": 0.3})
    printed = pipeline.repro()
    assert str(stored) in printed
    gate = json.loads((pipeline.folder / "reports" / "gate.json").read_text())
    assert (gate["rule"], gate["version"], gate["promote"]) == ("compared", "3", True)
    assert Bundle.load(pipeline.folder / "models" / "champion").version == "3"


def test_a_part_of_dvc_lock_costs_no_result(pipeline):
    """Runs after the tests above. DVC is killed while it writes the file; the study is not run again."""
    lock = pipeline.folder / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text[: text.index("deps:", text.index("  tune:")) + 3])
    pipeline.run("dvc", "repro", ok=False)
    printed = pipeline.run("python", "-m", "genreflow.stages", "check").stdout
    assert "dvc.lock: must be what DVC writes" in printed
    printed = pipeline.repro()
    assert "Stage 'tune' is cached" in printed
    assert "Running stage 'train'" not in printed
    assert "Data and pipelines are up to date." in pipeline.repro()
