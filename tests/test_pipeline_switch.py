"""Two collections in turn, and damaged features, in real DVC."""

import json
import os
import shutil
from pathlib import Path

import pytest
import soundfile
import yaml

from pipeline import QUICK, RATE, Project, tone

pytestmark = pytest.mark.slow


def write_collection(folder: Path, names: str) -> None:
    """Three genres with two tracks by each artist; an artist's tracks are the same in every collection."""
    for genre, base in (("bass", 110.0), ("middle", 330.0), ("treble", 990.0)):
        for name in names:
            for track in range(2):
                path = folder / genre / f"{genre} {name}" / f"{track}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                frequency, seed = base * (1 + 0.02 * (ord(name) - ord("a"))), 100 * ord(name) + track
                soundfile.write(path, tone(frequency + track, seed=seed), RATE)


class Switching(Project):
    def use(self, name: str, *stages: str) -> str:
        self.set(data={"source": "folder", "path": str(self.folder.parent / name)})
        return self.repro(*stages)

    def outs(self, stage: str) -> dict[str, str]:
        """Hashes of the outs of a stage, as in dvc.lock, without the record of divided groups, which only grows."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        outs = {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}
        return {path: digest for path, digest in outs.items() if path != "data/split_record.json"}

    @property
    def features(self) -> Path:
        return self.folder / "data" / "features"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that has used the collections A, B and A, as far as `tune`."""
    folder = tmp_path_factory.mktemp("switch")
    write_collection(folder / "A", "abcde")
    write_collection(folder / "B", "efghij")  # one artist is in both
    project = Switching(folder / "project")
    project.set(**QUICK)
    project.printed, project.hashes = [], []
    for name in ("A", "B", "A"):
        project.printed.append(project.use(name, "tune"))
        project.hashes.append({stage: project.outs(stage) for stage in ("featurize", "split", "tune")})
    return project


def test_a_collection_that_returns_is_not_computed_again(project):
    first, second, again = project.printed
    assert "30 tracks computed, 0 reused, 0 removed; 0 of other collections kept" in first
    assert "30 tracks computed, 6 reused, 24 removed; 24 of other collections kept" in second
    assert "0 tracks computed, 30 reused, 30 removed; 30 of other collections kept" in again


def test_later_stages_are_restored(project):
    first, second, again = project.hashes
    assert again == first
    assert second["featurize"] != first["featurize"]
    assert "Stage 'tune' is cached - skipping run" in project.printed[2]


def test_states_are_kept_outside_of_dvc_and_git(project):
    kept = project.folder / "data" / ".features"
    names = [{path.name for path in state.iterdir()} for state in kept.iterdir()]
    assert len(names) == 1  # that of B; the one of A is the present one
    assert "index.json" in names[0]
    assert json.loads(project.run("dvc", "status", "--json", "featurize").stdout) == {}
    assert ".features" not in project.git("status", "--porcelain", "--untracked-files=all")


def test_the_limit_removes_the_oldest_and_the_folder_may_be_deleted(project):
    project.set(compute={"kept_features_gb": 0})
    assert "; 0 of other collections kept" in project.use("B", "featurize")
    assert not list((project.folder / "data" / ".features").glob("*"))
    project.set(compute={"kept_features_gb": 10})
    assert "24 tracks computed" in project.use("A", "featurize")
    shutil.rmtree(project.folder / "data" / ".features")
    assert "30 tracks computed" in project.use("B", "featurize")


def overwrite(path: Path) -> None:
    """Change a byte in place, and so in all hard links of the file."""
    with path.open("r+b") as file:
        file.seek(-200, 2)
        byte = file.read(1)[0]
        file.seek(-200, 2)
        file.write(bytes([byte ^ 16]))


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("name", ["shard-*.npy", "shard-*.json", "index.json", "filters.npz"])
def test_damaged_features_are_made_anew_in_the_project_and_in_dvcs_cache(project, name, read_only):
    """DVC trusts a file of its cache that is read-only: a disk may damage it, and so may root."""
    project.repro("featurize")
    before, damaged = project.outs("featurize"), min(project.features.glob(name))
    content = damaged.read_bytes()
    assert damaged.stat().st_nlink > 1
    damaged.chmod(0o644)
    if read_only:
        if os.geteuid():
            pytest.skip("only root can write to a read-only file")
        damaged.chmod(0o444)
    overwrite(damaged)
    printed = project.repro("featurize")
    assert "Running stage 'featurize'" in printed
    assert ("1 damaged file made anew" in printed) == (name != "filters.npz")
    assert damaged.read_bytes() == content
    assert project.outs("featurize") == before
    assert "Data and pipelines are up to date." in project.repro("featurize")


@pytest.mark.parametrize("name", ["data/manifest.json", "data/audit.json", "data/split.json", "reports/split.json"])
def test_damaged_outs_are_made_anew_in_the_project_and_in_dvcs_cache(project, name):
    project.repro("split")
    path = project.folder / name
    content = path.read_bytes()
    path.chmod(0o644)
    overwrite(path)
    if os.geteuid() == 0:  # who can write to what DVC protects
        path.chmod(0o444)
    project.repro("split")
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [True, False])
def test_a_damaged_result_is_restored_after_it_was_refused(project, read_only):
    project.repro("split")
    audit = project.folder / "data" / "audit.json"
    content = audit.read_bytes()
    status = audit.stat()
    audit.chmod(0o644)
    overwrite(audit)
    if read_only:
        audit.chmod(0o444)
    os.utime(audit, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk does
    refused = project.run("python", "-m", "genreflow.stages", "split", ok=False).stdout
    assert "data/audit.json" in refused
    assert "`dvc repro audit`" in refused
    project.repro("audit")
    assert audit.read_bytes() == content
