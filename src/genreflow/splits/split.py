"""A train/valid/test split, as written to split.json."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from genreflow.constraints import DAMAGED, describe_damage
from genreflow.errors import DamagedFileError, ParameterError
from genreflow.files import read_json, write_json
from genreflow.manifest.track import PARTS, Part
from genreflow.splits.segment_parts import SegmentParts


@dataclass(frozen=True, kw_only=True)
class Split:
    """The train, valid and test parts of a manifest.

    Parameters
    ----------
    method : str
        A key of `genreflow.splits.methods.METHODS`.
    train, valid, test : tuple of str
        Track ids, sorted. Tracks that the audit leaves out are in no part.
    evaluation_part : {"test", "valid"}
        Part on which models are evaluated: ``valid`` only if there is no test part.
    leaking : bool
        True if a group or a recording is in two parts. Metrics are then optimistically biased and must be marked
        wherever they appear; see `prefixed` and `tags`.
    groups_known : bool
        See `Manifest`.
    groups : dict of str to str
        Group by track id, for all tracks of the three parts: the artist, merged with artists that share a recording.
        Code that needs groups after the split uses these.
    report : dict
        ``{part: {genre: {"tracks", "groups"}}}``, see `genreflow.splits.report.count_tracks`.
    leaks : dict
        See `genreflow.splits.report.measure_leakage`.
    segments : SegmentParts or None
        Only for method ``segment``, where every track is in every part: assigns its segments to the parts.
    folds, fold : int or None
        Only for method ``kfold``: number of folds, and index of the test fold.
    train_only : tuple of str
        Ids of the tracks in train that may be in no other part, sorted; see `Track`.
    train_only_left_out : dict of str to tuple of str
        By id of each such track that is in no part, the groups of valid or test tracks that have its artist or a copy
        of its recording.
    notes : tuple of str
        Messages for users.
    """

    method: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    evaluation_part: Part
    leaking: bool
    groups_known: bool
    groups: dict[str, str]
    report: dict[str, Any]
    leaks: dict[str, Any]
    segments: SegmentParts | None = None
    folds: int | None = None
    fold: int | None = None
    train_only: tuple[str, ...] = ()
    train_only_left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[Part, tuple[str, ...]]:
        """Track ids by part."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def evaluation_tracks(self) -> tuple[str, ...]:
        """Ids of the tracks on which models are evaluated."""
        return self.parts[self.evaluation_part]

    def segment_mask(self, part: Part) -> Callable[[str, int], np.ndarray] | None:
        """Return the function that selects the segments of a part.

        Returns
        -------
        callable or None
            Maps a track's hash and its number of segments to a boolean mask [shape=(n,)]; None if the part has all
            segments of its tracks, as for every method but ``segment``.
        """
        return None if self.segments is None else partial(self.segments.mask, part)

    def prefixed(self, name: str, *, sep: str = "_") -> str:
        """Return the name of a metric, run or part, with the prefix ``leaking`` if the split leaks."""
        return f"leaking{sep}{name}" if self.leaking else name

    @property
    def tags(self) -> dict[str, str]:
        """Tags of runs and columns of tables: ``{"leaking": "true"}`` if the split leaks, else empty."""
        return {"leaking": "true"} if self.leaking else {}

    @property
    def hash(self) -> str:
        """Sixteen hex digits that identify the assignment of tracks (and segments) to parts."""
        content: list[Any] = [self.train, self.valid, self.test]
        if self.segments is not None:
            content.append(asdict(self.segments))
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        fields = asdict(self)
        for part in PARTS:  # the long lists come last
            fields[part] = fields.pop(part)
        write_json(path, {"hash": self.hash} | fields)

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split that `save` wrote.

        Raises
        ------
        ParameterError
            The file is missing or is not a split.
        """
        try:
            fields: dict[str, Any] = read_json(Path(path))
            recorded = fields.pop("hash")
            split = TypeAdapter(cls).validate_python(fields)
            if split.hash != recorded:
                raise ValueError(f"hash {recorded} for a content with hash {split.hash}")
            return split
        except FileNotFoundError:
            raise ParameterError(f"{path}: must be a split, but does not exist. Run `dvc repro split`.") from None
        except DAMAGED as error:
            raise DamagedFileError(
                path, f"{path}: must be a split; got {describe_damage(error)}. Run `dvc repro split`."
            ) from None
