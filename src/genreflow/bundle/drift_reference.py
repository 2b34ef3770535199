"""What a bundle holds to compare the tracks that it is asked about with tracks that its model is known to handle."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genreflow.bundle_files import REFERENCE_FILE, describe
from genreflow.errors import ParameterError
from genreflow.files import DAMAGED_NPZ


@dataclass(frozen=True)
class DriftReference:
    """Measurements of tracks of known genres that the model was not fitted to.

    Parameters
    ----------
    names : tuple of str
        Of the columns of `values`.
    values : np.ndarray [shape=(n_tracks, len(names)), dtype=float32]
        NaN where a value is unknown.
    probabilities : np.ndarray [shape=(n_tracks, n_classes), dtype=float32], in [0, 1]
        In the order of the bundle's labels.
    embeddings : np.ndarray [shape=(n_tracks, size), dtype=float16]
        Means over the segments; size 0 if the bundle has none.
    groups : np.ndarray [shape=(n_tracks,), dtype=int32]
        Number of the artist of each track; all different if the artists are not known.
    part : str
        Of the split, where the tracks are from.

    Raises
    ------
    ParameterError
        The shapes do not match, or a value but NaN in `values` is not finite.
    """

    names: tuple[str, ...]
    values: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    embeddings: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)
    part: str

    def __post_init__(self) -> None:
        arrays = {"values": self.values, "probabilities": self.probabilities, "embeddings": self.embeddings}
        n = len(self.groups)
        if any(array.ndim != 2 or len(array) != n for array in arrays.values()) or self.groups.ndim != 1 or not n:
            found = {name: array.shape for name, array in arrays.items()} | {"groups": self.groups.shape}
            raise ParameterError(f"{REFERENCE_FILE}: arrays must have a row for each track; got {found}.")
        if self.values.shape[1] != len(self.names):
            raise ParameterError(
                f"{REFERENCE_FILE}: values must have {len(self.names)} columns; got {self.values.shape[1]}."
            )
        if not all(np.isfinite(array).all() for array in (self.probabilities, self.embeddings)):
            raise ParameterError(f"{REFERENCE_FILE}: probabilities and embeddings must be finite; got NaN or infinity.")

    def save(self, path: Path) -> None:
        """Write the reference; equal ones give the same bytes."""
        np.savez_compressed(
            path,
            names=np.array(self.names),
            values=self.values,
            probabilities=self.probabilities,
            embeddings=self.embeddings,
            groups=self.groups,
            part=np.array(self.part),
        )

    @classmethod
    def load(cls, path: Path) -> "DriftReference":
        """Read what `save` wrote.

        Raises
        ------
        ParameterError
            The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(
                    names=tuple(arrays["names"].tolist()),
                    values=arrays["values"],
                    probabilities=arrays["probabilities"],
                    embeddings=arrays["embeddings"],
                    groups=arrays["groups"],
                    part=str(arrays["part"]),
                )
        except (*DAMAGED_NPZ, ParameterError) as error:
            raise ParameterError(f"{path}: must be a drift reference; got {describe(error)}") from error
