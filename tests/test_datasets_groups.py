"""Groups that share a recording are one, transitively, and called the same wherever it is found out."""

from hypothesis import given
from hypothesis import strategies as st

from genreflow.manifest.groups import merged_groups, recordings
from genreflow.manifest.track import Track


def tracks_of(*groups, hashes=()):
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


def test_groups_that_share_nothing_keep_their_names():
    assert merged_groups(tracks_of("x", "y", "x"), []) == {"t0": "x", "t1": "y", "t2": "x"}


def test_sharing_is_transitive_and_named_after_its_members():
    tracks = tracks_of("muddy", "the band", "band", "alone", "band")
    found = merged_groups(tracks, [("t1", "t2"), ("t4", "t0")])
    assert found == {
        "t0": "band + muddy + the band",
        "t1": "band + muddy + the band",
        "t2": "band + muddy + the band",
        "t3": "alone",
        "t4": "band + muddy + the band",
    }


def test_many_members_are_counted():
    tracks = tracks_of(*"edcba")
    assert set(merged_groups(tracks, [tuple(track.id for track in tracks)]).values()) == {"a + b + c + 2 more"}


def test_a_cluster_within_one_group_or_of_unknown_tracks_changes_nothing():
    tracks = tracks_of("x", "x", "y")
    assert merged_groups(tracks, [("t0", "t1"), ("t2", "gone")]) == {"t0": "x", "t1": "x", "t2": "y"}


def test_equal_hashes_are_one_recording_whatever_the_audit_found():
    tracks = tracks_of("x", "y", "z", hashes=("h", "h", "i"))
    assert merged_groups(tracks, []) == {"t0": "x + y", "t1": "x + y", "t2": "z"}
    assert recordings(tracks, [("t1", "t2")]) == {"t0": "t0", "t1": "t0", "t2": "t0"}


@given(
    groups=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=20),
    pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=12),
    data=st.data(),
)
def test_the_partition_is_the_finest_that_keeps_clusters_and_groups_whole(groups, pairs, data):
    tracks = tracks_of(*groups)
    clusters = [(f"t{a}", f"t{b}") for a, b in pairs if a < len(groups) and b < len(groups)]
    found = merged_groups(tracks, clusters)
    # By brute force: colours spread along shared groups and clusters until nothing changes.
    colour = {track.id: track.id for track in tracks}
    edges = [*clusters, *((a.id, b.id) for a in tracks for b in tracks if a.group == b.group)]
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(colour[a], colour[b])
            changed |= colour[a] != low or colour[b] != low
            colour[a] = colour[b] = low
    assert all((found[a] == found[b]) == (colour[a] == colour[b]) for a in found for b in found)
    assert found == merged_groups(data.draw(st.permutations(tracks)), data.draw(st.permutations(clusters)))
