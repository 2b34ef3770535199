"""Features of other collections and specs: former states of a store, from which an update takes what it can.

Each is a folder with an index and shards, a store like the one that it comes from, named after its index. Its shards
are hard links where that is possible, so that states share what they have in common. (DVC gives a stage copies of its
outs, so that they share nothing with DVC's cache.) The exact former state is kept, not only the features: whoever
returns to a collection gets the same files as before, and DVC the same hash.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genreflow.constraints import DAMAGED
from genreflow.features.index import Index, OtherVersionError
from genreflow.features.shards import link_shard
from genreflow.files import atomic_directory, remove_leftovers


@dataclass(frozen=True)
class KeptStates:
    """The former states of a store.

    Parameters
    ----------
    folder : Path
        Of the states: on the file system of the store, and not in the store, whose content depends on its tracks alone.
    max_bytes : float >= 0
        Size that the folder may have; 0 keeps nothing.
    """

    folder: Path
    max_bytes: float

    def read(self) -> list[tuple[Path, Index]]:
        """Return directory and index of each state, the newest first; remove those that are of no use.

        A state is of no use if its index is damaged, or another version of the feature code wrote it.
        """
        remove_leftovers(self.folder)
        found = []
        for directory in self._newest_first():
            try:
                found.append((directory, Index.load(directory)))
            except (*DAMAGED, OtherVersionError):
                shutil.rmtree(directory)
        return found

    def keep(self, directory: Path, index: Index) -> None:
        """Keep a state of the store in `directory`, as the newest one; shards that are missing there are left out."""
        if not self.max_bytes:
            return
        with atomic_directory(self._path(index)) as temporary:
            lost = set()
            for name in index.hashes:
                try:
                    link_shard(directory, name, temporary)
                except FileNotFoundError:
                    lost.add(name)
            index.without(lost).save(temporary)

    def prune(self, directory: Path, index: Index) -> None:
        """Remove the present state of the store in `directory`, and the oldest states until the others fit.

        A file counts once, and not at all if the store has it, too.
        """
        present = self._path(index)
        if present.exists():
            shutil.rmtree(present)
        counted = {_inode(path) for path in directory.iterdir()}
        total = 0
        for state in self._newest_first():
            sizes = {_inode(path): path.stat().st_size for path in state.iterdir()}
            total += sum(size for inode, size in sizes.items() if inode not in counted)
            counted |= sizes.keys()
            if total > self.max_bytes:
                shutil.rmtree(state)

    def count(self, current: Index) -> int:
        """Return the number of kept features that the store with the index `current` does not have."""
        features = {(index.spec.key, key) for _, index in self.read() for key in index.tracks}
        return len(features - {(current.spec.key, key) for key in current.tracks})

    def _path(self, index: Index) -> Path:
        return self.folder / index.checksum[:16]

    def _newest_first(self) -> Iterator[Path]:
        directories = [path for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []
        yield from sorted(directories, key=lambda path: (-path.stat().st_mtime_ns, path.name))


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
