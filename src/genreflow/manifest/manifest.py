"""The manifest: all tracks of an ingested dataset, as one human-readable JSON file."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, ParameterError, counted
from genreflow.files import json_line, read_json, write_text
from genreflow.manifest.track import Track

# Increase it when the facts of a track are measured differently: older manifests are then not reused.
MANIFEST_VERSION = 3

# Above this share of tracks without a known artist, no split can be relied on to be artist-disjoint.
MAX_UNGROUPED = 0.1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The tracks of a dataset.

    Parameters
    ----------
    source : str
        Name of the source, a key of `genreflow.datasets.sources.SOURCES`.
    genres : tuple of str
        Sorted; the class labels of every model that is trained on this manifest.
    tracks : tuple of Track
        Sorted by id.
    groups_known : bool
        False if the artists of more than a tenth of the tracks are unknown; metrics may then be optimistically biased.
    spec_hints : dict
        Fields of the feature spec that imported spectrograms determine: `n_mels`, `level_reference` and, if all have
        the same width, `frames_kept`.
    notes : tuple of str
        Messages for users: what was ignored, assumed or is unknown.
    """

    source: str
    genres: tuple[str, ...]
    tracks: tuple[Track, ...]
    groups_known: bool
    spec_hints: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def from_tracks(
        cls,
        source: str,
        tracks: Iterable[Track],
        *,
        spec_hints: Mapping[str, Any] | None = None,
        notes: Iterable[str] = (),
    ) -> "Manifest":
        """Build a manifest; `genres` and `groups_known` are derived from the tracks."""
        tracks = sorted(tracks, key=lambda track: track.id)
        if len({track.id for track in tracks}) < len(tracks):
            raise RuntimeError("tracks must have different ids")
        ungrouped = sum(track.group_source == "track" for track in tracks)
        known = ungrouped <= MAX_UNGROUPED * len(tracks)
        messages = list(notes)
        unknown = f"The artists of {ungrouped} of {counted(len(tracks), 'track')} are unknown"
        if not known:
            messages.append(
                f"{unknown}: an artist may be in train and test, and metrics may be optimistically biased. Name the "
                "artists in the column group of tracks.csv."
            )
        elif ungrouped:
            messages.append(f"{unknown}; each such track is its own group.")
        return cls(
            source=source,
            genres=tuple(sorted({track.genre for track in tracks})),
            tracks=tuple(tracks),
            groups_known=known,
            spec_hints=dict(spec_hints or {}),
            notes=tuple(messages),
        )

    @cached_property
    def by_id(self) -> dict[str, Track]:
        """Tracks by id."""
        return {track.id: track for track in self.tracks}

    @property
    def tracks_per_genre(self) -> dict[str, int]:
        """Number of tracks by genre, in alphabetical order."""
        return dict(sorted(Counter(track.genre for track in self.tracks).items()))

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits that identify the content; notes are not part of it."""
        content = [self.source, self.spec_hints, [track.to_dict() for track in self.tracks]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write as JSON, one line per track; equal manifests give equal bytes."""
        head = {
            "version": MANIFEST_VERSION,
            "source": self.source,
            "hash": self.hash,
            "groups_known": self.groups_known,
            "spec_hints": self.spec_hints,
            "notes": self.notes,
            "genres": self.tracks_per_genre,
        }
        lines = ",\n".join("    " + json_line(track.to_dict()) for track in self.tracks)
        opening = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
        write_text(path, f'{opening},\n  "tracks": [\n{lines}\n  ]\n}}\n')

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a manifest that `save` wrote.

        Raises
        ------
        ParameterError
            The file is missing, is not a manifest, or has another version.
        """
        try:
            fields = read_json(Path(path))
            version = fields["version"]
            if version != MANIFEST_VERSION:
                raise ParameterError(
                    f"{path}: version must be {MANIFEST_VERSION}; got {version}. Run `dvc repro ingest`."
                )
            names = ("source", "genres", "tracks", "groups_known", "spec_hints", "notes")
            content = {name: fields[name] for name in names} | {"genres": list(fields["genres"])}
            manifest = TypeAdapter(cls).validate_python(content)
            if manifest.hash != fields["hash"]:
                raise ValueError(f"hash {fields['hash']} for a content with hash {manifest.hash}")
            return manifest
        except FileNotFoundError:
            raise ParameterError(f"{path}: must be a manifest, but does not exist. Run `dvc repro ingest`.") from None
        except DAMAGED as error:
            raise DamagedFileError(
                path, f"{path}: must be a manifest; got {describe_damage(error)}. Run `dvc repro ingest`."
            ) from None
