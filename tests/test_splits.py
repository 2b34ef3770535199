"""Splits: group-disjoint for any groups, balanced where possible, and marked where they leak."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genreflow.audit.faults import Audit, Fault
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.make import check_genres, check_leakage, choose_evaluation_part, make_split, usable_tracks
from genreflow.splits.methods import METHODS, Assigned
from genreflow.splits.params import SplitParams
from genreflow.splits.report import count_tracks, leakage_table, measure_leakage
from genreflow.splits.split import Split

NO_FAULTS = Audit((), {}, {})


def make_manifest(rows) -> Manifest:
    """Build a manifest from rows of (genre, group) or (genre, group, published part)."""
    return Manifest.from_tracks(
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


def balanced_manifest(genres: int = 4, groups: int = 10, tracks: int = 5) -> Manifest:
    return make_manifest(
        (f"g{genre}", f"g{genre} artist {group}")
        for genre in range(genres)
        for group in range(groups)
        for _ in range(tracks)
    )


def published_manifest(parts: dict[str, int], *, genres: str = "ab") -> Manifest:
    """Build a manifest with so many tracks of each published part ("-": none) per genre, each by another artist."""
    return make_manifest(
        (genre, f"{genre}{part}{number}", None if part == "-" else part)
        for genre in genres
        for part, count in parts.items()
        for number in range(count)
    )


def assert_group_disjoint(manifest: Manifest, split: Split) -> None:
    """Check that no artist is in two parts, independently of `measure_leakage`."""
    parts_of = {}
    for part in PARTS:
        for track_id in split.parts[part]:
            parts_of.setdefault(manifest.by_id[track_id].group, set()).add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert not split.leaking


def split_of(manifest: Manifest, **params) -> Split:
    return make_split(manifest, NO_FAULTS, SplitParams(**params))


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12).map(str)), min_size=1, max_size=120),
    shares=st.sampled_from([(0.2, 0.2), (0.1, 0.1), (0.5, 0.0), (0.3, 0.5)]),
    seed=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_groups_are_never_divided(rows, shares, seed):
    manifest = make_manifest(rows)
    try:
        split = split_of(manifest, valid=shares[0], test=shares[1], seed=seed)
    except ParameterError:
        # Only if every group is the single group of some genre: all of them must then be in train.
        groups_of = {genre: {group for other, group in rows if other == genre} for genre, _ in rows}
        assert all(any(groups == {group} for groups in groups_of.values()) for _, group in rows)
        return
    assert_group_disjoint(manifest, split)
    assert Counter(split.train + split.valid + split.test) == Counter(track.id for track in manifest.tracks)
    assert split.train
    assert split.valid
    assert bool(split.test) or split.evaluation_part == "valid"
    assert set(split.evaluation_tracks) == set(split.parts[split.evaluation_part])


@given(sizes=st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=12), min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_genre_with_three_groups_is_in_each_part(sizes):
    manifest = make_manifest(
        (f"g{genre}", f"{genre}/{group}")
        for genre, group_sizes in enumerate(sizes)
        for group, size in enumerate(group_sizes)
        for _ in range(size)
    )
    split = split_of(manifest)
    for part in PARTS:
        assert all(counts["tracks"] for counts in split.report[part].values())


def test_equal_groups_are_divided_exactly():
    split = split_of(balanced_manifest())
    for part, tracks in zip(PARTS, (30, 10, 10), strict=True):
        assert all(counts == {"tracks": tracks, "groups": tracks // 5} for counts in split.report[part].values())
    assert split.notes == ()


def test_artists_in_several_genres_are_not_divided_and_genres_are_balanced():
    rows = [(f"g{genre}", f"{genre if group else 'star'}/{group}") for genre in range(3) for group in range(20)] * 3
    manifest = make_manifest(rows)
    split = split_of(manifest)
    assert_group_disjoint(manifest, split)
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        assert all(abs(counts["tracks"] / 60 - share) < 0.06 for counts in split.report[part].values())


def test_seed_determines_the_split():
    manifest = balanced_manifest()
    assert split_of(manifest, seed=1) == split_of(manifest, seed=1)
    assert len({split_of(manifest, seed=seed).hash for seed in range(5)}) == 5


def test_left_out_tracks_are_in_no_part():
    manifest = balanced_manifest(groups=4)
    faults = (Fault("0003", "silent", "0003 is silent.", True), Fault("0004", "truncated", "x.", False))
    audit = Audit(faults, {}, {})
    split = make_split(manifest, audit, SplitParams())
    used = set(split.train + split.valid + split.test)
    assert "0003" not in used
    assert "0004" in used
    assert len(used) == len(manifest.tracks) - 1
    assert {track.id for track in usable_tracks(manifest, audit)} == used


def test_genre_missing_from_a_part_is_noted():
    rows = [("a", f"a{number}") for number in range(9)] + [("b", "b0"), ("b", "b1"), ("c", "c0"), ("c", "c0")]
    manifest = make_manifest(rows)
    split = split_of(manifest)
    assert split.report["train"]["b"]["tracks"] == split.report["test"]["b"]["tracks"] == 1
    notes = check_genres(manifest.tracks, split.parts, split.groups)
    assert set(notes) <= set(split.notes)
    assert [note.split()[:7] for note in notes] == [
        ["Genre", "b", "has", "no", "track", "in", "valid;"],
        ["Genre", "c", "has", "no", "track", "in", "valid"],
    ]
    assert "valid and test" in notes[1]


def test_too_few_groups_for_validation_are_refused():
    with pytest.raises(ParameterError, match=r"^split: "):
        split_of(make_manifest([("a", "x"), ("a", "x"), ("b", "y")]))
    with pytest.raises(ParameterError, match=r"^split: "):
        choose_evaluation_part({"train": ["a"], "valid": [], "test": ["b"]})
    assert choose_evaluation_part({"train": ["a"], "valid": ["b"], "test": []}) == "valid"
    assert choose_evaluation_part({"train": ["a"], "valid": ["b"], "test": ["c"]}) == "test"


def test_two_groups_per_genre_give_a_validation_part():
    split = split_of(make_manifest([(genre, f"{genre}{number}") for genre in "ab" for number in range(2)]))
    assert split.valid
    assert len(split.train) == 2


def test_genre_without_usable_tracks_is_refused():
    manifest = balanced_manifest(genres=2)
    audit = Audit(tuple(Fault(t.id, "silent", "x.", True) for t in manifest.tracks if t.genre == "g1"), {}, {})
    with pytest.raises(ParameterError, match=r"^Genre g1: .* all 50\b"):
        make_split(manifest, audit, SplitParams())


def test_published_parts_are_used():
    manifest = published_manifest({"train": 5, "valid": 2, "test": 3})
    split = split_of(manifest, method="published")
    for part in PARTS:
        assert split.parts[part] == tuple(track.id for track in manifest.tracks if track.split == part)
    assert (split.evaluation_part, split.leaking, split.notes) == ("test", False, ())


def test_published_split_without_test_part_is_evaluated_on_valid():
    split = split_of(published_manifest({"train": 5, "valid": 2, "-": 3}), method="published")
    assert (split.evaluation_part, len(split.valid), split.test) == ("valid", 4, ())
    unassigned, biased = split.notes
    assert unassigned.startswith("6 tracks")
    assert "optimistically biased" in biased


def test_test_share_of_zero_gives_no_test_part():
    split = split_of(balanced_manifest(), test=0.0)
    assert (split.evaluation_part, split.test) == ("valid", ())


def test_published_split_without_valid_part_takes_it_from_train():
    manifest = published_manifest({"train": 12, "test": 4})
    split = split_of(manifest, method="published")
    assert (len(split.train), len(split.valid), len(split.test)) == (18, 6, 8)
    assert split.test == tuple(track.id for track in manifest.tracks if track.split == "test")
    assert len(split.notes) == 1


def test_published_split_that_leaks_is_marked():
    split = split_of(make_manifest([(genre, "same", part) for genre in "ab" for part in PARTS]), method="published")
    assert split.leaking
    overlap = split.leaks["test in train"]
    assert (overlap["groups"], overlap["group_share"]) == (1, 1)
    assert overlap["duplicate_share"] == overlap["same_share"] == 0
    assert overlap["examples"]["groups"] == ["same"]
    assert "test in train, 1 group (same)" in split.notes[-1]


@pytest.mark.parametrize("parts", [{"-": 4}, {"train": 4}, {"valid": 2, "test": 2}])
def test_incomplete_published_split_is_refused(parts):
    with pytest.raises(ParameterError, match=r"^split\.method: "):
        split_of(published_manifest(parts), method="published")


def test_published_split_without_training_tracks_of_a_genre_is_refused():
    rows = [("a", "x", "train"), ("a", "y", "valid"), ("b", "z", "valid")]
    with pytest.raises(ParameterError, match=r"^Genre b: .* train"):
        split_of(make_manifest(rows), method="published")


def test_published_split_with_copies_of_a_recording_in_two_parts_is_marked():
    manifest = published_manifest({"train": 5, "valid": 2, "test": 3})
    train, test = (next(track.id for track in manifest.tracks if track.split == part) for part in ("train", "test"))
    audit = Audit((), {}, {}, clusters=((train, test),))
    split = make_split(manifest, audit, SplitParams(method="published"))
    assert split.leaking
    overlap = split.leaks["test in train"]
    assert (overlap["tracks"], overlap["groups"], overlap["duplicates"]) == (6, 1, 1)
    assert overlap["group_share"] == overlap["duplicate_share"] == 1 / 6
    assert overlap["examples"] == {"groups": ["atest0 + atrain0"], "duplicates": [[test, train]], "tracks": []}
    assert split.leaks["valid in train"]["groups"] == 0


@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20).map(str)), min_size=30, max_size=90),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=6),
    method=st.sampled_from(["group", "kfold"]),
)
@settings(max_examples=100, deadline=None)
def test_groups_that_share_a_recording_are_merged(rows, pairs, method):
    manifest = make_manifest(rows)
    clusters = tuple((f"{first:04d}", f"{second:04d}") for first, second in pairs)
    try:
        split = make_split(manifest, Audit((), {}, {}, clusters=clusters), SplitParams(method=method))
    except ParameterError as error:
        assert "groups (artists)" in str(error)  # noqa: PT017 - too few groups are left after merging
        return
    part_of = {track_id: part for part in PARTS for track_id in split.parts[part]}
    for first, second in clusters:
        assert part_of[first] == part_of[second]
        assert split.groups[first] == split.groups[second]
    assert_group_disjoint(manifest, split)


def test_method_that_breaks_its_guarantee_is_an_error(monkeypatch):
    manifest = make_manifest([("a", "x"), ("a", "x"), ("a", "y")])
    divided = {"train": ["0000"], "valid": ["0001"], "test": ["0002"]}
    monkeypatch.setitem(METHODS, "group", lambda *_: Assigned(divided))
    with pytest.raises(RuntimeError):
        split_of(manifest)
    leakage = {"test in train": {"groups": 0, "duplicates": 1}}
    assert check_leakage(leakage, "published")
    assert not check_leakage({"test in train": {"groups": 0, "duplicates": 0}}, "group")
    with pytest.raises(RuntimeError):
        check_leakage(leakage, "kfold")


@pytest.mark.parametrize("method", ["group", "kfold", "segment"])
def test_split_does_not_depend_on_the_order_of_the_tracks(method):
    manifest = balanced_manifest()
    backwards = replace(manifest, tracks=tuple(reversed(manifest.tracks)))
    assert split_of(manifest, method=method) == split_of(backwards, method=method)


@given(
    sizes=st.lists(st.lists(st.integers(1, 12), min_size=8, max_size=16), min_size=2, max_size=4),
    folds=st.integers(3, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=8, deadline=None)
def test_folds_partition_the_tracks_and_every_genre(sizes, folds, seed):
    manifest = make_manifest(
        (f"g{genre}", f"{genre}/{group}")
        for genre, group_sizes in enumerate(sizes)
        for group, size in enumerate(group_sizes)
        for _ in range(size)
    )
    splits = [split_of(manifest, method="kfold", folds=folds, fold=fold, seed=seed) for fold in range(folds)]
    test_parts = [set(split.test) for split in splits]
    assert set().union(*test_parts) == {track.id for track in manifest.tracks}
    assert all(not a & b for a, b in combinations(test_parts, 2))
    for fold, split in enumerate(splits):
        assert_group_disjoint(manifest, split)
        assert set(split.valid) == test_parts[(fold + 1) % folds]
        assert set(split.train) == set(split.groups) - set(split.valid) - set(split.test)
        for genre, group_sizes in enumerate(sizes):
            share = split.report["test"][f"g{genre}"]["tracks"] / sum(group_sizes)
            # A whole group is the smallest unit that can be moved.
            assert abs(share - 1 / folds) <= max(group_sizes) / sum(group_sizes)
            assert share > 0


def test_folds_of_equal_groups_are_exact_and_depend_on_the_seed():
    split = split_of(balanced_manifest(), method="kfold", folds=5, fold=4)
    assert all(row == {"tracks": 10, "groups": 2} for row in split.report["test"].values())
    assert (split.folds, split.fold) == (5, 4)
    assert split.hash != split_of(balanced_manifest(), method="kfold", folds=5, fold=4, seed=2).hash


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
def test_folds_without_training_tracks_of_a_genre_are_refused_for_every_fold(fold):
    rows = [("a", f"a{number}") for number in range(9)] + [("b", "b0"), ("b", "b0")]
    with pytest.raises(ParameterError, match=r"^split\.folds: .* genre b "):
        split_of(make_manifest(rows), method="kfold", folds=4, fold=fold)


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ParameterError, match=r"^split\.folds: must be <= 4 for 4 groups .* got 6"):
        split_of(make_manifest([("a", f"a{number}") for number in range(4)]), method="kfold", folds=6)


def test_segment_split_leaks_and_covers_every_segment_once():
    manifest = balanced_manifest()
    split = split_of(manifest, method="segment")
    assert split.train == split.valid == split.test == tuple(track.id for track in manifest.tracks)
    assert split.leaking
    for overlap in split.leaks.values():
        assert (overlap["groups"], overlap["same_share"], overlap["group_share"]) == (40, 1, 1)
    masks = [split.segment_mask(part)("hash 1", 14) for part in PARTS]
    assert (np.sum(masks, axis=0) == 1).all()
    assert split_of(manifest).segment_mask("train") is None
    assert split.hash != split_of(manifest, method="segment", seed=2).hash


def test_only_names_of_a_leaking_split_are_prefixed():
    leaking, disjoint = (split_of(balanced_manifest(), method=method) for method in ("segment", "group"))
    assert (leaking.prefixed("test"), leaking.prefixed("trial", sep=" ")) == ("leaking_test", "leaking trial")
    assert disjoint.prefixed("test") == "test"
    assert (leaking.tags, disjoint.tags) == ({"leaking": "true"}, {})


def test_tracks_groups_and_segments_are_counted():
    manifest = balanced_manifest(genres=2, groups=4, tracks=2)
    groups = {track.id: track.group for track in manifest.tracks}
    parts = {"train": manifest.tracks[:6], "valid": manifest.tracks[6:8], "test": manifest.tracks[8:]}
    segments = {part: {track.id: 7 for track in tracks} for part, tracks in parts.items()}
    counts = count_tracks(parts, groups, segments)
    assert counts["train"]["g0"] == {"tracks": 6, "groups": 3, "segments": 42}
    assert counts["test"]["g1"] == {"tracks": 8, "groups": 4, "segments": 56}
    assert counts["valid"]["g1"] == {"tracks": 0, "groups": 0, "segments": 0}


def test_leakage_is_measured_and_formatted():
    parts = {"train": ["a", "b", "c"], "valid": ["a"], "test": ["d", "e"]}
    groups = {"a": "x", "b": "y", "c": "y", "d": "y", "e": "z"}
    recordings = {"a": "a", "b": "b", "c": "b", "d": "b", "e": "e"}
    leakage = measure_leakage(parts, groups, recordings)
    assert leakage["test in train"] == {
        "tracks": 2,
        "groups": 1,
        "duplicates": 1,
        "group_share": 0.5,
        "duplicate_share": 0.5,
        "same_share": 0.0,
        "examples": {"groups": ["y"], "duplicates": [["d", "b"]], "tracks": []},
    }
    assert leakage["valid in train"]["same_share"] == 1
    assert leakage["valid in train"]["duplicates"] == 0, "a track is no duplicate of itself"
    lines = leakage_table(leakage)
    assert lines[1].split() == ["test", "in", "train", "2", "1", "50.0%", "50.0%", "0.0%"]
    assert len({len(line) for line in lines}) == 1


def test_unknown_artists_are_noted():
    tracks = [replace(track, group=f"track:{track.id}", group_source="track") for track in balanced_manifest().tracks]
    split = split_of(Manifest.from_tracks("folder", tracks))
    assert not split.groups_known
    assert "artists are unknown" in split.notes[-1]


@pytest.mark.parametrize(
    "values",
    [
        {"valid": 0.0},
        {"valid": 0.6, "test": 0.1},
        {"test": -0.1},
        {"valid": 0.5, "test": 0.4},
        {"valid": float("nan")},
        {"method": "random"},
        {"folds": 2},
        {"folds": 5, "fold": 5},
        {"fold": -1},
        {"seed": -1},
    ],
)
def test_values_out_of_range_are_refused_and_named(values):
    with pytest.raises(ValidationError) as caught:
        SplitParams(**values)
    assert any(name in str(caught.value) for name in values)


def test_fractions_sum_to_one():
    assert SplitParams(valid=0.1, test=0.3).fractions == pytest.approx((0.6, 0.1, 0.3))


@pytest.mark.parametrize("method", ["published", "kfold", "segment"])
def test_split_survives_saving_and_loading(tmp_path, method):
    path = tmp_path / "split.json"
    split = split_of(published_manifest({"train": 9, "valid": 2}), method=method)
    split.save(path)
    assert Split.load(path) == split
    assert Split.load(path).hash == split.hash
    path.write_text('{"hash": "x"}')
    with pytest.raises(ParameterError, match=r"split\.json: "):
        Split.load(path)
    with pytest.raises(ParameterError, match=r"none\.json: "):
        Split.load(tmp_path / "none.json")
