"""Reuse of former ingests: unchanged files are not decoded again, and those of the previous one are not copied."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genreflow.constraints import DAMAGED
from genreflow.datasets.importing import file_signature
from genreflow.errors import ParameterError
from genreflow.features.index import read_checked_json, write_checked_json
from genreflow.manifest.manifest import MANIFEST_VERSION, Manifest
from genreflow.manifest.track import Track

# Fields of a track that decoding measures.
_MEASURED = (
    "duration", "declared_duration", "undeclared_duration", "hash", "sample_rate", "declared_sample_rate", "channels",
    "peak", "rms", "clipped", "cancelled_db", "damaged", "constant_offset",
)  # fmt: skip
# Files whose facts are kept, the newest first, or those of the current ingest if they are more: some 15 MB of JSON.
_MAX_FILES = 50_000
# Clocks of file systems advance in steps: about 4 ms on Linux, up to 2 s where times are stored without nanoseconds.
_CLOCK_STEP, _COARSE_CLOCK_STEP = 20_000_000, 2_000_000_000  # [ns]

Signature = tuple[int, int]  # size [bytes] and modification time [ns]


@dataclass(frozen=True, kw_only=True)
class IngestCache:
    """Results of former ingests, and the signatures of the files of the current one.

    Parameters
    ----------
    raw_dir : Path or None
        Raw data of the previous ingest.
    facts : mapping of str to dict
        Measured fields by path relative to `raw_dir`.
    known : mapping of str to list
        Size, modification time and measured fields of the original files of this and other collections, by absolute
        path.
    current : dict of str to (str, (int, int))
        Absolute path and signature of the original files, by path; filled by `lookup`.
    """

    raw_dir: Path | None = None
    facts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    known: Mapping[str, list[Any]] = field(default_factory=dict)
    current: dict[str, tuple[str, Signature]] = field(default_factory=dict)

    @classmethod
    def load(cls, raw_dir: Path, manifest_path: Path) -> "IngestCache":
        """Read what former ingests left; empty if there were none, or those of another version."""
        try:
            tracks = Manifest.load(manifest_path).tracks
        except ParameterError:
            tracks = ()
        # Tracks with an error are decoded again: a decoder may have been installed since.
        facts = {track.path: _measured(track) for track in tracks if track.error is None}
        return cls(raw_dir=raw_dir, facts=facts, known=_read_known(manifest_path))

    def lookup(self, path: str, original: Path) -> tuple[Path | None, dict[str, Any]] | None:
        """Return the imported copy, if there is one, and the measured fields of an unchanged file, else None.

        The audio hash of a copy is compared, since DVC may have checked out the raw data of another ingest.
        """
        absolute = os.path.abspath(original)
        signature = _settled_signature(original)
        self.current[path] = absolute, signature
        if absolute not in self.known:
            return None
        *former, facts = self.known[absolute]
        if former != [*signature]:
            return None
        imported = self.raw_dir is not None and self.facts.get(path, {}).get("hash") == facts["hash"]
        return (self.raw_dir / path if self.raw_dir and imported else None), facts

    def is_unchanged(self, path: str) -> bool:
        """Return whether a file is still the one that `lookup` found, as after it was copied."""
        absolute, signature = self.current[path]
        return file_signature(Path(absolute)) == signature

    def save(self, manifest: Manifest, manifest_path: Path) -> None:
        """Write the facts of the files that became tracks of `manifest`, and of those before, for the next ingest."""
        new = {}
        for track in manifest.tracks:
            if track.error is None and track.hash and track.path in self.current:
                absolute, signature = self.current[track.path]
                new[absolute] = [*signature, _measured(track)]
        if new:
            files = new | {path: entry for path, entry in self.known.items() if path not in new}
            newest = dict(list(files.items())[: max(_MAX_FILES, len(new))])
            write_checked_json(signatures_path(manifest_path), {"version": MANIFEST_VERSION, "files": newest})

    def component(self, name: str) -> "IngestCache":
        """Return the part of the cache below the folder `name`."""
        prefix = f"{name}/"
        return IngestCache(
            raw_dir=self.raw_dir and self.raw_dir / name,
            facts={path.removeprefix(prefix): value for path, value in self.facts.items() if path.startswith(prefix)},
            known=self.known,
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


def _settled_signature(original: Path) -> Signature:
    """Return the signature of a file, after a wait if its modification time is not yet over.

    A second change within one step of the clock leaves the modification time as it is, so that a file of the same size
    would pass for unchanged: what git calls racily clean.
    """
    size, modified = file_signature(original)
    step = _CLOCK_STEP if modified % 1_000_000_000 else _COARSE_CLOCK_STEP
    age = time.time_ns() - modified
    if 0 <= age < step:
        time.sleep((step - age) / 1e9)
        return file_signature(original)
    return size, modified


def _measured(track: Track) -> dict[str, Any]:
    return {name: value for name in _MEASURED if (value := getattr(track, name)) is not None}


def _read_known(manifest_path: Path) -> dict[str, list[Any]]:
    """Return the facts of known files; none if their file is missing, damaged, or of another version."""
    try:
        content = read_checked_json(signatures_path(manifest_path))
        return dict(content["files"]) if content["version"] == MANIFEST_VERSION else {}
    except DAMAGED:
        return {}
