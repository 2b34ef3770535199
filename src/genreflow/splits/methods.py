"""The ways to split, by name: from tracks to the tracks of each part, and notes for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from genreflow.errors import ParameterError
from genreflow.manifest.track import PARTS, Part, Track
from genreflow.splits.assign import assign_folds, assign_groups

Parts = dict[Part, list[str]]  # ids of the tracks of each part
Fractions = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a method may go by.

    Parameters
    ----------
    groups : dict of str to str
        By the track's id, what must not be divided.
    fractions : tuple of three floats in [0, 1]
        Shares of train, valid and test, which sum to 1.
    seed : int >= 0
    folds, fold : int
        Of ``kfold``: how many, and which one tests, from 0.
    """

    groups: Mapping[str, str]
    fractions: Fractions
    seed: int
    folds: int
    fold: int


def _group(tracks: Sequence[Track], options: Options) -> tuple[Parts, list[str]]:
    return _by_group(tracks, options, options.fractions), []


def _published(tracks: Sequence[Track], options: Options) -> tuple[Parts, list[str]]:
    parts = {part: [track.id for track in tracks if track.split == part] for part in PARTS}
    if not parts["train"] or not (parts["valid"] or parts["test"]):
        named = ", ".join(f"{len(parts[part])} {part}" for part in PARTS)
        raise ParameterError(
            f"split.method is published, but the column split of tracks.csv names {named} of {len(tracks)} usable "
            "tracks; train and one of valid and test are needed, or split.method = group."
        )
    notes = []
    if rest := sum(track.split is None for track in tracks):
        notes.append(f"{rest} tracks are in no part of the published split and were left out.")
    if not parts["valid"]:
        training = [track for track in tracks if track.split == "train"]
        parts |= _by_group(training, options, (*options.fractions[:2], 0.0)) | {"test": parts["test"]}
        taken = len(parts["valid"])
        notes.append(f"The published split has no valid part; {taken} tracks of train, by group, were made one.")
    return parts, notes


def _kfold(tracks: Sequence[Track], options: Options) -> tuple[Parts, list[str]]:
    groups, genres = _groups_and_genres(tracks, options)
    fold_of = assign_folds(groups, genres, folds=options.folds, seed=options.seed).tolist()
    for test in range(options.folds):  # of all of them, or the mistake would be met in the last experiment
        learnt = {genre for genre, fold in zip(genres, fold_of, strict=True) if fold not in _turn(test, options.folds)}
        if lacking := sorted(set(genres) - learnt):
            raise ParameterError(
                f"split.method is kfold, but of {options.folds} folds genre {lacking[0]} has no track to train on when "
                f"split.fold is {test}; three groups (artists) of each genre are needed, or split.method = group."
            )
    if empty := set(range(options.folds)) - set(fold_of):
        raise ParameterError(
            f"split.folds is {options.folds}, but there are {len(set(groups))} groups (artists) to share out, and "
            f"{len(empty)} folds are empty; {options.folds - len(empty)} or fewer are right."
        )
    test, valid = _turn(options.fold, options.folds)
    role = {test: "test", valid: "valid"}
    parts: Parts = {part: [] for part in PARTS}
    for track, fold in zip(tracks, fold_of, strict=True):
        parts[role.get(fold, "train")].append(track.id)
    return parts, []


def _turn(fold: int, folds: int) -> tuple[int, int]:
    """The fold that tests and the one that validates."""
    return fold, (fold + 1) % folds


def _segment(tracks: Sequence[Track], options: Options) -> tuple[Parts, list[str]]:
    ids = [track.id for track in tracks]
    note = (
        "split.method = segment deals the segments of every track to all parts, as most published figures do; it is "
        "good for comparison only."
    )
    return {part: ids if share else [] for part, share in zip(PARTS, options.fractions, strict=True)}, [note]


def _track(tracks: Sequence[Track], options: Options) -> tuple[Parts, list[str]]:
    alone = replace(options, groups={track.id: track.id for track in tracks})
    note = "split.method = track divides tracks whoever plays, as some published figures do; it is for comparison only."
    return _by_group(tracks, alone, options.fractions), [note]


def _by_group(tracks: Sequence[Track], options: Options, fractions: Fractions) -> Parts:
    groups, genres = _groups_and_genres(tracks, options)
    part_of = assign_groups(groups, genres, fractions=fractions, seed=options.seed)
    return {
        part: [track.id for track, p in zip(tracks, part_of, strict=True) if p == i] for i, part in enumerate(PARTS)
    }


def _groups_and_genres(tracks: Sequence[Track], options: Options) -> tuple[list[str], list[str]]:
    return [options.groups[track.id] for track in tracks], [track.genre for track in tracks]


METHODS: dict[str, Callable[[Sequence[Track], Options], tuple[Parts, list[str]]]] = {
    "group": _group,
    "published": _published,
    "kfold": _kfold,
    "segment": _segment,
    "track": _track,
}
# Methods that promise that no group and no recording stands on two sides.
HONEST = ("group", "kfold")
