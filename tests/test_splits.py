"""Splits: no group on two sides, whatever the groups are; and balance where that is possible."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genreflow.audit.checks import audit
from genreflow.audit.faults import Audit, Fault
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.make import make_split
from genreflow.splits.methods import METHODS
from genreflow.splits.report import counts, leaks, table
from genreflow.splits.split import Split


def make_manifest(rows) -> Manifest:
    """Build a manifest from (genre, group) or (genre, group, published part)."""
    return Manifest.of(
        "folder",
        [
            Track(
                id=f"{number:04d}",
                genre=genre,
                path=f"{number:04d}.wav",
                group=group,
                group_source="folder",
                split=part[0] if part else None,
                hash=f"hash {number}",
            )
            for number, (genre, group, *part) in enumerate(rows)
        ],
    )


def even(genres: int = 4, groups: int = 10, tracks: int = 5) -> Manifest:
    return make_manifest(
        (f"g{genre}", f"g{genre} artist {group}")
        for genre in range(genres)
        for group in range(groups)
        for _ in range(tracks)
    )


def assert_whole(manifest: Manifest, split: Split) -> None:
    """No artist stands in two parts: found out here, without the code that says so."""
    parts_of = {}
    for part in PARTS:
        for track_id in split.parts[part]:
            parts_of.setdefault(manifest.by_id[track_id].group, set()).add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert not split.leaking


def split_of(manifest: Manifest, **options) -> Split:
    return make_split(manifest, audit(manifest), **options)


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12).map(str)), min_size=1, max_size=120),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (0.1, 0.2, 0.7)]),
    seed=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_no_group_is_ever_divided(rows, fractions, seed):
    manifest = make_manifest(rows)
    try:
        split = split_of(manifest, fractions=fractions, seed=seed)
    except ParameterError as error:
        assert "no track to validate on" in str(error)  # noqa: PT017 - only when each group has a genre to itself
        groups_of = {genre: {group for other, group in rows if other == genre} for genre, _ in rows}
        assert all(any(groups == {group} for groups in groups_of.values()) for _, group in rows)
        return
    assert_whole(manifest, split)
    assert Counter(split.train + split.valid + split.test) == Counter(track.id for track in manifest.tracks)
    assert split.train
    assert split.valid
    assert bool(split.test) or split.evaluation_part == "valid"
    assert set(split.evaluation_tracks) == set(split.parts[split.evaluation_part])


@given(sizes=st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=12), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_genre_of_three_groups_is_in_each_part(sizes):
    manifest = make_manifest(
        (f"g{genre}", f"{genre}/{group}")
        for genre, of_genre in enumerate(sizes)
        for group, size in enumerate(of_genre)
        for _ in range(size)
    )
    split = split_of(manifest)
    for part in PARTS:
        assert all(counts["tracks"] for counts in split.report[part].values())


def test_even_groups_are_shared_out_exactly():
    split = split_of(even())
    for part, tracks in zip(PARTS, (30, 10, 10), strict=True):
        assert all(counts == {"tracks": tracks, "groups": tracks // 5} for counts in split.report[part].values())
    assert split.notes == ()


def test_artists_in_several_genres_stay_whole_and_balance_holds():
    rows = [(f"g{genre}", f"{genre if group else 'star'}/{group}") for genre in range(3) for group in range(20)] * 3
    manifest = make_manifest(rows)
    split = split_of(manifest)
    assert_whole(manifest, split)
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        assert all(abs(counts["tracks"] / 60 - share) < 0.06 for counts in split.report[part].values())


def test_seed_decides():
    manifest = even()
    assert split_of(manifest, seed=1) == split_of(manifest, seed=1)
    assert len({split_of(manifest, seed=seed).hash for seed in range(5)}) == 5


def test_faulty_tracks_are_left_out():
    manifest = even(groups=4)
    found = Audit((Fault("0003", "silent", "0003 is silent.", True), Fault("0004", "truncated", "x.", False)), {}, {})
    split = make_split(manifest, found)
    inside = set(split.train + split.valid + split.test)
    assert "0003" not in inside
    assert "0004" in inside
    assert len(inside) == len(manifest.tracks) - 1


def test_few_groups_are_said():
    rows = [("a", f"a{number}") for number in range(9)] + [("b", "b0"), ("b", "b1"), ("c", "c0"), ("c", "c0")]
    split = split_of(make_manifest(rows))
    assert split.report["train"]["b"]["tracks"] == split.report["test"]["b"]["tracks"] == 1
    assert "Genre b has no track in valid, of 2 by 2 groups (artists) in all." in split.notes
    assert "Genre c has no track in valid and test, of 2 by 1 group (artists) in all." in split.notes


def test_too_few_groups_are_refused():
    with pytest.raises(ParameterError, match="no track to validate on"):
        split_of(make_manifest([("a", "x"), ("a", "x"), ("b", "y")]))


def test_two_groups_a_genre_still_validate():
    split = split_of(make_manifest([(genre, f"{genre}{number}") for genre in "ab" for number in range(2)]))
    assert split.valid
    assert len(split.train) == 2


def test_genre_without_a_usable_track_is_refused():
    manifest = even(genres=2)
    gone = Audit(tuple(Fault(t.id, "silent", "x.", True) for t in manifest.tracks if t.genre == "g1"), {}, {})
    with pytest.raises(ParameterError, match="Genre g1 has no usable track: the audit leaves out all 50"):
        make_split(manifest, gone)


def published(parts: dict[str, int], *, genres: str = "ab") -> Manifest:
    return make_manifest(
        (genre, f"{genre}{part}{number}", None if part == "-" else part)
        for genre in genres
        for part, count in parts.items()
        for number in range(count)
    )


def test_published_parts_are_kept():
    manifest = published({"train": 5, "valid": 2, "test": 3})
    split = split_of(manifest, method="published")
    for part in PARTS:
        assert split.parts[part] == tuple(track.id for track in manifest.tracks if track.split == part)
    assert (split.evaluation_part, split.leaking, split.notes) == ("test", False, ())


def test_published_without_test_is_measured_on_valid_and_says_so():
    split = split_of(published({"train": 5, "valid": 2, "-": 3}), method="published")
    assert (split.evaluation_part, len(split.valid), split.test) == ("valid", 4, ())
    assert any("There is no test part" in note for note in split.notes)
    assert any("6 tracks are in no part" in note for note in split.notes)


def test_published_without_valid_takes_it_from_train_by_group():
    manifest = published({"train": 12, "test": 4})
    split = split_of(manifest, method="published")
    assert (len(split.train), len(split.valid), len(split.test)) == (18, 6, 8)
    assert split.test == tuple(track.id for track in manifest.tracks if track.split == "test")
    assert any("6 tracks of train, by group, were made one" in note for note in split.notes)


def test_published_that_leaks_is_marked():
    rows = [(genre, "same", part) for genre in "ab" for part in PARTS]
    manifest = make_manifest(rows)
    split = split_of(manifest, method="published")
    assert split.leaking
    assert split.leaks["test in train"]["groups"] == 1
    assert split.leaks["test in train"]["group_share"] == 1
    assert split.leaks["test in train"]["duplicate_share"] == split.leaks["test in train"]["same_share"] == 0
    assert split.leaks["test in train"]["examples"]["groups"] == ["same"]
    assert any("The split leaks" in note and "1 groups (same)" in note for note in split.notes)


@pytest.mark.parametrize("parts", [{"-": 4}, {"train": 4}, {"valid": 2, "test": 2}])
def test_published_that_names_too_little_is_refused(parts):
    with pytest.raises(ParameterError, match=r"split\.method is published, but the column split .* names"):
        split_of(published(parts), method="published")


def test_published_with_a_genre_that_is_not_in_train_is_refused():
    rows = [("a", "x", "train"), ("a", "y", "valid"), ("b", "z", "valid")]
    with pytest.raises(ParameterError, match="Genre b has no track in train"):
        split_of(make_manifest(rows), method="published")


def test_published_lists_with_copies_of_a_recording_on_two_sides_are_marked():
    manifest = published({"train": 5, "valid": 2, "test": 3})
    train, test = (next(track.id for track in manifest.tracks if track.split == part) for part in ("train", "test"))
    split = make_split(manifest, Audit((), {}, {}, clusters=((train, test),)), method="published")
    assert split.leaking
    found = split.leaks["test in train"]
    assert (found["tracks"], found["groups"], found["duplicates"]) == (6, 1, 1)
    assert found["group_share"] == found["duplicate_share"] == 1 / 6
    assert found["examples"] == {"groups": ["atest0 + atrain0"], "duplicates": [[test, train]], "tracks": []}
    assert split.leaks["valid in train"]["groups"] == 0


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20).map(str)), min_size=30, max_size=90),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=6),
    method=st.sampled_from(["group", "kfold"]),
)
@settings(max_examples=100, deadline=None)
def test_groups_that_share_a_recording_are_one(rows, pairs, method):
    manifest = make_manifest(rows)
    clusters = tuple((f"{first:04d}", f"{second:04d}") for first, second in pairs)
    try:
        split = make_split(manifest, Audit((), {}, {}, clusters=clusters), method=method)
    except ParameterError as error:
        assert "groups (artists)" in str(error)  # noqa: PT017 - too much was joined
        return
    part_of = {track_id: part for part in PARTS for track_id in split.parts[part]}
    for first, second in clusters:
        assert part_of[first] == part_of[second]
        assert split.groups[first] == split.groups[second]
    assert_whole(manifest, split)


def test_a_method_that_breaks_its_promise_ends_the_run(monkeypatch):
    manifest = make_manifest([("a", "x"), ("a", "x"), ("a", "y")])
    divided = {"train": ["0000"], "valid": ["0001"], "test": ["0002"]}
    monkeypatch.setitem(METHODS, "group", lambda tracks, options: (divided, []))
    with pytest.raises(RuntimeError, match="divided a group"):
        split_of(manifest)


def test_the_order_of_the_tracks_makes_no_difference():
    manifest = even()
    backwards = replace(manifest, tracks=tuple(reversed(manifest.tracks)))
    for method in ("group", "kfold", "segment"):
        assert split_of(manifest, method=method) == split_of(backwards, method=method)


@given(
    sizes=st.lists(st.lists(st.integers(1, 12), min_size=8, max_size=16), min_size=2, max_size=4),
    folds=st.integers(3, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=8, deadline=None)
def test_folds_share_out_the_tracks_and_every_genre(sizes, folds, seed):
    manifest = make_manifest(
        (f"g{genre}", f"{genre}/{group}")
        for genre, of_genre in enumerate(sizes)
        for group, size in enumerate(of_genre)
        for _ in range(size)
    )
    splits = [split_of(manifest, method="kfold", folds=folds, fold=fold, seed=seed) for fold in range(folds)]
    tested = [set(split.test) for split in splits]
    assert set().union(*tested) == {track.id for track in manifest.tracks}
    assert all(not a & b for a, b in combinations(tested, 2))
    for fold, split in enumerate(splits):
        assert_whole(manifest, split)
        assert set(split.valid) == tested[(fold + 1) % folds]
        assert set(split.train) == set(split.groups) - set(split.valid) - set(split.test)
        for genre, of_genre in enumerate(sizes):
            share = split.report["test"][f"g{genre}"]["tracks"] / sum(of_genre)
            # A whole group is the least that can be moved.
            assert abs(share - 1 / folds) <= max(of_genre) / sum(of_genre)
            assert share > 0


def test_folds_of_even_groups_are_exact_and_another_seed_gives_others():
    split = split_of(even(), method="kfold", folds=5, fold=4)
    assert all(row == {"tracks": 10, "groups": 2} for row in split.report["test"].values())
    assert (split.folds, split.fold) == (5, 4)
    assert split.hash != split_of(even(), method="kfold", folds=5, fold=4, seed=1).hash


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
def test_folds_that_would_leave_a_genre_unlearnt_are_refused_whichever_is_asked_for(fold):
    rows = [("a", f"a{number}") for number in range(9)] + [("b", "b0"), ("b", "b0")]
    with pytest.raises(ParameterError, match=r"genre b has no track to train on.*three groups"):
        split_of(make_manifest(rows), method="kfold", folds=4, fold=fold)


def test_more_folds_than_groups_are_refused():
    rows = [("a", f"a{number}") for number in range(4)]
    with pytest.raises(ParameterError, match=r"split\.folds is 6, but there are 4 groups.* 4 or fewer"):
        split_of(make_manifest(rows), method="kfold", folds=6)


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (5, 5), (5, -1)])
def test_a_fold_that_is_not_there_is_refused(folds, fold):
    with pytest.raises(ParameterError, match=r"split\.fold"):
        split_of(even(), method="kfold", folds=folds, fold=fold)


def test_segments_of_every_track_are_dealt_to_all_parts_and_that_is_a_leak():
    manifest = even()
    split = split_of(manifest, method="segment")
    assert split.train == split.valid == split.test == tuple(track.id for track in manifest.tracks)
    assert split.leaking
    for found in split.leaks.values():
        assert (found["groups"], found["same_share"], found["group_share"]) == (40, 1, 1)
    chosen = [split.chosen(part)("hash 1", 14) for part in PARTS]
    assert (np.sum(chosen, axis=0) == 1).all()
    assert split_of(manifest).chosen("train") is None
    assert split.hash != split_of(manifest, method="segment", seed=1).hash


def test_what_leaks_is_marked_and_nothing_else():
    leaking, honest = (split_of(even(), method=method) for method in ("segment", "group"))
    assert (leaking.marked("test"), leaking.marked("trial", joint=" ")) == ("leaking_test", "leaking trial")
    assert honest.marked("test") == "test"
    assert (leaking.mark, honest.mark) == ({"leaking": "true"}, {})


def test_the_report_counts_tracks_groups_and_segments():
    manifest = even(genres=2, groups=4, tracks=2)
    groups = {track.id: track.group for track in manifest.tracks}
    parts = {"train": manifest.tracks[:6], "valid": manifest.tracks[6:8], "test": manifest.tracks[8:]}
    segments = {part: {track.id: 7 for track in tracks} for part, tracks in parts.items()}
    found = counts(parts, groups, segments)
    assert found["train"]["g0"] == {"tracks": 6, "groups": 3, "segments": 42}
    assert found["test"]["g1"] == {"tracks": 8, "groups": 4, "segments": 56}
    assert found["valid"]["g1"] == {"tracks": 0, "groups": 0, "segments": 0}


def test_the_report_is_a_table_for_people():
    parts = {"train": ["a", "b", "c"], "valid": ["a"], "test": ["d", "e"]}
    groups = {"a": "x", "b": "y", "c": "y", "d": "y", "e": "z"}
    recordings = {"a": "a", "b": "b", "c": "b", "d": "b", "e": "e"}
    found = leaks(parts, groups, recordings)
    assert found["test in train"] == {
        "tracks": 2,
        "groups": 1,
        "duplicates": 1,
        "group_share": 0.5,
        "duplicate_share": 0.5,
        "same_share": 0.0,
        "examples": {"groups": ["y"], "duplicates": [["d", "b"]], "tracks": []},
    }
    assert found["valid in train"]["same_share"] == 1
    assert found["valid in train"]["duplicates"] == 0, "a track is no duplicate of itself"
    lines = table(found)
    assert lines[1].split() == ["test", "in", "train", "2", "1", "50.0%", "50.0%", "0.0%"]
    assert len({len(line) for line in lines}) == 1


def test_unknown_artists_are_said():
    manifest = even()
    alone = [replace(track, group=f"track:{track.id}", group_source="track") for track in manifest.tracks]
    split = split_of(Manifest.of("folder", alone))
    assert not split.groups_known
    assert any("Artists are unknown" in note for note in split.notes)


@pytest.mark.parametrize(
    "fractions",
    [(0.6, 0.2), (0.6, 0.2, 0.3), (1.2, -0.1, -0.1), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (float("nan"), 0, 1)],
)
def test_fractions_that_are_refused(fractions):
    with pytest.raises(ParameterError, match=r"split\.fractions is"):
        split_of(even(), fractions=fractions)


def test_method_that_is_refused():
    with pytest.raises(ParameterError, match=r"split\.method is 'random'; one of group, published"):
        split_of(even(), method="random")


@pytest.mark.parametrize("method", ["published", "kfold", "segment"])
def test_split_comes_back_as_it_was(tmp_path, method):
    split = split_of(published({"train": 9, "valid": 2}), method=method)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    assert Split.load(tmp_path / "split.json").hash == split.hash
    (tmp_path / "split.json").write_text('{"hash": "x"}')
    with pytest.raises(ParameterError, match="is not a split"):
        Split.load(tmp_path / "split.json")
    with pytest.raises(ParameterError, match="There is no split"):
        Split.load(tmp_path / "none.json")
