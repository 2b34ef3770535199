"""Splits: which tracks train, which validate, which test - no artist and no recording on two sides."""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from genreflow.datasets.audit import Audit
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.split_methods import METHODS, Fractions, Parts
from genreflow.datasets.track import PARTS, Part, Track
from genreflow.errors import ParameterError
from genreflow.files import write_json


@dataclass(frozen=True, kw_only=True)
class Split:
    """The parts of a manifest.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    train, valid, test : tuple of str
        Ids of tracks, sorted. Tracks that the audit leaves out are in none.
    evaluation_part : {"test", "valid"}
        Where a model is measured: ``valid`` only when the split has no test part, and then a note says so.
    leaking : bool
        True when a group or a recording stands on two sides: figures flatter, and must be marked wherever they appear.
    groups_known : bool
        As in the manifest.
    report : dict
        By part, ``{genre: {"tracks", "groups"}}``.
    notes : tuple of str
        Sentences for people.
    """

    method: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    evaluation_part: Part
    leaking: bool
    groups_known: bool
    report: dict
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[Part, tuple[str, ...]]:
        return {part: getattr(self, part) for part in PARTS}

    @property
    def evaluation_tracks(self) -> tuple[str, ...]:
        """Ids of the tracks on which a model is measured."""
        return self.parts[self.evaluation_part]

    @property
    def hash(self) -> str:
        """Sixteen hex digits that name who is in which part."""
        return hashlib.sha256(json.dumps([self.train, self.valid, self.test]).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        fields = asdict(self)
        lists = {part: fields.pop(part) for part in PARTS}
        write_json(path, {"hash": self.hash, **fields, **lists})

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it is no split.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            del fields["hash"]
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
        except FileNotFoundError:
            raise ParameterError(f"There is no split {path}; run `dvc repro split`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is not a split ({error!r}); run `dvc repro split`.") from None


def make_split(
    manifest: Manifest,
    audit: Audit,
    *,
    method: str = "group",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Split:
    """Divide the usable tracks of a manifest.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
        Of this manifest.
    method : {"group", "published"}
        ``group``: stratified by genre, no group on two sides. ``published``: as tracks.csv says; when it names no valid
        part, one is taken from train by group.
    fractions : sequence of three floats in [0, 1]
        Shares of train, valid and test, which sum to 1; train and valid are not 0.
    seed : int >= 0

    Raises
    ------
    ParameterError
        A parameter is wrong, a genre has no usable track, or the published split cannot be used.
    """
    if method not in METHODS:
        raise ParameterError(f"split.method is {method!r}; one of {', '.join(METHODS)} is right.")
    fractions = _checked(fractions)
    out = audit.left_out
    tracks = [track for track in manifest.tracks if track.id not in out]
    for genre, total in manifest.tracks_per_genre.items():
        if not any(track.genre == genre for track in tracks):
            raise ParameterError(
                f"Genre {genre} has no usable track: the audit leaves out all {total}; mend them, or leave the genre "
                "out of data.genres."
            )
    parts, notes = METHODS[method](tracks, fractions, seed)
    by_part = {part: tuple(sorted(track_id for track_id in parts if parts[track_id] == part)) for part in PARTS}
    notes = [*notes, *_missing(tracks, parts, by_part)]
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
    found = leaks(manifest, by_part)
    if found["groups"] or found["duplicates"]:
        notes.append(
            f"The split leaks: {len(found['groups'])} groups ({', '.join(found['groups'][:3])}) and "
            f"{len(found['duplicates'])} recordings stand on two sides, so figures flatter."
        )
    if not manifest.groups_known:
        notes.append("Artists are unknown, so that one may stand on both sides and figures may flatter.")
    return Split(
        method=method,
        **by_part,
        evaluation_part=evaluation_part,
        leaking=bool(found["groups"] or found["duplicates"]),
        groups_known=manifest.groups_known,
        report=_report(tracks, parts),
        notes=tuple(notes),
    )


def leaks(manifest: Manifest, parts: dict[Part, Sequence[str]]) -> dict[str, list[str]]:
    """Return the groups, and the hashes of recordings, that stand in more than one part.

    Parameters
    ----------
    manifest : Manifest
    parts : dict of str to sequence of str
        Ids of tracks by part, as `Split.parts`.

    Returns
    -------
    leaks : dict
        ``{"groups", "duplicates"}``, sorted; both empty for a split that does not leak.
    """
    tracks = manifest.by_id
    groups, recordings = defaultdict(set), defaultdict(set)
    for part, ids in parts.items():
        for track_id in ids:
            track = tracks[track_id]
            groups[track.group].add(part)
            if track.hash:
                recordings[track.hash].add(part)
    return {
        name: sorted(key for key, of_key in sides.items() if len(of_key) > 1)
        for name, sides in (("groups", groups), ("duplicates", recordings))
    }


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


def _report(tracks: list[Track], parts: Parts) -> dict:
    report = {}
    for part in PARTS:
        inside = [track for track in tracks if parts.get(track.id) == part]
        report[part] = {
            genre: {
                "tracks": sum(track.genre == genre for track in inside),
                "groups": len({track.group for track in inside if track.genre == genre}),
            }
            for genre in sorted({track.genre for track in tracks})
        }
    return report


def _missing(tracks: list[Track], parts: Parts, by_part: dict[Part, tuple[str, ...]]) -> list[str]:
    """Name the genres that a part lacks."""
    notes = []
    for genre in sorted({track.genre for track in tracks}):
        of_genre = [track for track in tracks if track.genre == genre]
        groups = len({track.group for track in of_genre})
        there = {parts.get(track.id) for track in of_genre}
        absent = [part for part in PARTS if by_part[part] and part not in there]
        whole = f"of {len(of_genre)} by {groups} {'group' if groups == 1 else 'groups'} (artists) in all"
        if "train" in absent:
            raise ParameterError(f"Genre {genre} has no track in train, {whole}; a genre cannot be learnt without.")
        if absent:
            notes.append(f"Genre {genre} has no track in {' and '.join(absent)}, {whole}.")
    return notes
