"""Make a split of a manifest's usable tracks."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError, counted
from genreflow.manifest.groups import recording_of
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Part, Track
from genreflow.splits.methods import GROUP_DISJOINT, METHODS, Assigned
from genreflow.splits.params import Method, SplitParams
from genreflow.splits.report import count_tracks, measure_leakage
from genreflow.splits.segment_parts import SegmentParts
from genreflow.splits.split import Split
from genreflow.splits.split_record import Held, SplitRecord
from genreflow.splits.train_only import conflicts, groups_without

logger = logging.getLogger(__name__)


def make_split(manifest: Manifest, audit: Audit, params: SplitParams, record: SplitRecord | None = None) -> Split:
    """Divide the usable tracks of a manifest into train, valid and test.

    Parameters
    ----------
    manifest : Manifest
        Tracks with ``train_only`` are assigned to train after all others, and influence the parts of none. One that has
        the artist of a valid or test track, or a copy of its recording, is left out: `Split.train_only_left_out`
        has it with the groups that it is connected to, `Split.train_only` those that are in train.
    audit : Audit
        Audit of this manifest. Groups that share a recording, according to its clusters, are merged.
    params : SplitParams
        `params.method` is one of

        group
            Stratified by genre and group-disjoint.
        published
            The split given in tracks.csv or in the literature; if it has no validation part, one is taken from train,
            group-disjoint.
        kfold
            Stratified by genre and group-disjoint; the folds are the same for every `fold`. One fold is the test part,
            the next the validation part, the others are the training part.
        segment
            Segments of every track are assigned to all parts at random. Leaks; for comparison only.
        track
            Stratified by genre, ignoring artists. Leaks if an artist has several tracks; for comparison only.
    record : SplitRecord, optional
        Groups of former splits with the same settings, which stay in their parts (k-fold: folds). Those of this split
        are added to it. Without it, or with an empty one, all groups are assigned anew.

    Raises
    ------
    ParameterError
        A genre has no usable track, or the tracks cannot be divided in this way.
    """
    usable = usable_tracks(manifest, audit)
    tracks = [track for track in usable if not track.train_only]
    groups = groups_without(manifest.tracks, audit.clusters)
    record = SplitRecord() if record is None else record
    held = record.held(params, [track for track in manifest.tracks if not track.train_only], groups)
    _log_held(held, record, params, {groups[track.id] for track in tracks})
    assigned = METHODS[params.method](tracks, groups, params, held.index)
    held_out = [*assigned.parts["valid"], *assigned.parts["test"]]
    left_out = conflicts(manifest.tracks, audit.clusters, groups, held_out)
    train_only = [track for track in usable if track.train_only and track.id not in left_out]
    _add(record, params, manifest, groups, assigned, train_only)
    added = [track.id for track in train_only]
    parts = {part: tuple(sorted(assigned.parts[part] + (added if part == "train" else []))) for part in PARTS}
    notes = [*assigned.notes, *check_genres(usable, parts, groups), *_note_left_out(left_out)]
    evaluation_part = choose_evaluation_part(parts)
    if evaluation_part == "valid":
        notes.append(
            "There is no test part: models are selected and evaluated on valid, and metrics are optimistically biased."
        )
    groups = {track_id: groups[track_id] for track_id in sorted(set().union(*parts.values()))}
    leakage = measure_leakage(parts, groups, recording_of(manifest.tracks, audit.clusters))
    leaking = check_leakage(leakage, params.method)
    if leaking:
        notes.append(_describe_leakage(leakage))
    if not manifest.groups_known:
        notes.append(
            "Most artists are unknown: an artist may be in train and test, and metrics may be optimistically biased."
        )
    kfold = params.method == "kfold"
    return Split(
        method=params.method,
        **parts,
        evaluation_part=evaluation_part,
        leaking=leaking,
        groups_known=manifest.groups_known,
        groups=groups,
        report=count_tracks({part: [manifest.by_id[i] for i in ids] for part, ids in parts.items()}, groups),
        leaks=leakage,
        segments=SegmentParts(fractions=params.fractions, seed=params.seed) if params.method == "segment" else None,
        folds=params.folds if kfold else None,
        fold=params.fold if kfold else None,
        train_only=tuple(sorted(added)),
        train_only_left_out=dict(sorted(left_out.items())),
        notes=tuple(notes),
    )


def _add(
    record: SplitRecord,
    params: SplitParams,
    manifest: Manifest,
    groups: Mapping[str, str],
    assigned: Assigned,
    train_only: Sequence[Track],
) -> None:
    """Record the parts of all groups; an unused copy of a track has the part of its group."""
    if not assigned.index:
        return
    ordinary = [track for track in manifest.tracks if not track.train_only]
    index = dict(assigned.index)
    if params.method != "kfold":  # whose folds have no training part
        index |= {groups[track.id]: 0 for track in train_only}
    record.add(params, [*ordinary, *train_only], groups, index)


def _log_held(held: Held, record: SplitRecord, params: SplitParams, groups: Collection[str]) -> None:
    if record.splits and not record.knows(params):
        logger.info("these settings of the split are new: all groups (artists) are assigned anew")
    if kept := sum(group in held.index for group in groups):
        logger.info("%d of %s (artists) stay in their parts", kept, counted(len(groups), "group"))
    for group, numbers in held.moved.items():
        names = [str(number) if params.method == "kfold" else PARTS[number] for number in numbers]
        logger.warning(
            "%s: a recording or an artist connects groups of %s; all are in %s now",
            group,
            " and ".join(names),
            names[0],
        )


def _note_left_out(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    if not left_out:
        return []
    number = counted(len(left_out), "track that may only be in train was", "tracks that may only be in train were")
    return [f"{number} left out: valid or test has the same artist or recording."]


def usable_tracks(manifest: Manifest, audit: Audit) -> list[Track]:
    """Return the tracks that the audit does not leave out.

    Raises
    ------
    ParameterError
        A genre has none.
    """
    left_out = audit.left_out
    tracks = [track for track in manifest.tracks if track.id not in left_out]
    usable_genres = {track.genre for track in tracks}
    for genre, total in manifest.tracks_per_genre.items():
        if genre not in usable_genres:
            raise ParameterError(
                f"Genre {genre}: must have at least one usable track; the audit leaves out all {total}. Repair them, "
                "or remove the genre from data.genres."
            )
    return tracks


def check_genres(tracks: Sequence[Track], parts: Mapping[Part, Sequence[str]], groups: Mapping[str, str]) -> list[str]:
    """Check that every genre is in train; return a message for each genre that is missing from another part.

    Raises
    ------
    ParameterError
        A genre has no training track.
    """
    notes = []
    members = {part: set(ids) for part, ids in parts.items()}
    for genre in sorted({track.genre for track in tracks}):
        ids = {track.id for track in tracks if track.genre == genre}
        n_groups = len({groups[track_id] for track_id in ids})
        missing = [part for part in PARTS if members[part] and not members[part] & ids]
        total = f"{counted(len(ids), 'track')} by {counted(n_groups, 'group')} (artists)"
        if "train" in missing:
            raise ParameterError(f"Genre {genre}: must have at least one track in train; got none of {total}.")
        if missing:
            notes.append(f"Genre {genre} has no track in {' and '.join(missing)}; it has {total}.")
    return notes


def choose_evaluation_part(parts: Mapping[Part, Sequence[str]]) -> Part:
    """Return the part on which models are evaluated: ``test``, or ``valid`` if test is empty.

    Raises
    ------
    ParameterError
        The validation part is empty.
    """
    if not parts["valid"]:
        raise ParameterError(
            "split: the validation part must not be empty, but no genre has groups (artists) for two parts. Add "
            "artists, or name them in the column group of tracks.csv; another split.seed divides all groups anew."
        )
    return "test" if parts["test"] else "valid"


def check_leakage(leakage: Mapping[str, Mapping[str, Any]], method: Method) -> bool:
    """Return whether a split leaks.

    Raises
    ------
    RuntimeError
        It does, although `method` guarantees that it does not: an error in this package.
    """
    leaking = any(pair["groups"] or pair["duplicates"] for pair in leakage.values())
    if leaking and method in GROUP_DISJOINT:
        raise RuntimeError(f"split.method = {method} must be group-disjoint; got {leakage}")
    return leaking


def _describe_leakage(leakage: Mapping[str, Mapping[str, Any]]) -> str:
    pair, worst = max(leakage.items(), key=lambda item: (item[1]["groups"], item[1]["duplicates"]))
    examples = ", ".join(worst["examples"]["groups"][:3])
    return (
        "The split leaks: metrics are optimistically biased and are marked as leaking. Worst overlap: "
        f"{pair}, {counted(worst['groups'], 'group')}{f' ({examples})' if examples else ''} and "
        f"{counted(worst['duplicates'], 'duplicate')}."
    )
