"""The index of a feature store: its spec, its shards with their hashes, and the location of each track."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genreflow.features.spec import FeatureSpec, RowSpec
from genreflow.files import read_json, write_text

INDEX = "index.json"
_CHECKSUM = "checksum"

Ranges = list[list[int]]  # [first frame, end) of each piece of a track in its shard
Location = tuple[str, Ranges]  # name of the shard, and the ranges of a track in it


@dataclass(frozen=True)
class Index:
    """What a store holds.

    Parameters
    ----------
    spec : FeatureSpec or another RowSpec
    hashes : dict of str to str
        SHA-256 of each shard's file, by its name.
    tracks : dict of str to (str, list of [int, int])
        Name of the shard and ranges of frames of each track, by its key.
    """

    spec: RowSpec
    hashes: dict[str, str]
    tracks: dict[str, Location]

    @property
    def content(self) -> dict[str, Any]:
        """The index as plain data; the same tracks in the same shards give the same data."""
        return {
            "key": self.spec.key,
            "spec": self.spec.to_dict(),
            "shards": dict(sorted(self.hashes.items())),
            "tracks": dict(sorted(self.tracks.items())),
        }

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, in hex."""
        return _checksum(self.content)

    def without(self, shards: Collection[str]) -> "Index":
        """Return the index without the tracks of some shards."""
        hashes = {name: value for name, value in self.hashes.items() if name not in shards}
        return Index(self.spec, hashes, {key: at for key, at in self.tracks.items() if at[0] in hashes})

    def save(self, directory: Path) -> None:
        """Write the index of a store, atomically."""
        write_checked_json(directory / INDEX, self.content)

    @classmethod
    def load(cls, directory: Path, spec_type: Callable[..., RowSpec] = FeatureSpec) -> "Index":
        """Read the index of a store.

        Parameters
        ----------
        directory : Path
        spec_type : type
            Of its spec.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError
            The file is missing or damaged.
        OtherVersionError
            Another version of the feature code wrote it.
        """
        content = read_checked_json(directory / INDEX)
        spec = spec_type(**content["spec"])
        if spec.key != content["key"]:
            raise OtherVersionError(content["key"], spec.key)
        tracks = {key: (name, ranges) for key, (name, ranges) in content["tracks"].items()}
        return cls(spec, content["shards"], tracks)


class NoChecksumError(ValueError):
    """A file has no checksum, since an earlier version wrote it."""


class OtherVersionError(Exception):
    """An index has the key `found` where the current feature code gives `expected`."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object with a checksum of it, as JSON and atomically."""
    write_text(path, json.dumps({**content, _CHECKSUM: _checksum(content)}))


def read_checked_json(path: Path) -> dict[str, Any]:
    """Read what `write_checked_json` wrote.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not JSON, no object, or has another checksum.
    NoChecksumError
        It has none.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if not {_CHECKSUM, "shards", "sha256"} & content.keys():  # all that earlier versions did not write
        raise NoChecksumError("content without a checksum")
    if content.pop(_CHECKSUM, None) != _checksum(content):
        raise ValueError("content with another checksum")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
