"""What the gate decides on: a candidate, the champion of its registered model, and both on common held-out tracks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from genreflow.errors import ParameterError
from genreflow.registry.comparison import Comparison
from genreflow.registry.params import GateParams

Obstacle = Literal["other_labels", "other_data", "unknown_training", "not_found", "other_features", "no_common_tracks"]
# Why candidate and champion cannot be compared.
OBSTACLES: Mapping[Obstacle, str] = {
    "other_labels": "The champion knows other genres",
    "other_data": "The champion was trained on other music: most of its tracks are not among those of the candidate",
    "unknown_training": "The tracks that the champion was trained on are unknown",
    "not_found": "The champion is neither in this registry nor in models/champion",
    "other_features": "The champion needs features that cannot be computed, as there is no audio",
    "no_common_tracks": "The champion was trained or validated on all test tracks, or on their artists",
}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the gate decides on.

    Parameters
    ----------
    candidate_correct : mapping of str to bool
        ID of each test track to whether the candidate classified it correctly.
    majority_accuracy : float in [0, 1]
        Accuracy of the majority-class baseline on the test tracks.
    registered_model : str
        Name of the candidate's registered model.
    champion : str or None
        Version of that model's champion; None if it has none yet.
    comparison : Comparison or None
        Of the champion (first) with the candidate (second), on the test tracks that the champion was neither trained
        nor validated on; None without a champion or if there is an obstacle.
    obstacle : str or None
        Key of `OBSTACLES`.
    params : GateParams
    same_bundle : bool
        The candidate is the champion.
    leaking : bool
        The candidate was evaluated on a split that leaks.
    rolled_back : bool
        The candidate was champion once, until it was rolled back.
    times_test_split_used : int > 0
        Number of candidates evaluated on this test split, including this one.

    Raises
    ------
    ParameterError
        There are no test tracks.
    """

    candidate_correct: Mapping[str, bool]
    majority_accuracy: float
    registered_model: str
    champion: str | None
    comparison: Comparison | None = None
    obstacle: Obstacle | None = None
    params: GateParams = field(default_factory=GateParams)
    same_bundle: bool = False
    leaking: bool = False
    rolled_back: bool = False
    times_test_split_used: int = 1

    def __post_init__(self) -> None:
        if not self.candidate_correct:
            raise ParameterError("gate: the candidate must have predictions for at least one test track; got none.")

    @property
    def tracks(self) -> int:
        """Number of test tracks."""
        return len(self.candidate_correct)

    @property
    def candidate_accuracy(self) -> float:
        return sum(self.candidate_correct.values()) / self.tracks
