"""Groups that share a recording are merged, transitively, under a name that does not depend on the order."""

from hypothesis import given
from hypothesis import strategies as st

from genreflow.manifest.groups import merged_groups, recording_of
from genreflow.manifest.track import Track


def make_tracks(*groups, hashes=()) -> list[Track]:
    return [
        Track(
            id=f"t{number}",
            genre="a",
            path=f"{number}.wav",
            group=group,
            group_source="folder",
            hash=hashes[number] if hashes else f"h{number}",
        )
        for number, group in enumerate(groups)
    ]


def test_groups_that_share_no_recording_keep_their_names():
    assert merged_groups(make_tracks("x", "y", "x"), []) == {"t0": "x", "t1": "y", "t2": "x"}


def test_merging_is_transitive_and_named_after_the_members():
    tracks = make_tracks("muddy", "the band", "band", "alone", "band")
    assert merged_groups(tracks, [("t1", "t2"), ("t4", "t0")]) == {
        "t0": "band + muddy + the band",
        "t1": "band + muddy + the band",
        "t2": "band + muddy + the band",
        "t3": "alone",
        "t4": "band + muddy + the band",
    }


def test_name_of_a_large_merged_group_is_shortened():
    tracks = make_tracks(*"edcba")
    assert set(merged_groups(tracks, [tuple(track.id for track in tracks)]).values()) == {"a + b + c + 2 more"}


def test_cluster_within_a_group_and_unknown_ids_change_nothing():
    tracks = make_tracks("x", "x", "y")
    assert merged_groups(tracks, [("t0", "t1"), ("t2", "unknown")]) == {"t0": "x", "t1": "x", "t2": "y"}


def test_tracks_with_equal_hashes_are_one_recording_without_a_cluster():
    tracks = make_tracks("x", "y", "z", hashes=("h", "h", "i"))
    assert merged_groups(tracks, []) == {"t0": "x + y", "t1": "x + y", "t2": "z"}
    assert recording_of(tracks, [("t1", "t2")]) == {"t0": "t0", "t1": "t0", "t2": "t0"}


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=20),
    pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=12),
    data=st.data(),
)
def test_partition_is_the_finest_that_keeps_clusters_and_groups_together(groups, pairs, data):
    tracks = make_tracks(*groups)
    clusters = [(f"t{a}", f"t{b}") for a, b in pairs if a < len(groups) and b < len(groups)]
    merged = merged_groups(tracks, clusters)
    # Brute force: propagate labels along shared groups and clusters until nothing changes.
    label = {track.id: track.id for track in tracks}
    edges = [*clusters, *((a.id, b.id) for a in tracks for b in tracks if a.group == b.group)]
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            lowest = min(label[a], label[b])
            changed |= label[a] != lowest or label[b] != lowest
            label[a] = label[b] = lowest
    assert all((merged[a] == merged[b]) == (label[a] == label[b]) for a in merged for b in merged)
    assert merged == merged_groups(data.draw(st.permutations(tracks)), data.draw(st.permutations(clusters)))
