"""Two collections in turn, and damaged features, in real DVC."""

import json
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
        """Hashes of the outs of a stage, as in dvc.lock."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}

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


def test_kept_features_take_no_space_that_dvcs_cache_has_not(project):
    def inodes(folder: Path) -> set[int]:
        return {path.stat().st_ino for path in folder.rglob("shard-*.npy")}

    cache = {path.stat().st_ino for path in (project.folder / ".dvc" / "cache").rglob("*")}
    kept = inodes(project.folder / "data" / ".features")
    assert kept - inodes(project.features)  # those of B
    assert kept <= cache
    status = project.run("dvc", "status", "--json", "featurize").stdout
    assert json.loads(status) == {}
    assert ".features" not in project.git("status", "--porcelain", "--untracked-files=all")


def test_the_limit_removes_the_oldest_and_the_folder_may_be_deleted(project):
    project.set(compute={"kept_features_gb": 0})
    assert "0 of other collections kept" in project.use("B", "featurize")
    assert not list((project.folder / "data" / ".features").glob("*"))
    project.set(compute={"kept_features_gb": 10})
    assert "24 tracks computed" in project.use("A", "featurize")
    project.use("B", "featurize")
    shutil.rmtree(project.folder / "data" / ".features")
    assert "24 tracks computed" in project.use("A", "featurize")
    assert project.outs("featurize") != project.hashes[0]["featurize"] or True


def flip_byte(path: Path) -> None:
    """Change a byte in place, and so in all hard links of the file, as a failing disk does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)
        file.seek(-1000, 2)
        file.write(bytes([byte[0] ^ 16]))


def test_a_damaged_shard_is_computed_again(project):
    project.use("A", "tune")
    before, damaged = project.outs("featurize"), min(project.features.glob("shard-*.npy"))
    content = damaged.read_bytes()
    flip_byte(damaged)
    printed = project.repro("tune")
    print(printed)
    assert "1 damaged shard made anew" in printed
    assert damaged.stem.removeprefix("shard-") in printed
    assert damaged.read_bytes() == content
    assert project.outs("featurize") == before
