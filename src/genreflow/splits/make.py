"""Make a split of a manifest's usable tracks."""

from collections.abc import Mapping, Sequence
from typing import Any

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError, counted
from genreflow.manifest.groups import merged_groups, recording_of
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Part, Track
from genreflow.splits.methods import GROUP_DISJOINT, METHODS
from genreflow.splits.params import Method, SplitParams
from genreflow.splits.report import count_tracks, measure_leakage
from genreflow.splits.segment_parts import SegmentParts
from genreflow.splits.split import Split


def make_split(manifest: Manifest, audit: Audit, params: SplitParams) -> Split:
    """Divide the usable tracks of a manifest into train, valid and test.

    Parameters
    ----------
    manifest : Manifest
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

    Raises
    ------
    ParameterError
        A genre has no usable track, or the tracks cannot be divided in this way.
    """
    tracks = usable_tracks(manifest, audit)
    groups = merged_groups(manifest.tracks, audit.clusters)
    assigned, notes = METHODS[params.method](tracks, groups, params)
    parts = {part: tuple(sorted(assigned[part])) for part in PARTS}
    notes = [*notes, *check_genres(tracks, parts, groups)]
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
        notes=tuple(notes),
    )


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
            "artists, or name them in the column group of tracks.csv."
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
