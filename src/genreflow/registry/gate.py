"""The gate: whether a candidate model becomes the registry's champion, and why."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.paired import probability_better


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the gate decides on.

    Parameters
    ----------
    candidate_correct : mapping of str to bool
        ID of each test track to whether the candidate classified it correctly.
    champion_correct : mapping of str to bool or None
        The same for the champion; None if there is no champion or it cannot classify these tracks.
    majority_accuracy : float in [0, 1]
        Accuracy of the majority-class baseline on the test tracks.
    min_probability : float in [0.5, 1]
        Probability of being better than the champion from which the candidate is promoted.
    same_bundle : bool
        The candidate is the champion.
    leaking : bool
        The candidate was evaluated on a split that leaks.
    rolled_back : bool
        The candidate was champion once, until it was rolled back.
    same_labels : bool
        Candidate and champion have the same genres.
    test_in_champion_training : bool or None
        Whether the champion was trained on some of the test tracks; None if unknown, which counts as True.
    groups : mapping of str to str, optional
        ID of each test track to its group (artist); the bootstrap then resamples groups.
    times_test_split_used : int > 0
        Number of candidates evaluated on this test split, including this one.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ParameterError
        There are no test tracks, or candidate and champion were evaluated on different ones.
    """

    candidate_correct: Mapping[str, bool]
    champion_correct: Mapping[str, bool] | None
    majority_accuracy: float
    min_probability: float
    same_bundle: bool = False
    leaking: bool = False
    rolled_back: bool = False
    same_labels: bool = True
    test_in_champion_training: bool | None = False
    groups: Mapping[str, str] | None = None
    times_test_split_used: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.candidate_correct:
            raise ParameterError("gate: the candidate must have predictions for at least one test track; got none.")
        if self.champion_correct is not None:
            different = sorted(self.champion_correct.keys() ^ self.candidate_correct.keys())
            if different:
                raise ParameterError(
                    "gate: candidate and champion must have predictions for the same test tracks; "
                    f"{len(different)} differ, such as {different[0]}."
                )

    @property
    def tracks(self) -> list[str]:
        """IDs of the test tracks, sorted."""
        return sorted(self.candidate_correct)

    @cached_property
    def candidate(self) -> np.ndarray:
        """Whether the candidate is correct [shape=(n,), dtype=bool], in the order of `tracks`."""
        return np.array([self.candidate_correct[track] for track in self.tracks], bool)

    @cached_property
    def champion(self) -> np.ndarray | None:
        """Whether the champion is correct [shape=(n,), dtype=bool], in the order of `tracks`."""
        if self.champion_correct is None:
            return None
        return np.array([self.champion_correct[track] for track in self.tracks], bool)

    @property
    def candidate_accuracy(self) -> float:
        return float(self.candidate.mean())


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a rule decides.

    Parameters
    ----------
    promote : bool
    rule : {"unchanged", "leaking", "rolled_back", "baseline", "compared"}
    reason : str
        One or more sentences.
    champion_accuracy, probability_better : float in [0, 1] or None
        None unless candidate and champion were compared.
    """

    promote: bool
    rule: str
    reason: str
    champion_accuracy: float | None = None
    probability_better: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateReport(Decision):
    """A decision with the figures behind it.

    Parameters
    ----------
    tracks : int > 0
        Number of test tracks.
    candidate_accuracy, majority_accuracy, min_probability : float in [0, 1]
        As in `Evidence`.
    times_test_split_used : int > 0
        As in `Evidence`; the more, the more optimistic the best of their metrics.
    """

    tracks: int
    candidate_accuracy: float
    majority_accuracy: float
    min_probability: float
    times_test_split_used: int

    def to_dict(self) -> dict:
        return asdict(self)


def decide(evidence: Evidence) -> GateReport:
    """Apply `RULES` in order; the first that decides, decides.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    GateReport
    """
    decision = next(decision for rule in RULES if (decision := rule(evidence)) is not None)
    reason = decision.reason
    if evidence.times_test_split_used > 1:
        reason += (
            f" {evidence.times_test_split_used} candidates have been evaluated on this test split; the metrics of the "
            "best one are optimistically biased."
        )
    return GateReport(
        **asdict(decision) | {"reason": reason},
        tracks=len(evidence.tracks),
        candidate_accuracy=evidence.candidate_accuracy,
        majority_accuracy=float(evidence.majority_accuracy),
        min_probability=float(evidence.min_probability),
        times_test_split_used=int(evidence.times_test_split_used),
    )


def unchanged(evidence: Evidence) -> Decision | None:
    """The champion remains champion."""
    if not evidence.same_bundle:
        return None
    return Decision(promote=False, rule="unchanged", reason="The candidate is the champion; nothing changes.")


def leaking_split(evidence: Evidence) -> Decision | None:
    """A candidate evaluated on a leaking split is never promoted, even without a champion: its accuracy is inflated."""
    if not evidence.leaking:
        return None
    reason = (
        f"The split leaks, so the candidate's accuracy of {evidence.candidate_accuracy:.1%} on "
        f"{len(evidence.tracks)} tracks is optimistically biased. The candidate is registered for comparison and not "
        "promoted; a split without leakage, such as split.method = group, can produce a champion."
    )
    return Decision(promote=False, rule="leaking", reason=reason)


def rolled_back(evidence: Evidence) -> Decision | None:
    """A version that was rolled back is promoted only by hand."""
    if not evidence.rolled_back:
        return None
    reason = "This version was rolled back; `genreflow registry promote` makes it the champion again."
    return Decision(promote=False, rule="rolled_back", reason=reason)


def majority_baseline(evidence: Evidence) -> Decision | None:
    """A candidate that cannot be compared with a champion is promoted if it beats the majority-class baseline."""
    obstacle = _obstacle(evidence)
    if obstacle is None:
        return None
    promote = evidence.candidate_accuracy > evidence.majority_accuracy
    reason = (
        f"{obstacle}, so the candidate is compared with the majority-class baseline, whose accuracy is "
        f"{evidence.majority_accuracy:.1%}. With {evidence.candidate_accuracy:.1%} on {len(evidence.tracks)} tracks, "
        f"it {'is better and is promoted' if promote else 'is not better and is not promoted'}."
    )
    return Decision(promote=promote, rule="baseline", reason=reason)


def paired_comparison(evidence: Evidence) -> Decision | None:
    """A candidate is promoted if the probability that it is better than the champion reaches `min_probability`.

    The probability is that of a paired bootstrap over the test tracks; see `genreflow.evaluation.paired`.
    """
    if evidence.champion is None:
        return None
    groups = evidence.groups
    clusters = None if groups is None else np.array([groups.get(track, track) for track in evidence.tracks])
    probability = probability_better(evidence.candidate, evidence.champion, clusters=clusters, seed=evidence.seed)
    promote = probability >= evidence.min_probability
    champion_accuracy = float(evidence.champion.mean())
    reason = (
        f"On {len(evidence.tracks)} tracks the candidate's accuracy is {evidence.candidate_accuracy:.1%}, the "
        f"champion's {champion_accuracy:.1%}. The probability that the candidate is better, {probability:.3f}, "
        f"{'reaches' if promote else 'is below'} gate.min_probability = {evidence.min_probability:g}: the candidate is "
        f"{'promoted' if promote else 'not promoted'}."
    )
    return Decision(
        promote=promote,
        rule="compared",
        reason=reason,
        champion_accuracy=champion_accuracy,
        probability_better=probability,
    )


RULES: tuple[Callable[[Evidence], Decision | None], ...] = (
    unchanged,
    leaking_split,
    rolled_back,
    majority_baseline,
    paired_comparison,
)


def _obstacle(evidence: Evidence) -> str | None:
    """Return why candidate and champion cannot be compared; None if they can."""
    if not evidence.same_labels:
        return "The champion has other genres"
    if evidence.test_in_champion_training is None:
        return "The training tracks of the champion are unknown"
    if evidence.test_in_champion_training:
        return "The champion was trained on some of the test tracks"
    return "No champion can classify these tracks" if evidence.champion is None else None
