"""What the last model was not trained on, from manifest, split and its lineage."""

import pytest

from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.splits.split import Split
from genreflow.stages import CANDIDATE, MANIFEST, SPLIT
from genreflow.stages.training_data_changes import TrainingDataChanges, find_training_data_changes
from serving_toy import write_toy_bundle


def track(name: str, **fields) -> Track:
    return Track(id=name, genre="a", path=f"{name}.wav", group=name, group_source="tag", hash=name, **fields)


@pytest.mark.parametrize(
    ("trained_on", "expected"),
    [
        (["old", "fix", "left"], TrainingDataChanges()),
        (["old", "left"], TrainingDataChanges(corrections=1)),
        (["fix", "left"], TrainingDataChanges(tracks=True)),
        ([], TrainingDataChanges(corrections=1, tracks=True)),
        (["old", "fix", "gone"], TrainingDataChanges(tracks=True)),
    ],
)
def test_corrections_and_other_tracks_are_told_apart(tmp_path, monkeypatch, trained_on, expected):
    """Of a correction that the split has left out, no model learns anything."""
    monkeypatch.chdir(tmp_path)
    assert find_training_data_changes() == TrainingDataChanges()  # nothing was trained yet
    tracks = [track("old"), track("fix", train_only=True), track("left", train_only=True), track("v"), track("t")]
    Manifest.from_tracks("folder", tracks).save(MANIFEST)
    groups = {name: name for name in ("old", "fix", "v", "t")}
    split = {"method": "group", "train": ("old", "fix"), "valid": ("v",), "test": ("t",), "groups": groups}
    Split(**split, evaluation_part="test", leaking=False, groups_known=True, report={}, leaks={}).save(SPLIT)
    write_toy_bundle(CANDIDATE, lineage={"train_tracks": trained_on, "valid_tracks": ["v"]})
    assert find_training_data_changes() == expected
