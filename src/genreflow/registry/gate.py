"""The gate before the registry's champion: whether a candidate takes its place, and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.paired import probability_better


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate decided.

    Parameters
    ----------
    promote : bool
    rule : {"unchanged", "leaking", "rolled_back", "compared", "new_line"}
    reason : str
        In words, for people.
    tracks : int
        Test tracks.
    candidate_accuracy, majority_accuracy : float in [0, 1]
    champion_accuracy, probability_better : float in [0, 1] or None
        None where the two could not be compared.
    min_probability : float in [0, 1]
    times_test_split_used : int > 0
        How many candidates, with this one, this test split has judged: the more, the more its figures flatter.
    """

    promote: bool
    rule: str
    reason: str
    tracks: int
    candidate_accuracy: float
    majority_accuracy: float
    champion_accuracy: float | None = None
    probability_better: float | None = None
    min_probability: float
    times_test_split_used: int

    def to_dict(self) -> dict:
        return asdict(self)


def decide(
    candidate_correct: Mapping[str, bool],
    champion_correct: Mapping[str, bool] | None,
    *,
    majority_accuracy: float,
    same_labels: bool = True,
    test_in_champion_training: bool | None = False,
    same_bundle: bool = False,
    leaking: bool = False,
    rolled_back: bool = False,
    groups: Mapping[str, str] | None = None,
    min_probability: float = 0.8,
    times_test_split_used: int = 1,
    seed: int = 0,
) -> GateReport:
    """Whether the candidate becomes the champion.

    1. The champion itself stays, and a version that was taken back by hand does not return by itself.
    2. A candidate that was measured with a leaking split is never promoted, whatever its figures and whether or not
       there is a champion: it could not be told from a good one.
    3. Same labels, and none of the test tracks in the champion's training: both are compared track by track, and the
       candidate is promoted when the probability that it is better (`evaluation.paired`) reaches `min_probability`.
    4. Otherwise the two figures say nothing about each other; a candidate that beats the majority class, which is
       always to name the test split's commonest genre, starts a new line.

    Parameters
    ----------
    candidate_correct : mapping of str to bool
        Test track to whether the candidate named its genre.
    champion_correct : mapping of str to bool or None
        The same tracks for the champion; None where there is no champion, or it cannot answer for these tracks.
    majority_accuracy : float in [0, 1]
    same_labels : bool
    test_in_champion_training : bool or None
        None: not known, which counts as True.
    same_bundle : bool
        The candidate is the champion.
    leaking : bool
        The split that the candidate was measured with leaks.
    rolled_back : bool
        The candidate was the champion until someone went back from it.
    groups : mapping of str to str, optional
        Test track to what it belongs to (artist); draws are then of whole groups.
    min_probability : float in [0.5, 1]
    times_test_split_used : int > 0
    seed : int

    Returns
    -------
    GateReport

    Raises
    ------
    ParameterError
        There are no test tracks, or the two were judged on different ones.
    """
    if not candidate_correct:
        raise ParameterError("The gate was given no test tracks; it needs the answers to at least one.")
    tracks = sorted(candidate_correct)
    candidate = np.array([candidate_correct[track] for track in tracks], bool)
    report = partial(
        GateReport,
        tracks=len(tracks),
        candidate_accuracy=float(candidate.mean()),
        majority_accuracy=float(majority_accuracy),
        min_probability=float(min_probability),
        times_test_split_used=int(times_test_split_used),
    )
    worn = ""
    if times_test_split_used > 1:
        worn = (
            f" This test split has now judged {times_test_split_used} candidates; the best of their figures flatters."
        )
    if same_bundle:
        return report(promote=False, rule="unchanged", reason="The candidate is the champion: nothing changes." + worn)
    if leaking:
        reason = (
            f"The split leaks, so the candidate's {candidate.mean():.1%} on {len(tracks)} tracks flatters: it is "
            "registered for comparison and never promoted; a split that does not leak, such as split.method = group, "
            "makes champions."
        )
        return report(promote=False, rule="leaking", reason=reason + worn)
    if rolled_back:
        reason = "Someone went back from this candidate once; `genreflow registry promote` makes it the champion again."
        return report(promote=False, rule="rolled_back", reason=reason + worn)
    obstacle = _obstacle(champion_correct is not None, same_labels, test_in_champion_training)
    if obstacle:
        promote = bool(candidate.mean() > majority_accuracy)
        verdict = "beats it and starts a new line" if promote else "does not beat it and is not promoted"
        reason = (
            f"{obstacle}, so the candidate is measured against always naming the commonest genre "
            f"({majority_accuracy:.1%} right): with {candidate.mean():.1%} on {len(tracks)} tracks it {verdict}."
        )
        return report(promote=promote, rule="new_line", reason=reason + worn)
    champion = _same_tracks(champion_correct, tracks)
    clusters = None if groups is None else np.array([groups.get(track, track) for track in tracks])
    probability = probability_better(candidate, champion, clusters=clusters, seed=seed)
    promote = probability >= min_probability
    reason = (
        f"On {len(tracks)} tracks the candidate is right for {candidate.mean():.1%}, the champion for "
        f"{champion.mean():.1%}; the candidate is better with a probability of {probability:.3f}, "
        f"{'which reaches' if promote else 'short of'} gate.min_probability = {min_probability:g}: it is "
        f"{'promoted' if promote else 'not promoted'}."
    )
    return report(
        promote=promote,
        rule="compared",
        reason=reason + worn,
        champion_accuracy=float(champion.mean()),
        probability_better=probability,
    )


def _obstacle(champion: bool, same_labels: bool, test_in_champion_training: bool | None) -> str | None:
    """Why candidate and champion cannot be compared."""
    if not same_labels:
        return "The champion knows other genres"
    if test_in_champion_training is None:
        return "What the champion was trained on is not known"
    if test_in_champion_training:
        return "The champion was trained on some of the test tracks"
    return None if champion else "There is no champion here that can answer for these tracks"


def _same_tracks(correct: Mapping[str, bool], tracks: list[str]) -> np.ndarray:
    if sorted(correct) != tracks:
        odd = sorted(set(correct) ^ set(tracks))
        raise ParameterError(
            f"Candidate and champion were judged on different test tracks ({odd[0]}{', ...' if len(odd) > 1 else ''}); "
            "the same ones are needed."
        )
    return np.array([correct[track] for track in tracks], bool)
