"""A track and its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

GroupSource = Literal["tracks.csv", "published", "folder", "tag", "track"]
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Track:
    """A track, with the metadata that audit, split and feature extraction need.

    Parameters
    ----------
    id : str
        Unique: the path relative to the source folder without suffix, with ``/``; for spectrograms imported from an
        ``.npz``, the name given there.
    genre : str
    path : str
        File relative to the folder of raw data, with ``/``.
    group : str
        Tracks of a group are never split: the artist's name as normalised by `artist_key`, or ``track:<id>`` if the
        artist is unknown.
    group_source : {"tracks.csv", "published", "folder", "tag", "track"}
        Where `group` comes from; "published" is the literature on the dataset, "track" means unknown.
    split : {"train", "valid", "test"} or None
        Part of the published split that the track belongs to.
    train_only : True or None
        It may be in no other part than train, such as a correction by a listener; see
        `genreflow.splits.make.make_split`.
    duration : float >= 0 [s] or None
        Decoded duration; None for spectrograms, whose frames have no known duration.
    declared_duration : float >= 0 [s] or None
        Duration according to the file's header.
    undeclared_duration : float > 0 [s] or None
        Duration of the audio beyond the end declared by the header; it is not used.
    hash : str or None
        Hash of the decoded samples, or of the spectrogram's values; equal for exact duplicates.
    sample_rate : int > 0 [Hz] or None
    declared_sample_rate : int > 0 [Hz] or None
        Second sample rate implied by the header, where it contradicts `sample_rate`.
    channels : int > 0 or None
    peak, rms : float >= 0 or None
        Largest absolute sample and root mean square; full scale is 1.
    clipped : float in [0, 1] or None
        Share of samples that are flat at full scale.
    cancelled_db : float > 0 or None [dB]
        How far the mean of the channels is below that of unrelated channels, if they cancel each other so that the
        loudest one is used; see `genreflow.audio.levels`.
    damaged : float in (0, 1] or None
        Share of the file that could not be decoded, and is not used.
    constant_offset : float or None
        Level of a file that is a constant offset, without sound.
    entries : tuple of (int, int) or None
        For spectrograms: start and stop row of each piece in the array at `path`.
    error : dict or None
        ``{"code", "message"}`` of a track that cannot be read.
    """

    id: str
    genre: str
    path: str
    group: str
    group_source: GroupSource
    split: Part | None = None
    train_only: Literal[True] | None = None
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
    cancelled_db: float | None = None
    damaged: float | None = None
    constant_offset: float | None = None
    entries: tuple[tuple[int, int], ...] | None = None
    error: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not None."""
        # Not dataclasses.asdict, whose deep copies took most of the time of reading and writing a manifest.
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Track":
        """Build a track from what `to_dict` returned, also after a round trip through JSON."""
        values = dict(fields)
        if values.get("entries") is not None:
            values["entries"] = tuple((start, stop) for start, stop in values["entries"])
        return cls(**values)


_FIELDS = tuple(field.name for field in fields(Track))


def singleton_group(track_id: str) -> str:
    """Return the group of a track whose artist is unknown: a group of its own."""
    return f"track:{track_id}"
