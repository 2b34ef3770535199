"""What an audit finds, and how it is kept."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from genreflow.audit.duplicates import NearDuplicate
from genreflow.audit.published import Published
from genreflow.errors import ParameterError
from genreflow.files import write_json


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one track.

    Parameters
    ----------
    track : str
        Its id.
    code : str
        Kind of fault, as the table in `genreflow.audit.checks` has them.
    message : str
        One sentence.
    leave_out : bool
        Whether the track takes part in nothing further.
    """

    track: str
    code: str
    message: str
    leave_out: bool


@dataclass(frozen=True)
class Audit:
    """The faults of a manifest's tracks.

    Parameters
    ----------
    faults : tuple of Fault
        Sorted by track.
    counts : dict of str to int
        Faults by code; empty when there are none.
    genres : dict
        By genre, ``{"tracks", "usable"}``.
    clusters : tuple of tuple of str
        Ids of tracks that are one recording, two or more each: exact and near-duplicates, and what they lead to. A
        split must not divide them. Sorted; tracks that are left out are among them.
    pairs : tuple of NearDuplicate
        The near-duplicates, pair by pair.
    published : tuple of Published
        Published faults of the tracks that are GTZAN's.
    compared : bool
        Whether near-duplicates were looked for.
    """

    faults: tuple[Fault, ...]
    counts: dict[str, int]
    genres: dict[str, dict[str, int]]
    clusters: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[NearDuplicate, ...] = ()
    published: tuple[Published, ...] = ()
    compared: bool = False

    @property
    def left_out(self) -> frozenset[str]:
        """Ids of the tracks that take part in nothing further."""
        return frozenset(fault.track for fault in self.faults if fault.leave_out)

    @property
    def tracks(self) -> int:
        """Tracks looked at."""
        return sum(genre["tracks"] for genre in self.genres.values())

    @property
    def usable(self) -> int:
        """Tracks that are not left out."""
        return sum(genre["usable"] for genre in self.genres.values())

    @property
    def noticed(self) -> int:
        """Tracks with faults that are used nevertheless."""
        return len({fault.track for fault in self.faults} - self.left_out)

    def to_dict(self) -> dict:
        return {
            "tracks": self.tracks,
            "usable": self.usable,
            "left_out": self.tracks - self.usable,
            "noticed": self.noticed,
            "genres": self.genres,
            "counts": self.counts,
            "near_duplicates_compared": self.compared,
            "faults": [asdict(fault) for fault in self.faults],
            "clusters": self.clusters,
            "near_duplicates": [asdict(pair) for pair in self.pairs],
            "published": [asdict(fault) for fault in self.published],
        }

    def save(self, path: Path) -> None:
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> "Audit":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it is no audit.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            return cls(
                tuple(Fault(**fault) for fault in fields["faults"]),
                fields["counts"],
                fields["genres"],
                tuple(tuple(cluster) for cluster in fields["clusters"]),
                tuple(NearDuplicate(**pair) for pair in fields["near_duplicates"]),
                tuple(Published(**{**fault, "tracks": tuple(fault["tracks"])}) for fault in fields["published"]),
                fields["near_duplicates_compared"],
            )
        except FileNotFoundError:
            raise ParameterError(f"There is no audit {path}; run `dvc repro audit`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is not an audit ({error!r}); run `dvc repro audit`.") from None
