"""The gate: whether a candidate model becomes the champion of its registered model, and why."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from genreflow.registry.comparison import ComparedGenre, Comparison
from genreflow.registry.evidence import OBSTACLES, Evidence

# Rules whose refusal a promotion by hand must give a reason against.
REFUSALS = ("leaking", "baseline", "incomparable", "too_few_tracks", "genre_loss", "compared")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a rule decides.

    Parameters
    ----------
    promote : bool
    rule : str
        ``unchanged``, ``rolled_back`` or one of `REFUSALS`, which are also the rules of promotions.
    reason : str
        One or more sentences.
    """

    promote: bool
    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class GateReport(Decision):
    """A decision with the figures behind it.

    Parameters
    ----------
    registered_model : str
    champion : str or None
        Version that the candidate was to replace; None if there was none.
    tracks : int > 0
        Number of test tracks.
    candidate_accuracy, majority_accuracy : float in [0, 1]
        On these.
    comparison : dict or None
        `Comparison.summary` of the champion (first) and the candidate (second) on common held-out tracks, if they could
        be compared.
    champion_accuracy, probability_better : float in [0, 1] or None
        Of the comparison, for short.
    min_probability, min_tracks, max_genre_loss : float, int, float
        See `genreflow.registry.params.GateParams`.
    times_test_split_used : int > 0
        As in `Evidence`; the more, the more optimistic the best of their metrics.
    """

    registered_model: str
    champion: str | None
    tracks: int
    candidate_accuracy: float
    majority_accuracy: float
    comparison: dict[str, Any] | None
    champion_accuracy: float | None
    probability_better: float | None
    min_probability: float
    min_tracks: int
    max_genre_loss: float
    times_test_split_used: int

    @property
    def refused(self) -> bool:
        """The candidate was judged, and did not become the champion."""
        return not self.promote and self.rule in REFUSALS

    def to_dict(self) -> dict[str, Any]:
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
    compared = evidence.comparison
    return GateReport(
        **asdict(decision) | {"reason": reason},
        registered_model=evidence.registered_model,
        champion=evidence.champion,
        tracks=evidence.tracks,
        candidate_accuracy=evidence.candidate_accuracy,
        majority_accuracy=float(evidence.majority_accuracy),
        comparison=compared.summary() if compared else None,
        champion_accuracy=compared.first.value if compared else None,
        probability_better=compared.probability_second_better if compared else None,
        **evidence.params.model_dump(include={"min_probability", "min_tracks", "max_genre_loss"}),
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
        f"{evidence.tracks} tracks is optimistically biased. The candidate is registered for comparison and not "
        "promoted; a split without leakage, such as split.method = group, can produce a champion."
    )
    return Decision(promote=False, rule="leaking", reason=reason)


def rolled_back(evidence: Evidence) -> Decision | None:
    """A version that was rolled back is promoted only by hand."""
    if not evidence.rolled_back:
        return None
    reason = "This version was rolled back; `genreflow registry promote` makes it the champion again."
    return Decision(promote=False, rule="rolled_back", reason=reason)


def first_champion(evidence: Evidence) -> Decision | None:
    """The first champion of a registered model must beat the majority-class baseline, on any number of tracks."""
    if evidence.champion is not None:
        return None
    promote = evidence.candidate_accuracy > evidence.majority_accuracy
    reason = (
        f"{evidence.registered_model} has no champion yet, so the candidate is compared with the majority-class "
        f"baseline, whose accuracy is {evidence.majority_accuracy:.1%}. With {evidence.candidate_accuracy:.1%} on "
        f"{evidence.tracks} tracks, it "
        f"{'is better and is promoted' if promote else 'is not better and is not promoted'}."
    )
    return Decision(promote=promote, rule="baseline", reason=reason)


def incomparable(evidence: Evidence) -> Decision | None:
    """A candidate that cannot be compared with the champion does not replace it."""
    if evidence.obstacle is None:
        return None
    reason = (
        f"{OBSTACLES[evidence.obstacle]}: the candidate, with {evidence.candidate_accuracy:.1%} on {evidence.tracks} "
        f"tracks (majority class {evidence.majority_accuracy:.1%}), cannot be compared with it and does not replace "
        f"version {evidence.champion} of {evidence.registered_model}. {_ways_out(evidence)}"
    )
    return Decision(promote=False, rule="incomparable", reason=reason)


def too_few_tracks(evidence: Evidence) -> Decision | None:
    """No champion is replaced on few tracks."""
    compared = evidence.comparison
    if compared is None or compared.tracks >= evidence.params.min_tracks:
        return None
    reason = (
        f"{_accuracies(compared)} These are too few tracks: a champion is replaced on "
        f"gate.min_tracks = {evidence.params.min_tracks} or more. {_ways_out(evidence)}"
    )
    return Decision(promote=False, rule="too_few_tracks", reason=reason)


def genre_loss(evidence: Evidence) -> Decision | None:
    """A better candidate is refused if it is shown to lose more than `max_genre_loss` in one genre.

    It is shown if the whole 95 % interval of the difference in accuracy is below ``-max_genre_loss``.
    """
    compared, limit = evidence.comparison, evidence.params.max_genre_loss
    if compared is None or compared.probability_second_better < evidence.params.min_probability:
        return None
    worse = [genre for genre in compared.genres if genre.difference_high < -limit]
    if not worse:
        return None
    reason = (
        f"{_accuracies(compared)} It is better as a whole, and loses more than gate.max_genre_loss = {limit:g} in "
        f"{'; '.join(map(_loss, worse))}: the candidate is not promoted."
    )
    return Decision(promote=False, rule="genre_loss", reason=reason)


def paired_comparison(evidence: Evidence) -> Decision | None:
    """A candidate is promoted if the probability that it is better than the champion reaches `min_probability`.

    The probability is that of a paired bootstrap over the test tracks; see `genreflow.evaluation.paired`.
    """
    compared = evidence.comparison
    if compared is None:
        return None
    promote = compared.probability_second_better >= evidence.params.min_probability
    reason = (
        f"{_accuracies(compared)} The probability that the candidate is better, "
        f"{compared.probability_second_better:.3f}, {'reaches' if promote else 'is below'} "
        f"gate.min_probability = {evidence.params.min_probability:g}: the candidate is "
        f"{'promoted' if promote else 'not promoted'}."
    )
    return Decision(promote=promote, rule="compared", reason=reason)


RULES: tuple[Callable[[Evidence], Decision | None], ...] = (
    unchanged,
    leaking_split,
    rolled_back,
    first_champion,
    incomparable,
    too_few_tracks,
    genre_loss,
    paired_comparison,
)


def _accuracies(compared: Comparison) -> str:
    unused = f" ({compared.excluded} others are not used: the champion knows them)" if compared.excluded else ""
    return (
        f"On {compared.tracks} common held-out tracks{unused} the candidate's accuracy is {compared.second.value:.1%}, "
        f"the champion's {compared.first.value:.1%}."
    )


def _loss(genre: ComparedGenre) -> str:
    return (
        f"{genre.genre}, {genre.first.value:.1%} to {genre.second.value:.1%} of {genre.tracks} tracks (difference "
        f"{genre.difference_low:+.0%} to {genre.difference_high:+.0%})"
    )


def _ways_out(evidence: Evidence) -> str:
    """Return how a user can have both models, or promote the candidate all the same."""
    return (
        f"For a champion of its own beside {evidence.registered_model}, set gate.registered_model in params.yaml to a "
        "new name and run `dvc repro`; to replace the champion all the same, `genreflow registry promote VERSION "
        "--reason WHY`."
    )
