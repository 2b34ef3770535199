"""Size and leakage of a split."""

from collections.abc import Mapping, Sequence
from typing import Any

from genreflow.manifest.track import PARTS, Part, Track

EXAMPLES = 5
# (evaluated part, part that the model has seen)
PAIRS: tuple[tuple[Part, Part], ...] = (("test", "train"), ("test", "valid"), ("valid", "train"))


def count_tracks(
    parts: Mapping[Part, Sequence[Track]],
    groups: Mapping[str, str],
    segments: Mapping[Part, Mapping[str, int]] | None = None,
) -> dict[str, dict[str, dict[str, int]]]:
    """Count tracks, groups and segments by part and genre.

    Parameters
    ----------
    parts : dict of str to sequence of Track
    groups : dict of str to str
        Group by track id.
    segments : dict of str to dict of str to int, optional
        Number of segments by part and track id.

    Returns
    -------
    counts : dict
        ``{part: {genre: {"tracks", "groups"}}}``, with ``"segments"`` if `segments` is given.
    """
    genres = sorted({track.genre for tracks in parts.values() for track in tracks})
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for part in PARTS:
        for genre in genres:
            inside = [track for track in parts[part] if track.genre == genre]
            row = {"tracks": len(inside), "groups": len({groups[track.id] for track in inside})}
            if segments is not None:
                row["segments"] = sum(segments[part].get(track.id, 0) for track in inside)
            counts.setdefault(part, {})[genre] = row
    return counts


def largest_tracks(
    tracks: Sequence[Track], segments: Mapping[str, int], epoch_segments: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Find the track with the most segments of each genre.

    Parameters
    ----------
    tracks : sequence of Track
        Training tracks.
    segments, epoch_segments : dict of str to int > 0
        Number of segments by track id: all of them, and those that an epoch draws.

    Returns
    -------
    dict
        ``{genre: {"track", "segments", "share", "epoch_segments", "epoch_share"}}``; the shares are those of the
        genre's segments, in (0, 1].
    """
    largest = {}
    for genre in sorted({track.genre for track in tracks if track.id in segments}):
        ids = [track.id for track in tracks if track.genre == genre and track.id in segments]
        longest = max(ids, key=lambda track_id: (segments[track_id], track_id))
        row: dict[str, Any] = {"track": longest}
        for prefix, counts in (("", segments), ("epoch_", epoch_segments)):
            row[f"{prefix}segments"] = counts[longest]
            row[f"{prefix}share"] = round(counts[longest] / sum(counts[track_id] for track_id in ids), 4)
        largest[genre] = row
    return largest


def measure_leakage(
    parts: Mapping[Part, Sequence[str]], groups: Mapping[str, str], recordings: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Measure the overlap between the parts of a split.

    Parameters
    ----------
    parts : dict of str to sequence of str
        Track ids by part.
    groups : dict of str to str
        Group by track id, see `merged_groups`.
    recordings : dict of str to str
        Recording by track id, see `recording_of`.

    Returns
    -------
    leakage : dict
        One entry for each pair of non-empty parts, ``"test in train"``, ``"test in valid"`` and ``"valid in train"``:

        tracks : int
            Tracks of the first part.
        groups : int
            Groups that are in both parts.
        duplicates : int
            Tracks of the first part with another copy in the second.
        group_share, duplicate_share, same_share : float in [0, 1]
            Shares of the first part's tracks whose group, another copy of which, or which themselves are in the second.
        examples : dict
            Up to `EXAMPLES` ``groups``, ``duplicates`` (pairs of ids) and ``tracks``.

        The numbers of a split without leakage are 0.
    """
    return {
        f"{evaluated} in {seen}": _overlap(parts[evaluated], parts[seen], groups, recordings)
        for evaluated, seen in PAIRS
        if parts[evaluated] and parts[seen]
    }


def _overlap(
    evaluated: Sequence[str], seen: Sequence[str], groups: Mapping[str, str], recordings: Mapping[str, str]
) -> dict[str, Any]:
    copies: dict[str, list[str]] = {}
    for track_id in seen:
        copies.setdefault(recordings[track_id], []).append(track_id)
    seen_groups, seen_ids = {groups[track_id] for track_id in seen}, set(seen)
    by_group = [track_id for track_id in evaluated if groups[track_id] in seen_groups]
    same = [track_id for track_id in evaluated if track_id in seen_ids]
    duplicates = [
        [track_id, copy]
        for track_id in evaluated
        for copy in [other for other in copies.get(recordings[track_id], ()) if other != track_id][:1]
    ]
    shared, total = sorted({groups[track_id] for track_id in by_group}), len(evaluated)
    return {
        "tracks": total,
        "groups": len(shared),
        "duplicates": len(duplicates),
        "group_share": len(by_group) / total,
        "duplicate_share": len(duplicates) / total,
        "same_share": len(same) / total,
        "examples": {"groups": shared[:EXAMPLES], "duplicates": duplicates[:EXAMPLES], "tracks": same[:EXAMPLES]},
    }


def leakage_table(leakage: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Format what `measure_leakage` returns as the aligned lines of a table, header first."""
    lines = [f"{'overlap':<16}{'tracks':>8}{'groups':>8}{'same group':>12}{'duplicate':>11}{'same track':>12}"]
    for pair, row in leakage.items():
        lines.append(
            f"{pair:<16}{row['tracks']:>8}{row['groups']:>8}{row['group_share']:>12.1%}"
            f"{row['duplicate_share']:>11.1%}{row['same_share']:>12.1%}"
        )
    return lines
