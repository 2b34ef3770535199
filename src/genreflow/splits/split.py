"""Splits: which tracks train, which validate, which test - no artist and no recording on two sides."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from genreflow.errors import ParameterError
from genreflow.files import write_json
from genreflow.manifest.track import PARTS, Part
from genreflow.splits.segment_parts import SegmentParts


@dataclass(frozen=True, kw_only=True)
class Split:
    """The parts of a manifest.

    Parameters
    ----------
    method : str
        A key of `genreflow.splits.methods.METHODS`.
    train, valid, test : tuple of str
        Ids of tracks, sorted. Tracks that the audit leaves out are in none.
    evaluation_part : {"test", "valid"}
        Where a model is measured: ``valid`` only when the split has no test part, and then a note says so.
    leaking : bool
        True when a group or a recording stands on two sides: figures flatter, and must be marked wherever they appear.
    groups_known : bool
        As in the manifest.
    groups : dict of str to str
        By the id of every track in a part, what the split must not divide: its artist, merged with those that share
        a recording. Whoever needs groups after the split takes these.
    report : dict
        By part, ``{genre: {"tracks", "groups"}}``.
    leaks : dict
        How much of one part stands in another, as `split_report.leaks` gives it.
    segments : SegmentParts or None
        Of ``segment``, by which every track is in every part: which of its segments are in which.
    folds, fold : int or None
        Of ``kfold``.
    notes : tuple of str
        Sentences for people.
    """

    method: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    evaluation_part: Part
    leaking: bool
    groups_known: bool
    groups: dict[str, str]
    report: dict
    leaks: dict
    segments: SegmentParts | None = None
    folds: int | None = None
    fold: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[Part, tuple[str, ...]]:
        return {part: getattr(self, part) for part in PARTS}

    @property
    def evaluation_tracks(self) -> tuple[str, ...]:
        """Ids of the tracks on which a model is measured."""
        return self.parts[self.evaluation_part]

    def chosen(self, part: Part) -> Callable[[str, int], np.ndarray] | None:
        """Which segments of a track belong to a part.

        Returns
        -------
        callable or None
            From a track's hash and its number of segments to a mask of them; None where a part has all segments of
            its tracks, which is so of every method but ``segment``.
        """
        return None if self.segments is None else partial(self.segments.mask, part)

    def marked(self, name: str, *, joint: str = "_") -> str:
        """`name`, of a figure or whatever else is measured with this split: one that leaks stands in front of it."""
        return f"leaking{joint}{name}" if self.leaking else name

    @property
    def mark(self) -> dict[str, str]:
        """What tags of runs and rows of tables get: ``{"leaking": "true"}``, or nothing."""
        return {"leaking": "true"} if self.leaking else {}

    @property
    def hash(self) -> str:
        """Sixteen hex digits that name who is in which part."""
        content = [self.train, self.valid, self.test]
        if self.segments is not None:
            content.append(asdict(self.segments))
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        fields = asdict(self)
        lists = {part: fields.pop(part) for part in PARTS}
        write_json(path, {"hash": self.hash, **fields, **lists})

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            If there is no such file, or it is no split.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            del fields["hash"]
            if fields["segments"] is not None:
                fractions = tuple(fields["segments"].pop("fractions"))
                fields["segments"] = SegmentParts(fractions=fractions, **fields["segments"])
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
        except FileNotFoundError:
            raise ParameterError(f"There is no split {path}; run `dvc repro split`.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is not a split ({error!r}); run `dvc repro split`.") from None
