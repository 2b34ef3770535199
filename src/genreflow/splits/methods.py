"""Split methods by name: each assigns tracks to parts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from genreflow.errors import ParameterError, counted
from genreflow.manifest.track import PARTS, Part, Track
from genreflow.splits.assign import assign_folds, assign_groups
from genreflow.splits.params import Fractions, Method, SplitParams

Parts = dict[Part, list[str]]  # track ids by part
Index = Mapping[str, int]  # number of the part or fold by group


@dataclass(frozen=True)
class Assigned:
    """How a method divides tracks.

    Parameters
    ----------
    parts : dict of str to list of str
        Track ids by part.
    notes : list of str
        Messages for users.
    index : dict of str to int
        Index of the part (k-fold: the fold) by group, for `genreflow.splits.split_record`; empty if parts do not follow
        from groups.
    """

    parts: Parts
    notes: list[str] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)


# (tracks, group by track id, parameters, parts of groups that stay where they are)
SplitMethod = Callable[[Sequence[Track], Mapping[str, str], SplitParams, Index], Assigned]


def _group(tracks: Sequence[Track], groups: Mapping[str, str], params: SplitParams, held: Index) -> Assigned:
    parts, index = _assign(tracks, groups, params.fractions, params.seed, held)
    return Assigned(parts, index=index)


def _published(tracks: Sequence[Track], groups: Mapping[str, str], params: SplitParams, held: Index) -> Assigned:
    parts: Parts = {part: [track.id for track in tracks if track.split == part] for part in PARTS}
    if not parts["train"] or not (parts["valid"] or parts["test"]):
        sizes = ", ".join(f"{len(parts[part])} {part}" for part in PARTS)
        raise ParameterError(
            "split.method: must not be published unless the column split of tracks.csv has tracks in train and in "
            f"valid or test; got {sizes} of {len(tracks)} usable tracks. Use split.method = group."
        )
    notes: list[str] = []
    index: dict[str, int] = {}
    if unassigned := sum(track.split is None for track in tracks):
        number = counted(unassigned, "track is", "tracks are")
        left_out = "was" if unassigned == 1 else "were"
        notes.append(f"{number} in no part of the published split and {left_out} left out.")
    if not parts["valid"]:
        training = [track for track in tracks if track.split == "train"]
        train, valid, _ = params.fractions
        divided, index = _assign(training, groups, (train, valid, 0.0), params.seed, held)
        parts |= divided | {"test": parts["test"]}
        number = counted(len(parts["valid"]), "track was", "tracks were")
        notes.append(f"The published split has no validation part; {number} moved from train to valid, by group.")
    return Assigned(parts, notes, index)


def _kfold(tracks: Sequence[Track], groups: Mapping[str, str], params: SplitParams, held: Index) -> Assigned:
    own_groups, genres = [groups[track.id] for track in tracks], [track.genre for track in tracks]
    fold_of = assign_folds(own_groups, genres, folds=params.folds, seed=params.seed, held=held).tolist()
    _check_folds(fold_of, own_groups, genres, params.folds)
    test, valid = _held_out_folds(params.fold, params.folds)
    part_of: dict[int, Part] = {test: "test", valid: "valid"}
    parts: Parts = {part: [] for part in PARTS}
    for track, fold in zip(tracks, fold_of, strict=True):
        parts[part_of.get(fold, "train")].append(track.id)
    return Assigned(parts, index=dict(zip(own_groups, fold_of, strict=True)))


def _check_folds(fold_of: Sequence[int], groups: Sequence[str], genres: Sequence[str], folds: int) -> None:
    """Check every fold, not only the selected one, so that an error does not occur in the last of k experiments."""
    for test in range(folds):
        held_out = _held_out_folds(test, folds)
        trained = {genre for genre, fold in zip(genres, fold_of, strict=True) if fold not in held_out}
        if missing := sorted(set(genres) - trained):
            raise ParameterError(
                f"split.folds: every genre must have training tracks in each of the {folds} folds, for which it needs "
                f"at least three groups (artists); genre {missing[0]} has none for split.fold = {test}. Add artists, "
                "or use split.method = group."
            )
    if empty := set(range(folds)) - set(fold_of):
        number = counted(len(set(groups)), "group")
        raise ParameterError(f"split.folds: must be <= {folds - len(empty)} for {number} (artists); got {folds}.")


def _held_out_folds(fold: int, folds: int) -> tuple[int, int]:
    """Return the test fold and the validation fold."""
    return fold, (fold + 1) % folds


def _segment(tracks: Sequence[Track], groups: Mapping[str, str], params: SplitParams, held: Index) -> Assigned:
    ids = [track.id for track in tracks]
    note = (
        "split.method = segment assigns the segments of every track to all parts, as in most published results; it is "
        "for comparison only."
    )
    return Assigned({part: ids if share else [] for part, share in zip(PARTS, params.fractions, strict=True)}, [note])


def _track(tracks: Sequence[Track], groups: Mapping[str, str], params: SplitParams, held: Index) -> Assigned:
    note = "split.method = track ignores artists, as in some published results; it is for comparison only."
    parts, _ = _assign(tracks, {track.id: track.id for track in tracks}, params.fractions, params.seed, {})
    return Assigned(parts, [note])


def _assign(
    tracks: Sequence[Track], groups: Mapping[str, str], fractions: Fractions, seed: int, held: Index
) -> tuple[Parts, dict[str, int]]:
    """Return track ids by part, and the index of the part by group."""
    own_groups, genres = [groups[track.id] for track in tracks], [track.genre for track in tracks]
    held = held_with_training_tracks(own_groups, genres, held)
    index_of = assign_groups(own_groups, genres, fractions=fractions, seed=seed, held=held).tolist()
    parts: Parts = {part: [] for part in PARTS}
    for track, index in zip(tracks, index_of, strict=True):
        parts[PARTS[index]].append(track.id)
    return parts, dict(zip(own_groups, index_of, strict=True))


def held_with_training_tracks(groups: Sequence[str], genres: Sequence[str], held: Index) -> dict[str, int]:
    """Move groups to train whose genre would have no training track: all of its groups are in other parts.

    Parameters
    ----------
    groups, genres : sequence of str
        Group and genre of each track.
    held : mapping of str to int
        Part of each group that stays where it is.

    Returns
    -------
    held : dict of str to int
        With the smallest group of each such genre in train; the search could move none of them.
    """
    held = dict(held)
    sizes = Counter(groups)
    for genre in sorted(set(genres)):
        own = {group for group, other in zip(groups, genres, strict=True) if other == genre}
        if all(held.get(group, 0) != 0 for group in own):
            held[min(own, key=lambda group: (sizes[group], group))] = 0
    return held


METHODS: dict[Method, SplitMethod] = {
    "group": _group,
    "published": _published,
    "kfold": _kfold,
    "segment": _segment,
    "track": _track,
}
# Methods that guarantee that no group and no recording is in two parts.
GROUP_DISJOINT: tuple[Method, ...] = ("group", "kfold")
