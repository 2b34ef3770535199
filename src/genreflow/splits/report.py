"""How a split shares out the tracks, and how much of one part stands in another."""

from collections.abc import Mapping, Sequence

from genreflow.manifest.track import PARTS, Part, Track

EXAMPLES = 5
# Which part is held against which: what is measured, against what it must not have seen.
PAIRS: tuple[tuple[Part, Part], ...] = (("test", "train"), ("test", "valid"), ("valid", "train"))


def counts(
    parts: Mapping[Part, Sequence[Track]],
    groups: Mapping[str, str],
    segments: Mapping[Part, Mapping[str, int]] | None = None,
) -> dict:
    """Count what each part has of each genre.

    Parameters
    ----------
    parts : dict of str to sequence of Track
    groups : dict of str to str
        By the track's id.
    segments : dict of str to dict of str to int, optional
        By part, the segments that it has of each track (by id).

    Returns
    -------
    counts : dict
        By part and genre, ``{"tracks", "groups"}`` and, where they were given, ``"segments"``.
    """
    genres = sorted({track.genre for tracks in parts.values() for track in tracks})
    found = {}
    for part in PARTS:
        for genre in genres:
            inside = [track for track in parts[part] if track.genre == genre]
            row = {"tracks": len(inside), "groups": len({groups[track.id] for track in inside})}
            if segments is not None:
                row["segments"] = sum(segments[part].get(track.id, 0) for track in inside)
            found.setdefault(part, {})[genre] = row
    return found


def leaks(
    parts: Mapping[Part, Sequence[str]], groups: Mapping[str, str], same_recording: Mapping[str, str]
) -> dict[str, dict]:
    """Measure how much of one part stands in another.

    Parameters
    ----------
    parts : dict of str to sequence of str
        Ids of tracks.
    groups : dict of str to str
        By id, what must not be divided (`groups.merged_groups`).
    same_recording : dict of str to str
        By id, the name of the recording (`groups.recordings`).

    Returns
    -------
    leaks : dict
        For each two parts that are not empty, ``"test in train"``, ``"test in valid"`` and ``"valid in train"``, a dict
        of ``tracks`` (in the first), ``groups`` and ``duplicates`` (numbers of groups, and of tracks of the first with
        another copy in the second), ``group_share``, ``duplicate_share`` and ``same_share`` (shares of the first's
        tracks whose group, whose duplicate, and which themselves are in the second; in [0, 1]), and ``examples``.
        All are 0 for a split that does not leak.
    """
    found = {}
    for measured, other in PAIRS:
        if not parts[measured] or not parts[other]:
            continue
        copies: dict[str, list[str]] = {}
        for track_id in parts[other]:
            copies.setdefault(same_recording[track_id], []).append(track_id)
        known = {groups[track_id] for track_id in parts[other]}
        itself = set(parts[other])
        by_group = [track_id for track_id in parts[measured] if groups[track_id] in known]
        same = [track_id for track_id in parts[measured] if track_id in itself]
        pairs = [
            [track_id, copy]
            for track_id in parts[measured]
            for copy in [c for c in copies.get(same_recording[track_id], ()) if c != track_id][:1]
        ]
        shared, total = sorted({groups[track_id] for track_id in by_group}), len(parts[measured])
        found[f"{measured} in {other}"] = {
            "tracks": total,
            "groups": len(shared),
            "duplicates": len(pairs),
            "group_share": len(by_group) / total,
            "duplicate_share": len(pairs) / total,
            "same_share": len(same) / total,
            "examples": {"groups": shared[:EXAMPLES], "duplicates": pairs[:EXAMPLES], "tracks": same[:EXAMPLES]},
        }
    return found


def table(found: Mapping[str, Mapping]) -> list[str]:
    """`leaks` as aligned lines for people, the first of them the header."""
    lines = [f"{'leak':<16}{'tracks':>8}{'groups':>8}{'group too':>11}{'duplicate too':>15}{'itself too':>12}"]
    for pair, row in found.items():
        lines.append(
            f"{pair:<16}{row['tracks']:>8}{row['groups']:>8}{row['group_share']:>11.1%}"
            f"{row['duplicate_share']:>15.1%}{row['same_share']:>12.1%}"
        )
    return lines
