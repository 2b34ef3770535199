"""The record of divided groups: which part each had, so that it stays there while a collection grows."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError
from genreflow.files import read_json, write_json
from genreflow.manifest.track import PARTS, Track
from genreflow.splits.params import SplitParams

VERSION = 1


@dataclass(frozen=True)
class Held:
    """What a record knows about the groups of a collection.

    Parameters
    ----------
    index : dict of str to int
        Part by group: an index of `PARTS`, or a fold of k-fold. New groups are not in it.
    moved : dict of str to tuple of int
        Groups that were merged out of several parts, with these parts; `index` has the first of them.
    """

    index: dict[str, int] = field(default_factory=dict)
    moved: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass
class SplitRecord:
    """The parts of all groups that a project has ever divided, by the settings of the split.

    Artists and tracks are recorded by SHA-256, so that what is removed from the music leaves no name behind, and has
    its part again if it returns. Tracks are known by the hash of their audio as well as by their artist: renaming
    either changes nothing.

    Parameters
    ----------
    splits : dict of str to dict of str to int
        Part by digest, for each of the settings that `settings_of` names.
    """

    splits: dict[str, dict[str, int]] = field(default_factory=dict)

    def knows(self, params: SplitParams) -> bool:
        """Return whether groups were divided with these settings."""
        return settings_of(params) in self.splits

    def held(self, params: SplitParams, tracks: Iterable[Track], groups: Mapping[str, str]) -> Held:
        """Return the recorded parts of groups.

        If recordings connect groups of several parts, the merged group gets the first of these parts in the order
        train, valid, test. So a track that models may have been trained or selected on never becomes a test track.

        Parameters
        ----------
        params : SplitParams
        tracks : iterable of Track
        groups : mapping of str to str
            Group by track id, see `genreflow.manifest.groups.merged_groups`.
        """
        known = self.splits.get(settings_of(params), {})
        found: dict[str, set[int]] = {}
        for track in tracks:
            for digest in _digests(track):
                if digest in known:
                    found.setdefault(groups[track.id], set()).add(known[digest])
        index = {group: min(parts) for group, parts in sorted(found.items())}
        return Held(index, {group: tuple(sorted(found[group])) for group in index if len(found[group]) > 1})

    def add(
        self, params: SplitParams, tracks: Iterable[Track], groups: Mapping[str, str], index: Mapping[str, int]
    ) -> None:
        """Record the parts of groups; tracks of groups that are not in `index` are ignored."""
        known = self.splits.setdefault(settings_of(params), {})
        for track in tracks:
            if groups[track.id] in index:
                known.update(dict.fromkeys(_digests(track), index[groups[track.id]]))

    def save(self, path: Path) -> None:
        """Write as JSON, with a line for each digest, so that git can merge two records."""
        splits = {
            settings: {
                name: sorted(digest for digest, index in known.items() if index == number)
                for number, name in enumerate(_part_names(settings, known.values()))
            }
            for settings, known in sorted(self.splits.items())
        }
        write_json(path, {"version": VERSION, "splits": splits})

    @classmethod
    def load(cls, path: Path) -> "SplitRecord":
        """Read a record that `save` wrote; without the file, an empty one.

        Raises
        ------
        DamagedFileError
            The file is not a record.
        """
        try:
            content: dict[str, Any] = read_json(path)
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']}, not {VERSION}")
            splits = TypeAdapter(dict[str, dict[str, list[str]]]).validate_python(content["splits"])
            return cls(
                {
                    settings: {digest: number for number, part in enumerate(parts.values()) for digest in part}
                    for settings, parts in splits.items()
                }
            )
        except FileNotFoundError:
            return cls()
        except DAMAGED as error:
            raise DamagedFileError(
                path,
                f"{path}: must be the record of divided groups; got {describe_damage(error)}. `git checkout {path}` "
                "restores it; without it, `dvc repro split` divides all groups anew.",
            ) from None


def settings_of(params: SplitParams) -> str:
    """Return what assigns groups besides the music, such as ``group valid=0.2 test=0.2 seed=1``."""
    names = ("folds", "seed") if params.method == "kfold" else ("valid", "test", "seed")
    return " ".join([params.method, *(f"{name}={getattr(params, name)}" for name in names)])


def _digests(track: Track) -> Sequence[str]:
    """Return the digests of a track's artist, if known, and of its audio."""
    names = [] if track.group_source == "track" else [f"group {track.group}"]
    names += [f"audio {track.hash}"] if track.hash else []
    return [hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16] for name in names]


def _part_names(settings: str, indices: Collection[int]) -> Sequence[str]:
    return [str(fold) for fold in range(max(indices, default=0) + 1)] if settings.startswith("kfold") else PARTS
