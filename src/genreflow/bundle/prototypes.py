"""What a bundle holds to recognise music that is unlike its training music."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genreflow.bundle_files import PROTOTYPES_FILE
from genreflow.errors import ParameterError
from genreflow.evaluation.familiarity import unfamiliarity


@dataclass(frozen=True)
class Familiarity:
    """Prototypes of the training music, and the distance from them above which a track is refused.

    Parameters
    ----------
    prototypes : np.ndarray [shape=(n > 0, size), dtype=float16]
        From `genreflow.evaluation.familiarity.fit_prototypes`, for the output ``embeddings`` of the model.
    refuse_above : float in [0, 2]
        A track with a larger unfamiliarity is refused.
    tracks : int > 0
        Number of tracks of known genres, by other artists than those of the prototypes, whose unfamiliarity was
        computed to set `refuse_above`.
    share : float in [0, 1]
        Share of these tracks that are refused.

    Raises
    ------
    ParameterError
        A value is out of range, or the prototypes are not finite or of another type.
    """

    prototypes: np.ndarray = field(repr=False)
    refuse_above: float
    tracks: int
    share: float

    def __post_init__(self) -> None:
        prototypes = self.prototypes
        if prototypes.ndim != 2 or not prototypes.size or prototypes.dtype != np.float16:
            found = f"{prototypes.dtype} {prototypes.shape}"
            raise ParameterError(f"{PROTOTYPES_FILE}: must be float16 of shape (n > 0, size > 0); got {found}.")
        if not np.isfinite(prototypes).all():
            raise ParameterError(f"{PROTOTYPES_FILE}: must be finite; got NaN or infinity.")
        for name, (value, highest) in {
            "refuse_above": (self.refuse_above, 2.0),
            "tracks": (self.tracks, math.inf),
            "share": (self.share, 1.0),
        }.items():
            if not 0 <= value <= highest:
                raise ParameterError(f"familiarity.{name} must be between 0 and {highest:g}; got {value}.")

    def unfamiliarity(self, embeddings: np.ndarray) -> np.ndarray:
        """Compute the unfamiliarity of tracks.

        Parameters
        ----------
        embeddings : np.ndarray [shape=(n_tracks, size)]
            Means over the segments.

        Returns
        -------
        np.ndarray [shape=(n_tracks,), dtype=float64, range=[0, 2]]
            See `genreflow.evaluation.familiarity.unfamiliarity`.
        """
        return unfamiliarity(embeddings, self._as_float32)

    @cached_property
    def _as_float32(self) -> np.ndarray:
        """To convert them for each track would take milliseconds where an embedding has thousands of values."""
        return self.prototypes.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the prototypes; equal ones give the same bytes."""
        np.save(path, self.prototypes, allow_pickle=False)

    @classmethod
    def load(cls, path: Path, fields: dict[str, Any]) -> "Familiarity":
        """Read what `save` wrote, with the other fields."""
        return cls(prototypes=np.load(path, allow_pickle=False), **fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields but the prototypes, ready for JSON."""
        return {"refuse_above": self.refuse_above, "tracks": self.tracks, "share": self.share}
