"""From a manifest and its audit to a split."""

import math
from collections.abc import Sequence

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError
from genreflow.manifest.groups import merged_groups, recordings
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS, Part, Track
from genreflow.splits.methods import HONEST, METHODS, Fractions, Options, Parts
from genreflow.splits.report import counts, leaks
from genreflow.splits.segment_parts import SegmentParts
from genreflow.splits.split import Split


def make_split(
    manifest: Manifest,
    audit: Audit,
    *,
    method: str = "group",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    folds: int = 5,
    fold: int = 0,
) -> Split:
    """Divide the usable tracks of a manifest.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
        Of this manifest. Groups that share a recording, by its clusters, are one.
    method : {"group", "published", "kfold", "segment", "track"}
        ``group``: stratified by genre, no group on two sides. ``published``: as tracks.csv says; when it names no valid
        part, one is taken from train by group. ``kfold``: the same folds for every `fold`, each a share of every genre
        and no group in two; one tests, the next one validates, the rest trains. ``segment``: the segments of every
        track are dealt to all parts, which leaks and is for comparison only. ``track``: stratified by genre, whoever
        plays; leaks wherever an artist has several tracks, and is for comparison only.
    fractions : sequence of three floats in [0, 1]
        Shares of train, valid and test, which sum to 1; train and valid are not 0. Not of ``kfold``.
    seed : int >= 0
    folds : int >= 3
    fold : int in [0, folds)
        Of ``kfold``, the one that tests.

    Raises
    ------
    ParameterError
        A parameter is wrong, a genre has no usable track, or the tracks cannot be divided in this way.
    """
    if method not in METHODS:
        raise ParameterError(f"split.method is {method!r}; one of {', '.join(METHODS)} is right.")
    if folds < 3 or not 0 <= fold < folds:
        raise ParameterError(f"split.fold is {fold} of split.folds = {folds}; at least 3, numbered from 0, are right.")
    fractions = _checked(fractions)
    out = audit.left_out
    tracks = [track for track in manifest.tracks if track.id not in out]
    for genre, total in manifest.tracks_per_genre.items():
        if not any(track.genre == genre for track in tracks):
            raise ParameterError(
                f"Genre {genre} has no usable track: the audit leaves out all {total}; mend them, or leave the genre "
                "out of data.genres."
            )
    groups = merged_groups(manifest.tracks, audit.clusters)
    options = Options(groups=groups, fractions=fractions, seed=seed, folds=folds, fold=fold)
    parts, notes = METHODS[method](tracks, options)
    by_part = {part: tuple(sorted(parts[part])) for part in PARTS}
    groups = {track_id: groups[track_id] for track_id in sorted(set().union(*by_part.values()))}
    notes = [*notes, *_missing(tracks, parts, options.groups)]
    if not by_part["valid"]:
        raise ParameterError(
            "The split has no track to validate on: no genre has groups (artists) for two parts; bring more artists a "
            "genre, or name them in the column group of tracks.csv."
        )
    evaluation_part: Part = "test" if by_part["test"] else "valid"
    if evaluation_part == "valid":
        notes.append(
            "There is no test part: models are measured on valid, by which they were also chosen, so figures flatter."
        )
    found = leaks(by_part, groups, recordings(manifest.tracks, audit.clusters))
    leaking = any(pair["groups"] or pair["duplicates"] for pair in found.values())
    if leaking and method in HONEST:
        raise RuntimeError(f"A split by {method} divided a group: {found}")  # what this method promises is broken
    if leaking:
        notes.append(_said(found))
    if not manifest.groups_known:
        notes.append("Artists are unknown, so that one may stand on both sides and figures may flatter.")
    return Split(
        method=method,
        **by_part,
        evaluation_part=evaluation_part,
        leaking=leaking,
        groups_known=manifest.groups_known,
        groups=groups,
        report=counts({part: [manifest.by_id[i] for i in ids] for part, ids in by_part.items()}, groups),
        leaks=found,
        segments=SegmentParts(fractions=fractions, seed=seed) if method == "segment" else None,
        folds=folds if method == "kfold" else None,
        fold=fold if method == "kfold" else None,
        notes=tuple(notes),
    )


def _checked(fractions: Sequence[float]) -> Fractions:
    fractions = tuple(float(fraction) for fraction in fractions)
    if (
        len(fractions) != 3
        or not all(0 <= fraction <= 1 for fraction in fractions)
        or 0 in fractions[:2]
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        raise ParameterError(
            f"split.fractions is {list(fractions)}; the shares of train, valid and test are right, which sum to 1 and "
            "of which only test may be 0."
        )
    return fractions


def _said(found: dict[str, dict]) -> str:
    """The worst of the leaks in words."""
    pair, worst = max(found.items(), key=lambda item: (item[1]["groups"], item[1]["duplicates"]))
    named = ", ".join(worst["examples"]["groups"][:3])
    return (
        f"The split leaks, so every figure flatters and is marked as leaking: {pair}, {worst['groups']} groups"
        f"{f' ({named})' if named else ''} and {worst['duplicates']} copies of recordings."
    )


def _missing(tracks: list[Track], parts: Parts, groups: dict[str, str]) -> list[str]:
    """Name the genres that a part lacks."""
    notes = []
    members = {part: set(ids) for part, ids in parts.items()}
    for genre in sorted({track.genre for track in tracks}):
        of_genre = {track.id for track in tracks if track.genre == genre}
        n_groups = len({groups[track_id] for track_id in of_genre})
        absent = [part for part in PARTS if members[part] and not members[part] & of_genre]
        whole = f"of {len(of_genre)} by {n_groups} {'group' if n_groups == 1 else 'groups'} (artists) in all"
        if "train" in absent:
            raise ParameterError(f"Genre {genre} has no track in train, {whole}; a genre cannot be learnt without.")
        if absent:
            notes.append(f"Genre {genre} has no track in {' and '.join(absent)}, {whole}.")
    return notes
