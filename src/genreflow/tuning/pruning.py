"""Pruning: stop a trial that is expected to end below the median."""

from collections.abc import Sequence
from statistics import median

# Architecture and track accuracy on validation after each epoch, of a completed trial.
LearningCurve = tuple[str, Sequence[float]]


def pruning_reason(
    architecture: str,
    curve: Sequence[float],
    completed: Sequence[LearningCurve],
    *,
    startup_trials: int,
    warmup_epochs: int,
) -> str | None:
    """Return why a trial should be pruned, or None if it should continue.

    The expected final accuracy of the trial is its best accuracy so far, plus the median gain of completed trials of
    the same architecture from that epoch on. It is compared with the median of the final accuracies of all completed
    trials. A median rule at equal epochs (Golovin et al. 2017, "Google Vizier", section 3.2.2) prefers architectures
    that learn fast; with a single architecture both are about the same.

    Parameters
    ----------
    architecture : str
    curve : sequence of float in [0, 1] [shape=(epochs so far,)]
        Track accuracy on validation.
    completed : sequence of (str, sequence of float)
        Architecture and curve of every completed trial.
    startup_trials : int >= 0
        Completed trials without which nothing is pruned.
    warmup_epochs : int >= 0
        Epochs in which no trial is pruned.

    Returns
    -------
    str or None
        Always None if no trial of this architecture has completed.
    """
    epochs = len(curve)
    gains = [max(other) - max(other[:epochs]) for name, other in completed if name == architecture and other]
    if epochs <= warmup_epochs or len(completed) < max(1, startup_trials) or not gains:
        return None
    best, gain = max(curve), median(gains)
    final = median(max(other) for _, other in completed if other)
    if best + gain >= final:
        return None
    return (
        f"track accuracy {best:.3f} after epoch {epochs}, expected to gain {gain:.3f} as other {architecture} trials "
        f"did, is below the median final accuracy {final:.3f}"
    )
