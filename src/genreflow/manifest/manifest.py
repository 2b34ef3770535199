"""The manifest: every track of the source that was ingested, as one JSON file that people can read."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from genreflow.errors import ParameterError
from genreflow.files import write_text
from genreflow.manifest.track import Track

# Raise it when facts of a track are measured in another way: older manifests are then not reused.
MANIFEST_VERSION = 2

# Above this share of tracks without an artist, no split can be trusted to keep artists apart.
MAX_UNGROUPED = 0.1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The tracks of a source.

    Parameters
    ----------
    source : str
        Name of the source, a key of ``SOURCES``.
    genres : tuple of str
        Sorted; the labels of everything that is trained on this manifest.
    tracks : tuple of Track
        Sorted by id.
    groups_known : bool
        False when more than a tenth of the tracks have no known artist: figures may then flatter.
    spec_hints : dict
        What imported spectrograms say about their feature spec: `n_mels`, `level_reference` and, where all have the
        same width, `frames_kept`.
    notes : tuple of str
        Sentences for people: what was ignored, assumed or is unknown.
    """

    source: str
    genres: tuple[str, ...]
    tracks: tuple[Track, ...]
    groups_known: bool
    spec_hints: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, source: str, tracks: list[Track], *, spec_hints: dict | None = None, notes: list[str] = ()
    ) -> "Manifest":
        """Build the manifest of `tracks`; what can be derived from them is derived."""
        alone = sum(track.group_source == "track" for track in tracks)
        known = alone <= MAX_UNGROUPED * len(tracks)
        notes = list(notes)
        if not known:
            notes.append(
                f"The artists of {alone} of {len(tracks)} tracks are unknown, so that one artist may stand on both "
                "sides of a split and figures may flatter; name them in the column group of tracks.csv."
            )
        elif alone:
            notes.append(f"The artists of {alone} of {len(tracks)} tracks are unknown; each of these is a group alone.")
        return cls(
            source=source,
            genres=tuple(sorted({track.genre for track in tracks})),
            tracks=tuple(sorted(tracks, key=lambda track: track.id)),
            groups_known=known,
            spec_hints=spec_hints or {},
            notes=tuple(notes),
        )

    @cached_property
    def by_id(self) -> dict[str, Track]:
        return {track.id: track for track in self.tracks}

    @property
    def tracks_per_genre(self) -> dict[str, int]:
        return dict(sorted(Counter(track.genre for track in self.tracks).items()))

    @property
    def hash(self) -> str:
        """Sixteen hex digits that name the content; notes are not part of it."""
        content = [self.source, self.spec_hints, [track.to_dict() for track in self.tracks]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write as JSON, one line a track; the same manifest gives the same bytes."""
        head = {
            "version": MANIFEST_VERSION,
            "source": self.source,
            "hash": self.hash,
            "groups_known": self.groups_known,
            "spec_hints": self.spec_hints,
            "notes": self.notes,
            "genres": self.tracks_per_genre,
        }
        lines = ",\n".join("    " + json.dumps(track.to_dict(), ensure_ascii=False) for track in self.tracks)
        opening = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
        write_text(path, f'{opening},\n  "tracks": [\n{lines}\n  ]\n}}\n')

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it is no manifest of this version.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            version = fields["version"]
            if version != MANIFEST_VERSION:
                raise ParameterError(
                    f"{path} is a manifest of version {version}, not {MANIFEST_VERSION}; run `dvc repro ingest`."
                )
            return cls(
                source=fields["source"],
                genres=tuple(fields["genres"]),
                tracks=tuple(Track.from_dict(track) for track in fields["tracks"]),
                groups_known=fields["groups_known"],
                spec_hints=fields["spec_hints"],
                notes=tuple(fields["notes"]),
            )
        except FileNotFoundError:
            raise ParameterError(f"There is no manifest {path}; run `dvc repro ingest`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is not a manifest ({error!r}); run `dvc repro ingest`.") from None
