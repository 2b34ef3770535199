"""Music that grows and shrinks, in real DVC: tracks stay in their parts, each model is compared with the champion."""

import json
import re
import shutil

import pytest
import soundfile

from genreflow.manifest.track import PARTS
from pipeline import RATE, Project, quick_project, tone

pytestmark = pytest.mark.slow

# Artists of each of the three genres at the first run, and those that each later run adds; two tracks by each.
STEPS = (5, 1, 1, 5)


def write_artists(project: Project, first: int, number: int) -> None:
    for genre, base in (("bass", 110.0), ("middle", 330.0), ("treble", 990.0)):
        for artist in range(first, first + number):
            for track in range(2):
                path = project.folder.parent / "music" / genre / f"{genre} artist {artist}" / f"track {track}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                frequency = base * (1 + 0.04 * artist + 0.01 * track)
                soundfile.write(path, tone(frequency, seed=100 * artist + track), RATE)


def load(project: Project, name: str):
    return json.loads((project.folder / name).read_text())


def part_of(split: dict) -> dict[str, str]:
    return {track: part for part in PARTS for track in split[part]}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project after a run for each of `STEPS`, with what it printed, its split and the gate's report each time."""
    project = quick_project(tmp_path_factory.mktemp("growth"))
    project.set(tune={"start_from": "previous"}, gate={"min_tracks": 4})
    project.printed, project.splits, project.gates = [], [], []
    for step, number in enumerate(STEPS):
        if step:
            write_artists(project, sum(STEPS[:step]), number)
        project.printed.append(project.repro())
        project.splits.append(load(project, "data/split.json"))
        project.gates.append(load(project, "reports/gate.json"))
        project.commit(f"{step}")
    return project


def test_no_track_is_moved(project):
    for before, after in zip(project.splits, project.splits[1:], strict=False):
        former, present = part_of(before), part_of(after)
        assert former.items() <= present.items()
        assert len(present) > len(former)
    shares = [len(project.splits[-1][part]) / (6 * sum(STEPS)) for part in PARTS]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.1)


def test_the_champion_is_compared_each_time_on_all_test_tracks(project):
    assert [gate["rule"] for gate in project.gates] == ["baseline", "compared", "compared", "compared"]
    for split, gate in zip(project.splits[1:], project.gates[1:], strict=True):
        assert gate["comparison"]["tracks"] == len(split["test"])
        assert gate["comparison"]["excluded"] == 0
        assert gate["champion_accuracy"] is not None


def test_a_study_starts_from_the_previous_one(project):
    assert "starting from" not in project.printed[0]
    for printed in project.printed[1:]:
        assert "starting from the best" in printed
        assert "is not used as a start" not in printed


def test_the_record_is_small_in_git_and_names_nobody(project):
    tracked = project.git("ls-files", "data").split()
    assert "data/split_record.json" in tracked
    text = (project.folder / "data/split_record.json").read_text()
    assert "artist" not in text
    assert len(text) < 10_000


def test_an_experiment_with_another_seed_changes_nothing_for_the_former(project):
    project.run("dvc", "exp", "run", "-S", "split.seed=2", "split")
    other = load(project, "data/split.json")
    assert part_of(other) != part_of(project.splits[-1])
    project.git("restore", "params.yaml")
    project.repro("split")
    assert load(project, "data/split.json") == project.splits[-1]
    project.git("restore", ".")


def test_a_clone_without_a_remote_divides_the_same(project, tmp_path):
    """Its DVC cache is empty, so that every stage runs again; the record comes with git."""
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", str(project.folder), str(clone))
    project.run("dvc", "repro", "split", cwd=clone)
    assert json.loads((clone / "data/split.json").read_text()) == project.splits[-1]


def test_a_removed_artist_and_track_leave_everywhere(project):
    """Runs last: it removes an artist of the test part, and a track of another one."""
    split = project.splits[-1]
    artist = split["test"][0].rpartition("/")[0]
    track = next(name for name in split["train"] if name.rpartition("/")[0] != artist)
    music = project.folder.parent / "music"
    shutil.rmtree(music / artist)
    (music / f"{track}.wav").unlink()
    hashes = {row["id"]: row["hash"] for row in load(project, "data/manifest.json")["tracks"]}
    removed = {name for name in hashes if name == track or name.rpartition("/")[0] == artist}
    assert len(removed) == 3
    project.repro("evaluation-report")
    present = load(project, "data/split.json")
    assert part_of(present) == {name: part for name, part in part_of(split).items() if name not in removed}
    assert set(load(project, "data/features/index.json")["tracks"]).isdisjoint(hashes[name] for name in removed)
    raw = {path.relative_to(project.folder / "data/raw").with_suffix("").as_posix()
           for path in (project.folder / "data/raw").rglob("*.wav")}  # fmt: skip
    assert raw == hashes.keys() - removed
    for path in (*project.folder.glob("reports/*.*"), *project.folder.glob("data/[!.]*.json")):  # without caches
        text = path.read_text(errors="replace")
        assert not [name for name in removed if name in text], path
        assert not re.search(rf"{artist.rpartition('/')[2]}\b", text), path
