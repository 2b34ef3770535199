"""What the last model was not trained on, from manifest, split and its lineage."""

import pytest

from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.splits.split import Split
from genreflow.stages import CANDIDATE, MANIFEST, SPLIT
from genreflow.stages.unlearnt_data import UnlearntData, find_unlearnt_data
from serving_toy import write_toy_bundle


def track(name: str, **fields) -> Track:
    return Track(id=name, genre="a", path=f"{name}.wav", group=name, group_source="tag", hash=name, **fields)


@pytest.mark.parametrize(
    ("learnt", "expected"),
    [
        (["old", "fix", "left"], UnlearntData()),
        (["old", "left"], UnlearntData(corrections=1)),
        (["fix", "left"], UnlearntData(tracks=True)),
        ([], UnlearntData(corrections=1, tracks=True)),
        (["old", "fix", "gone"], UnlearntData(tracks=True)),
    ],
)
def test_corrections_and_other_tracks_are_told_apart(tmp_path, monkeypatch, learnt, expected):
    """Of a correction that the split has left out, no model learns anything."""
    monkeypatch.chdir(tmp_path)
    assert find_unlearnt_data() == UnlearntData()  # nothing was trained yet
    tracks = [track("old"), track("fix", train_only=True), track("left", train_only=True), track("v"), track("t")]
    Manifest.from_tracks("folder", tracks).save(MANIFEST)
    groups = {name: name for name in ("old", "fix", "v", "t")}
    split = {"method": "group", "train": ("old", "fix"), "valid": ("v",), "test": ("t",), "groups": groups}
    Split(**split, evaluation_part="test", leaking=False, groups_known=True, report={}, leaks={}).save(SPLIT)
    write_toy_bundle(CANDIDATE, lineage={"train_tracks": learnt, "valid_tracks": ["v"]})
    assert find_unlearnt_data() == expected
