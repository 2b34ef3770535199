"""The manifest: saving, loading, its hash, and unknown artists."""

import json

import pytest

from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track


def make_track(number: int, **fields) -> Track:
    defaults = {"id": f"t{number}", "genre": "a", "path": f"t{number}.wav", "group": "g", "group_source": "tag"}
    return Track(**{**defaults, **fields})


def test_manifest_survives_saving_and_loading(tmp_path):
    tracks = [
        make_track(2, genre="b", entries=((0, 5), (5, 9)), hash="x", peak=0.5),
        make_track(1, error={"code": "undecodable", "message": "t1 é “broken”"}, split="test"),
    ]
    manifest = Manifest.from_tracks("folder", tracks, spec_hints={"n_mels": 96}, notes=["A note."])
    manifest.save(tmp_path / "deep/manifest.json")
    assert Manifest.load(tmp_path / "deep/manifest.json") == manifest
    assert [track.id for track in manifest.tracks] == ["t1", "t2"]
    assert manifest.genres == ("a", "b")
    text = (tmp_path / "deep/manifest.json").read_text("utf-8")
    assert "“broken”" in text
    assert json.loads(text)["hash"] == manifest.hash
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["manifest.json"]


def test_hash_identifies_the_content_without_notes():
    tracks = [make_track(number) for number in range(3)]
    manifest = Manifest.from_tracks("folder", tracks)
    assert Manifest.from_tracks("folder", tracks[::-1], notes=["other"]).hash == manifest.hash
    assert Manifest.from_tracks("folder", [*tracks[:2], make_track(2, genre="z")]).hash != manifest.hash
    assert Manifest.from_tracks("folder", tracks, spec_hints={"n_mels": 1}).hash != manifest.hash


@pytest.mark.parametrize(("unknown", "known", "notes"), [(0, True, 0), (2, True, 1), (3, False, 1)])
def test_groups_are_known_if_at_most_a_tenth_of_the_artists_is_unknown(unknown, known, notes):
    tracks = [make_track(number, group_source="track" if number < unknown else "tag") for number in range(20)]
    manifest = Manifest.from_tracks("folder", tracks)
    assert manifest.groups_known is known
    assert len(manifest.notes) == notes
    assert any("optimistically biased" in note for note in manifest.notes) is not known


def test_saving_replaces_the_file_instead_of_editing_it(tmp_path):
    """Otherwise a hard link in DVC's cache would change with it."""
    path, cached = tmp_path / "manifest.json", tmp_path / "cached"
    Manifest.from_tracks("folder", [make_track(1)]).save(path)
    cached.hardlink_to(path)
    before = cached.read_bytes()
    Manifest.from_tracks("folder", [make_track(2)]).save(path)
    assert cached.read_bytes() == before != path.read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 3, "tracks": 3}', '{"version": 3, "tracks": [{}]}'])
def test_file_that_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ParameterError, match=r"m\.json: must be a manifest"):
        Manifest.load(tmp_path / "m.json")


def test_missing_file_and_other_version_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"m\.json: "):
        Manifest.load(tmp_path / "m.json")
    (tmp_path / "m.json").write_text('{"version": 999}')
    with pytest.raises(ParameterError, match=r"m\.json: version .* got 999"):
        Manifest.load(tmp_path / "m.json")
