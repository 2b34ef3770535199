"""What an update of a feature store can use again: the store's own shards, and those of its former states."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genreflow.features import shards
from genreflow.features.index import Index, Location, Ranges
from genreflow.features.shards import DamagedShardError, Shard
from genreflow.features.spec import RowSpec


class Layout:
    """The tracks of the new state of a store, and the shards that they are in.

    Parameters
    ----------
    directory : Path
        Directory of the store.
    spec : RowSpec
    """

    def __init__(self, directory: Path, spec: RowSpec) -> None:
        self.directory, self.spec = directory, spec
        self._hashes: dict[str, str] = {}
        self.tracks: dict[str, Location] = {}

    def add(self, shard: Shard, tracks: Mapping[str, Ranges]) -> None:
        """Use some tracks of a shard; one of a former state is linked to the store."""
        if shard.directory.absolute() != self.directory.absolute():
            shards.link_shard(shard.directory, shard.name, self.directory)
        self._hashes[shard.name] = shard.sha256
        self.tracks |= {key: (shard.name, ranges) for key, ranges in tracks.items()}

    @property
    def index(self) -> Index:
        """The index of the new state."""
        return Index(self.spec, self._hashes, self.tracks)


class UsableShards:
    """The shards of a store and of its former states, each verified when it is asked for.

    Parameters
    ----------
    directory : Path
        Directory of the store.
    spec : RowSpec
        Shards of other specs are not usable.
    states : sequence of Path
        Directories of the former states.

    Attributes
    ----------
    damaged : set of str
        Names of the store's own shards that are known to be damaged.
    """

    def __init__(self, directory: Path, spec: RowSpec, states: Sequence[Path]) -> None:
        self._directory = directory
        found, damaged = shards.read_shards(directory, spec)
        self.damaged = set(damaged)
        self._copies: dict[str, list[Shard]] = {}
        for shard in (*found, *(shard for state in states for shard in shards.read_shards(state, spec)[0])):
            self._copies.setdefault(shard.name, []).append(shard)
        self._verified: dict[str, Shard | None] = {}

    def __iter__(self) -> Iterator[Shard]:
        """One copy of each shard, which is not verified."""
        return (copies[0] for copies in self._copies.values())

    def get(self, name: str) -> Shard | None:
        """Return an undamaged copy of a shard, the store's own if possible; None if there is none."""
        if name not in self._verified:
            self._verified[name] = next(filter(self._is_intact, self._copies.get(name, ())), None)
        return self._verified[name]

    def _is_intact(self, shard: Shard) -> bool:
        try:
            shard.open()
        except DamagedShardError:
            if shard.directory == self._directory:
                self.damaged.add(shard.name)
            return False
        return True


def reuse(current: Layout, usable: UsableShards, wanted: Mapping[str, Any], former: Sequence[Index]) -> list[list[str]]:
    """Add the wanted tracks that are in a shard; rewrite shards of which less than half is used.

    Parameters
    ----------
    current : Layout
        Empty; it is filled.
    usable : UsableShards
    wanted : mapping
        By the keys of the tracks.
    former : sequence of Index
        Former states of the store, of the same spec. The largest of those that have wanted tracks only is restored as
        it was, so that a collection that returns has the same files.

    Returns
    -------
    list of list of str
        The tracks of each shard of that state that is missing or damaged, in their order in the shard: computed
        together, they give the same shard again.
    """
    restorable = [index for index in former if index.tracks.keys() <= wanted.keys()]
    state = max(restorable, key=lambda index: len(index.tracks), default=None)
    lost = []
    for name, own in _by_shard(state).items():
        if shard := usable.get(name):
            current.add(shard, own)
        else:
            lost.append(sorted(own, key=lambda key: own[key]))
    remaining = wanted.keys() - set(current.tracks).union(*lost)
    # Shards with the fewest unused tracks first: after an interruption, a track may be in a shard and in its rewrite.
    for shard in sorted(usable, key=lambda shard: (len(shard.tracks.keys() - wanted.keys()), shard.name)):
        new = {key: ranges for key, ranges in shard.tracks.items() if key in remaining}
        intact = usable.get(shard.name) if new else None
        if intact is None:
            continue
        frames = sum(end - begin for ranges in new.values() for begin, end in ranges)
        if 2 * frames >= shard.frames:
            current.add(intact, new)
        else:
            array = intact.open()
            views = ((key, [array[begin:end] for begin, end in ranges]) for key, ranges in new.items())
            for written in shards.write_shards(current.directory, current.spec, views):
                current.add(written, written.tracks)
        remaining -= new.keys()
    return lost


def _by_shard(index: Index | None) -> dict[str, dict[str, Ranges]]:
    """Return the tracks of a store by the name of their shard."""
    tracks: dict[str, dict[str, Ranges]] = {}
    for key, (name, ranges) in index.tracks.items() if index else ():
        tracks.setdefault(name, {})[key] = ranges
    return tracks
