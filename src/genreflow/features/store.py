"""The feature store: base log-mel frames of all tracks, in memory-mapped shards that are written once.

    index.json              spec, the hash of each shard, and the location of each track
    shard-<id>.npy          uint8 (frames, n_mels), the frames of several tracks
    shard-<id>.json         the locations of these tracks; it is written last, and a shard without it is invalid

A shard is named after a hash of its tracks, so that the same tracks give the same files, and is never edited. New
tracks go to new shards, and removed tracks disappear from the index. An update after an interrupted one reuses its
finished shards. An update that would remove features keeps the former state of the store elsewhere, see `kept`.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.features.index import INDEX, Index, OtherVersionError
from genreflow.features.shards import DamagedShardError, array_path, open_array
from genreflow.features.spec import FEATURE_VERSION, FeatureSpec, RowSpec


class RowStore:
    """A store of rows, such as the frames of spectrograms, open for reading.

    Parameters
    ----------
    directory : Path
    index : Index

    Attributes
    ----------
    spec : RowSpec
        Of the class `spec_type`.
    """

    spec_type: ClassVar[type[RowSpec]]
    spec: RowSpec

    def __init__(self, directory: Path, index: Index) -> None:
        self.directory = directory
        self.spec = index.spec
        self._tracks, self._hashes = index.tracks, index.hashes
        self._open: dict[str, np.ndarray] = {}
        self._verified: set[str] = set()

    @classmethod
    def open(cls, directory: str | os.PathLike) -> Self:
        """Open the store in a directory.

        Parameters
        ----------
        directory : path

        Raises
        ------
        ParameterError
            `directory` holds no complete store, its index is damaged, or another version of the code wrote it.
        """
        directory, stage = Path(directory), cls.spec_type.stage
        path = directory / INDEX
        try:
            return cls(directory, Index.load(directory, cls.spec_type))
        except OtherVersionError as error:
            raise ParameterError(
                f"{path}: key must be {error.expected}, that of feature version {FEATURE_VERSION}; got {error.found}. "
                f"`dvc repro {stage}` computes the features again."
            ) from None
        except DAMAGED as error:
            raise DamagedFileError(
                path,
                f"{path}: must be the index of a complete feature store; got {describe_damage(error)}. "
                f"`dvc repro {stage}` computes the features.",
            ) from error

    def pieces(self, key: str) -> list[np.ndarray]:
        """Return the pieces of a track, as read-only views of a memory-mapped shard.

        A shard is verified when it is opened first: reading it for that takes a fraction of the time of what follows.

        Parameters
        ----------
        key : str

        Returns
        -------
        list of np.ndarray [shape=(frames, row_size), dtype=row_type]
            No segment spans two pieces.

        Raises
        ------
        KeyError
            The store has no such track.
        ParameterError
            Its shard is damaged.
        """
        name, ranges = self._tracks[key]
        array = self._array(name)
        return [array[begin:end] for begin, end in ranges]

    def each(self, keys: Iterable[str]) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield the pieces of tracks shard by shard, and unmap each shard after its last track.

        Pages of a mapped file that were read count as memory of the process: those of all tracks, if the shards stay
        mapped as with `pieces`.

        Parameters
        ----------
        keys : iterable of str

        Yields
        ------
        key : str
        pieces : list of np.ndarray
            See `pieces`, also for the exceptions.
        """
        by_shard: dict[str, list[str]] = {}
        for key in keys:
            by_shard.setdefault(self._tracks[key][0], []).append(key)
        for name, own in by_shard.items():
            stays = name in self._open
            for key in own:
                yield key, self.pieces(key)
            if not stays:
                self._open.pop(name, None)

    def verify(self) -> None:
        """Open all shards, so that a damaged one is found before any work; 0.7 s for each GiB of features.

        Raises
        ------
        ParameterError
            A shard is damaged.
        """
        for name in self._hashes:
            self._array(name)

    def _array(self, name: str) -> np.ndarray:
        if name not in self._open:
            try:
                expected = None if name in self._verified else self._hashes[name]
                self._open[name] = open_array(self.directory, name, expected)
                self._verified.add(name)
            except DamagedShardError as error:
                path = array_path(self.directory, name)
                raise DamagedFileError(
                    path,
                    f"{path}: must be as it was written; got {error}. `dvc repro {self.spec_type.stage}` computes its "
                    "tracks again.",
                ) from None
        return self._open[name]

    def lengths(self, key: str) -> list[int]:
        """Return the number of frames of each piece of a track, without opening its shard."""
        return [end - begin for begin, end in self._tracks[key][1]]

    def __len__(self) -> int:
        return len(self._tracks)

    def __contains__(self, key: str) -> bool:
        return key in self._tracks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tracks)


class FeatureStore(RowStore):
    """The base log-mel frames of all tracks: uint8 of shape (frames, n_mels) for each piece of a track."""

    spec_type = FeatureSpec
    spec: FeatureSpec
