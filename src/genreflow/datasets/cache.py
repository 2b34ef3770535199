"""Reuse of a previous ingest: unchanged files are neither copied nor decoded again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genreflow.datasets.importing import file_signature
from genreflow.errors import ParameterError
from genreflow.files import read_json, write_json
from genreflow.manifest.manifest import Manifest

# Fields of a track that decoding measures.
_MEASURED = (
    "duration", "declared_duration", "undeclared_duration", "hash", "sample_rate", "declared_sample_rate", "channels",
    "peak", "rms", "clipped", "cancelled_db", "damaged", "constant_offset",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class IngestCache:
    """Results of the previous ingest, and the signatures of the files of the current one.

    Parameters
    ----------
    raw_dir : Path or None
        Raw data of the previous ingest.
    facts : mapping of str to dict
        Measured fields by path relative to `raw_dir`.
    signatures : mapping of str to list
        Size, modification time and audio hash of the original files at the previous ingest, by path.
    current : dict of str to (int, int)
        Size and modification time of the original files, filled by `lookup`.
    """

    raw_dir: Path | None = None
    facts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    signatures: Mapping[str, list[Any]] = field(default_factory=dict)
    current: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def load(cls, raw_dir: Path, manifest_path: Path) -> "IngestCache":
        """Read what the previous ingest left; empty if there is none, or it has another version."""
        try:
            tracks = Manifest.load(manifest_path).tracks
        except ParameterError:
            return cls()
        # Tracks with an error are decoded again: the reason may be gone, such as a file that could not be read.
        facts = {
            track.path: {name: getattr(track, name) for name in _MEASURED} for track in tracks if track.error is None
        }
        try:
            signatures = read_json(signatures_path(manifest_path))
        except (OSError, ValueError):
            signatures = {}
        if not isinstance(signatures, dict):
            signatures = {}
        return cls(raw_dir=raw_dir, facts=facts, signatures=signatures)

    def lookup(self, path: str, original: Path) -> tuple[Path, dict[str, Any]] | None:
        """Return the imported copy and the measured fields of an unchanged file, else None.

        The audio hash is compared too, since DVC may have checked out the raw data of another ingest.
        """
        self.current[path] = file_signature(original)
        facts = self.facts.get(path)
        if self.raw_dir is None or facts is None or self.signatures.get(path) != [*self.current[path], facts["hash"]]:
            return None
        return self.raw_dir / path, facts

    def save(self, manifest: Manifest, manifest_path: Path) -> None:
        """Write the signatures of the files that became tracks of `manifest`, for the next ingest."""
        hashes = {track.path: track.hash for track in manifest.tracks if track.hash}
        signatures = {path: [*facts, hashes[path]] for path, facts in self.current.items() if path in hashes}
        if signatures:
            write_json(signatures_path(manifest_path), signatures)

    def component(self, name: str) -> "IngestCache":
        """Return the part of the cache below the folder `name`."""
        prefix = f"{name}/"
        return IngestCache(
            raw_dir=self.raw_dir and self.raw_dir / name,
            facts={path.removeprefix(prefix): value for path, value in self.facts.items() if path.startswith(prefix)},
            signatures={
                path.removeprefix(prefix): value for path, value in self.signatures.items() if path.startswith(prefix)
            },
        )

    def add_component(self, name: str, component: "IngestCache") -> None:
        """Add the current signatures of what `component` returned."""
        self.current.update({f"{name}/{path}": signature for path, signature in component.current.items()})


def signatures_path(manifest_path: Path) -> Path:
    """Return where the signatures of the original files are kept.

    They are neither in the modification times of the copies, which DVC does not preserve, nor in the manifest, which is
    the same on every machine.
    """
    return Path(manifest_path).with_name(".ingested.json")
