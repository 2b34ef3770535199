"""Results of an audit, as written to audit.json."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from genreflow.audit.duplicates import NearDuplicate
from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.files import read_json, write_json
from genreflow.manifest.manifest import Manifest

Seen = Literal["found", "in part", "not found", ""]


@dataclass(frozen=True)
class Fault:
    """A fault of a track.

    Parameters
    ----------
    track : str
        Id of the track.
    code : str
        A key of `genreflow.audit.kinds.KINDS`.
    message : str
        One sentence.
    leave_out : bool
        Whether the track is left out of all parts of a split.
    """

    track: str
    code: str
    message: str
    leave_out: bool


@dataclass(frozen=True)
class LargestTrack:
    """The longest usable track of a genre.

    Parameters
    ----------
    track : str
        Id of the track.
    tracks : int > 0
        Number of usable tracks of the genre.
    seconds, genre_seconds : float > 0 [s]
        Its duration, and that of all usable tracks of the genre.
    """

    track: str
    tracks: int
    seconds: float
    genre_seconds: float

    @property
    def share(self) -> float:
        """Its share of the genre's audio, in (0, 1]."""
        return self.seconds / self.genre_seconds


@dataclass(frozen=True)
class PublishedFaultCheck:
    """A published fault, and whether the audit finds it.

    Parameters
    ----------
    kind : str
        See `genreflow.datasets.gtzan.facts.PublishedFault`.
    tracks : tuple of str
        Ids of the tracks with this fault that are in the manifest.
    absent : int >= 0
        Number of tracks with this fault that are not.
    note, source : str
        As there.
    seen : {"found", "in part", "not found", ""}
        Whether the audit finds it too: all, some or none of the tracks that repeat each other; "" if fewer than two of
        them are in the manifest.
    """

    kind: str
    tracks: tuple[str, ...]
    absent: int
    note: str
    source: str
    seen: Seen


@dataclass(frozen=True)
class Audit:
    """The faults of a manifest's tracks.

    Parameters
    ----------
    faults : tuple of Fault
        Sorted by track.
    counts : dict of str to int
        Number of faults by code, without zeros.
    genres : dict
        ``{genre: {"tracks", "usable"}}``.
    clusters : tuple of tuple of str
        Ids of the tracks that are the same recording, two or more each: exact and near-duplicates, transitively.
        Sorted; tracks that are left out are included. A split must keep each cluster together.
    pairs : tuple of NearDuplicate
    published : tuple of PublishedFaultCheck
        Published faults of those tracks that belong to GTZAN.
    compared : bool
        Whether near-duplicates were searched for.
    largest_tracks : dict of str to LargestTrack
        By genre; without the genres whose durations are unknown.
    notes : tuple of str
        Those of the manifest: what was ignored, assumed or is unknown.
    """

    faults: tuple[Fault, ...]
    counts: dict[str, int]
    genres: dict[str, dict[str, int]]
    clusters: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[NearDuplicate, ...] = ()
    published: tuple[PublishedFaultCheck, ...] = ()
    compared: bool = False
    largest_tracks: dict[str, LargestTrack] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> frozenset[str]:
        """Ids of the tracks that are in no part of a split."""
        return frozenset(fault.track for fault in self.faults if fault.leave_out)

    @property
    def tracks(self) -> int:
        """Number of audited tracks."""
        return sum(genre["tracks"] for genre in self.genres.values())

    @property
    def usable(self) -> int:
        """Number of tracks that are not left out."""
        return sum(genre["usable"] for genre in self.genres.values())

    @property
    def flagged(self) -> int:
        """Number of tracks that have faults and are usable."""
        return len({fault.track for fault in self.faults} - self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data, as `save` and ``genreflow audit --json`` write it."""
        return {
            "tracks": self.tracks,
            "usable": self.usable,
            "left_out": self.tracks - self.usable,
            "flagged": self.flagged,
            "genres": self.genres,
            "counts": self.counts,
            "near_duplicates_compared": self.compared,
            "largest_tracks": {
                genre: asdict(track) | {"share": round(track.share, 4)} for genre, track in self.largest_tracks.items()
            },
            "faults": [asdict(fault) for fault in self.faults],
            "clusters": self.clusters,
            "near_duplicates": [asdict(pair) for pair in self.pairs],
            "published": [asdict(fault) for fault in self.published],
            "notes": self.notes,
        }

    def _check_tracks(self, manifest: Manifest) -> None:
        named = {fault.track for fault in self.faults} | {largest.track for largest in self.largest_tracks.values()}
        unknown = named.union(*self.clusters) - manifest.by_id.keys()
        counts = {genre: counts["tracks"] for genre, counts in self.genres.items()}
        if unknown or counts != manifest.tracks_per_genre:
            raise ValueError(f"the audit of another manifest{f', with {min(unknown)}' if unknown else ''}")

    @property
    def hash(self) -> str:
        """Sixteen hex digits that identify the content."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"hash": self.hash} | self.to_dict())

    @classmethod
    def load(cls, path: Path, manifest: Manifest | None = None) -> "Audit":
        """Read an audit that `save` wrote.

        Parameters
        ----------
        path : Path
        manifest : Manifest, optional
            The one that it must be of.

        Raises
        ------
        ParameterError
            The file is missing, is not an audit, or is one of other tracks.
        """
        try:
            fields = read_json(Path(path))
            names = {"pairs": "near_duplicates", "compared": "near_duplicates_compared"}
            content = {field.name: fields[names.get(field.name, field.name)] for field in dataclass_fields(cls)}
            audit = TypeAdapter(cls).validate_python(content)
            if audit.hash != fields["hash"]:
                raise ValueError(f"hash {fields['hash']} for a content with hash {audit.hash}")
            if manifest is not None:
                audit._check_tracks(manifest)
            return audit
        except FileNotFoundError:
            raise ParameterError(f"{path}: must be an audit, but does not exist. Run `dvc repro audit`.") from None
        except DAMAGED as error:
            raise DamagedFileError(
                path, f"{path}: must be an audit; got {describe_damage(error)}. Run `dvc repro audit`."
            ) from None
