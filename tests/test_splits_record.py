"""Groups stay in their parts while a collection grows, and tracks that may only be in train are in no other part."""

import random
from dataclasses import replace

import pytest

from genreflow.audit.faults import Audit, Fault
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.split import Split
from genreflow.splits.split_record import SplitRecord


def track(name: str, group: str, genre: str = "a", **fields) -> Track:
    fields = {"group_source": "folder", "hash": f"audio of {name}"} | fields
    return Track(id=name, genre=genre, path=f"{name}.wav", group=group, **fields)


def music(artists: int, *, start: int = 0, genres: str = "abcd", seed: int = 0) -> list[Track]:
    """Return the tracks of artists of one genre each, one to five by each."""
    rng = random.Random(seed + start)
    return [
        track(f"{genre}/{artist}/{number}", f"{genre} {artist}", genre)
        for artist in range(start, start + artists)
        for genre in genres
        for number in range(rng.randint(1, 5))
    ]


def split_of(tracks, record=None, *, clusters=(), faults=(), **params) -> Split:
    manifest = Manifest.from_tracks("folder", tracks)
    audit = Audit(tuple(faults), {}, {}, clusters=tuple(clusters))
    return make_split(manifest, audit, SplitParams(**params), record)


def part_of(split: Split) -> dict[str, str]:
    return {track_id: part for part in PARTS for track_id in split.parts[part]}


def moved(before: Split, after: Split) -> set[str]:
    former, present = part_of(before), part_of(after)
    return {name for name in former.keys() & present.keys() if former[name] != present[name]}


@pytest.mark.parametrize("method", ["group", "published", "kfold"])
@pytest.mark.parametrize("seed", range(4))
def test_growing_music_moves_no_track(method, seed, tmp_path):
    """The record is saved and loaded in between, as by the stage."""
    tracks, path = music(10, seed=seed), tmp_path / "record.json"
    if method == "published":
        tracks = [replace(row, split="test" if "/1/" in row.id else "train") for row in tracks]
    record = SplitRecord()
    first = split_of(tracks, record, method=method, seed=seed)
    assert first == split_of(tracks, method=method, seed=seed), "a first split does not depend on the record"
    for start, artists in ((10, 1), (11, 1), (12, 10)):
        record.save(path)
        record = SplitRecord.load(path)
        new = music(artists, start=start, seed=seed)
        tracks = [*tracks, *(replace(row, split="train") if method == "published" else row for row in new)]
        grown = split_of(tracks, record, method=method, seed=seed)
        assert moved(first, grown) == set()
        assert set(part_of(grown)) == {row.id for row in tracks}
        for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
            if method == "group":
                assert abs(len(grown.parts[part]) / len(tracks) - share) < 0.08
        first = grown


def test_new_tracks_of_a_known_artist_join_them():
    record = SplitRecord()
    first = split_of(music(10), record)
    artist = first.groups[first.test[0]]
    more = [track(f"more/{number}", artist) for number in range(9)]
    second = split_of([*music(10), *more], record)
    assert {row.id for row in more} <= set(second.test)
    assert not moved(first, second)


def test_without_the_record_groups_move():
    """Otherwise the tests above could not fail."""
    assert moved(split_of(music(10)), split_of(music(11)))


def test_what_returns_has_its_part_again():
    record = SplitRecord()
    first = split_of(music(10), record)
    kept = [row for row in music(10) if not row.group.endswith(("1", "2", "3"))]
    without = split_of(kept, record)
    assert set(part_of(without)) == {row.id for row in kept}
    assert not moved(first, without)
    split_of(music(6, start=50), record)  # a collection of others
    assert split_of(music(10), record) == first


def test_renamed_artists_and_files_stay_in_their_parts():
    record = SplitRecord()
    first = split_of(music(10), record)
    renamed = [replace(row, group=f"new {row.group}", id=f"new/{row.id}") for row in music(10)]
    second = split_of(renamed, record)
    assert {f"new/{name}": part for name, part in part_of(first).items()} == part_of(second)


def test_equal_file_names_of_unknown_artists_are_not_the_same_artist():
    """Two collections without artists, with tracks 0 to 199 each."""
    record = SplitRecord()
    first, second = (
        [
            track(f"{number:03}", f"track:{number:03}", hash=f"{name} {number}", group_source="track")
            for number in range(200)
        ]
        for name in ("first", "second")
    )
    split_of(first, record)
    assert split_of(second, record) == split_of(second)


def test_another_setting_divides_anew_and_the_former_returns(caplog):
    record = SplitRecord()
    first = split_of(music(10), record)
    with caplog.at_level("INFO", logger="genreflow"):
        other = split_of(music(10), record, seed=2)
    assert "assigned anew" in caplog.text
    assert other == split_of(music(10), seed=2)
    assert split_of(music(10), record, test=0.3) == split_of(music(10), test=0.3)
    assert split_of(music(10), record) == first


def test_methods_that_leak_are_not_recorded():
    record = SplitRecord()
    for method in ("segment", "track"):
        split_of(music(4), record, method=method)
    assert record.splits == {}


@pytest.mark.parametrize("parts", [("train", "test"), ("valid", "test"), ("train", "valid")])
def test_groups_that_turn_out_to_be_one_are_where_models_have_learnt_from(parts, caplog):
    """A copy of a recording connects two artists: the one that models have seen less of moves, and no other."""
    record = SplitRecord()
    first = split_of(music(12), record)
    seen, other = (first.parts[part][0] for part in parts)
    new = track("new", "a new artist", "b")
    with caplog.at_level("WARNING", logger="genreflow"):
        second = split_of([*music(12), new], record, clusters=[(seen, "new"), ("new", other)])
    assert {first.groups[name] for name in moved(first, second)} == {first.groups[other]}
    assert part_of(second)["new"] == part_of(second)[other] == parts[0]
    assert not second.leaking
    assert f"{parts[0]} and {parts[1]}" in caplog.text
    assert not moved(second, split_of(music(12), record)), "what was trained on does not return to test"


def test_a_new_genre_of_known_artists_has_training_tracks():
    record = SplitRecord()
    first = split_of(music(10), record)
    small = min(set(first.test), key=lambda name: (list(first.groups.values()).count(first.groups[name]), name))
    second = split_of([*music(10), track("new", first.groups[small], "new genre")], record)
    assert second.report["train"]["new genre"]["tracks"] == 1
    assert {first.groups[name] for name in moved(first, second)} == {first.groups[small]}


def test_a_new_genre_is_divided():
    record = SplitRecord()
    first = split_of(music(10), record)
    second = split_of([*music(10), *music(10, genres="e", seed=5)], record)
    assert not moved(first, second)
    assert all(second.report[part]["e"]["tracks"] for part in PARTS)


def test_the_record_names_nobody(tmp_path):
    record = SplitRecord()
    split_of([*music(5), track("secret song", "secret artist", hash="secret audio")], record)
    path = tmp_path / "record.json"
    record.save(path)
    assert "secret" not in path.read_text()
    assert SplitRecord.load(path) == record
    assert SplitRecord.load(tmp_path / "none.json") == SplitRecord()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 2, "splits": {}}', '{"version": 1, "splits": 3}']
)
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ParameterError, match=r"record\.json: .*git checkout"):
        SplitRecord.load(path)


def correction(name: str, group: str | None = None, **fields) -> Track:
    return track(name, group or f"track:{name}", group_source="folder" if group else "track", train_only=True, **fields)


@pytest.mark.parametrize("method", ["group", "published", "kfold", "track", "segment"])
def test_tracks_that_may_only_be_in_train_are_there_and_move_nothing(method):
    tracks = [replace(row, split="valid" if "/1/" in row.id else "train") for row in music(10)]
    plain = split_of(tracks, method=method)
    split = split_of([*tracks, *(correction(f"c{number}") for number in range(40))], method=method)
    assert split.train_only == tuple(sorted(f"c{number}" for number in range(40)))
    assert set(split.train) == set(plain.train) | set(split.train_only)
    assert (split.valid, split.test) == (plain.valid, plain.test)
    assert split.train_only_left_out == {}


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_correction_with_the_artist_or_recording_of_a_held_out_track_is_left_out(part):
    plain = split_of(music(10))
    held_out, seen = plain.parts[part][0], plain.train[0]
    group, of_train = plain.groups[held_out], plain.groups[seen]
    corrections = [
        correction("same artist", group),
        correction("copy"),
        correction("copy by another artist", of_train),
        correction("by another artist", of_train),
        correction("alone", "x"),
        correction("alone, copy", "x"),
        correction("new", "y"),
    ]
    clusters = [("copy", held_out), ("copy by another artist", held_out), ("alone, copy", held_out)]
    record = SplitRecord()
    split = split_of([*music(10), *corrections], record, clusters=clusters)
    assert split.train_only == ("by another artist", "new")
    left_out = ("alone", "alone, copy", "copy", "copy by another artist", "same artist")
    assert split.train_only_left_out == dict.fromkeys(left_out, (group,))
    assert not moved(plain, split)
    assert not split.leaking
    assert any("5 tracks that may only be in train" in note for note in split.notes)
    assert not moved(split, split_of([*music(10), *corrections], record, clusters=clusters))


def test_an_artist_who_was_only_in_corrections_stays_in_train():
    record = SplitRecord()
    split_of([*music(10), correction("c", "x")], record)
    for number in range(1, 30, 7):
        more = [track(f"x{i}", "x") for i in range(number)]
        assert {row.id for row in more} <= set(split_of([*music(10), *more], SplitRecord(dict(record.splits))).train)


def test_a_correction_that_the_audit_leaves_out_is_in_no_part():
    fault = Fault("c", "silent", "c is silent.", True)
    split = split_of([*music(10), correction("c")], faults=[fault])
    assert "c" not in part_of(split)
    assert split.train_only == ()


def test_a_split_with_corrections_is_saved_and_loaded(tmp_path):
    held_out = split_of(music(10)).test[0]
    split = split_of([*music(10), correction("c"), correction("d")], clusters=[("d", held_out)])
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
