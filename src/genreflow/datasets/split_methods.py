"""The ways to split, by name: from tracks to the part of each, and notes for people."""

from collections import Counter
from collections.abc import Callable

from genreflow.datasets.assign import assign_groups
from genreflow.datasets.track import PARTS, Part, Track
from genreflow.errors import ParameterError

Parts = dict[str, Part]  # part of each track, by id
Fractions = tuple[float, float, float]


def _group(tracks: list[Track], fractions: Fractions, seed: int) -> tuple[Parts, list[str]]:
    part_of = assign_groups(
        [track.group for track in tracks], [track.genre for track in tracks], fractions=fractions, seed=seed
    )
    return {track.id: PARTS[part] for track, part in zip(tracks, part_of, strict=True)}, []


def _published(tracks: list[Track], fractions: Fractions, seed: int) -> tuple[Parts, list[str]]:
    parts = {track.id: track.split for track in tracks if track.split}
    counts = Counter(parts.values())
    if not counts["train"] or not (counts["valid"] or counts["test"]):
        named = ", ".join(f"{counts[part]} {part}" for part in PARTS)
        raise ParameterError(
            f"split.method is published, but the column split of tracks.csv names {named} of {len(tracks)} usable "
            "tracks; train and one of valid and test are needed, or split.method = group."
        )
    notes = []
    if len(parts) < len(tracks):
        notes.append(f"{len(tracks) - len(parts)} tracks are in no part of the published split and were left out.")
    if not counts["valid"]:
        training = [track for track in tracks if parts.get(track.id) == "train"]
        inner, _ = _group(training, (fractions[0], fractions[1], 0.0), seed)
        parts.update(inner)
        taken = Counter(inner.values())["valid"]
        notes.append(f"The published split has no valid part; {taken} tracks of train, by group, were made one.")
    return parts, notes


METHODS: dict[str, Callable[[list[Track], Fractions, int], tuple[Parts, list[str]]]] = {
    "group": _group,
    "published": _published,
}
