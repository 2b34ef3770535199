"""What is known of one track."""

from dataclasses import asdict, dataclass
from typing import Literal

GroupSource = Literal["tracks.csv", "published", "folder", "tag", "track"]
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Track:
    """One piece of music, and the facts that audit, split and features need of it.

    Parameters
    ----------
    id : str
        Unique: the path below the source folder without its suffix, with ``/``; of imported spectrograms in an
        ``.npz``, the name they carry there.
    genre : str
    path : str
        File below the folder of raw data, with ``/``.
    group : str
        What a split never divides: the artist's name as `artist_key` writes it, or ``track:<id>`` where no artist is
        known.
    group_source : {"tracks.csv", "published", "folder", "tag", "track"}
        Where `group` was found: "published" is the literature on the dataset, "track" nowhere.
    split : {"train", "valid", "test"} or None
        Part of the published split it belongs to.
    duration : float >= 0 [s] or None
        Length as decoded; None for spectrograms, whose frames say nothing of seconds.
    declared_duration : float >= 0 [s] or None
        Length that the file's header claims.
    undeclared_duration : float > 0 [s] or None
        Sound behind the end that the header claims, which is not used.
    hash : str or None
        Of the decoded samples, or of the spectrogram's cells: equal for exact duplicates.
    sample_rate : int > 0 [Hz] or None
    declared_sample_rate : int > 0 [Hz] or None
        A second rate that the file's header implies, where that contradicts `sample_rate`.
    channels : int > 0 or None
    peak, rms : float >= 0 or None
        Largest absolute sample and root mean square; 1 is full scale.
    clipped : float in [0, 1] or None
        Share of the samples that are flat at full scale.
    entries : tuple of (int, int) or None
        Of spectrograms only: first and past-the-last row of each piece in the array at `path`.
    error : dict or None
        ``{"code", "message"}`` of a track that cannot be read.
    """

    id: str
    genre: str
    path: str
    group: str
    group_source: GroupSource
    split: Part | None = None
    duration: float | None = None
    declared_duration: float | None = None
    undeclared_duration: float | None = None
    hash: str | None = None
    sample_rate: int | None = None
    declared_sample_rate: int | None = None
    channels: int | None = None
    peak: float | None = None
    rms: float | None = None
    clipped: float | None = None
    entries: tuple[tuple[int, int], ...] | None = None
    error: dict[str, str] | None = None

    def to_dict(self) -> dict:
        """Return the fields that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: dict) -> "Track":
        entries = fields.get("entries")
        if entries is not None:
            fields = {**fields, "entries": tuple((start, stop) for start, stop in entries)}
        return cls(**fields)


def ungrouped(track_id: str) -> str:
    """Return the group of a track whose artist nobody knows: itself alone."""
    return f"track:{track_id}"
