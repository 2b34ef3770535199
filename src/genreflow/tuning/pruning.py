"""When a trial is not worth its remaining epochs."""

from collections.abc import Sequence
from statistics import median

# (architecture, track accuracy on validation after each epoch) of a trial that came to its end
Curve = tuple[str, Sequence[float]]


def hopeless(
    architecture: str, curve: Sequence[float], others: Sequence[Curve], *, startup_trials: int, warmup_epochs: int
) -> str:
    """Whether a trial should be pruned, and why.

    Architectures learn at different speeds, so that a curve says nothing about one of another architecture at the same
    epoch: a plain median rule keeps what starts fast. Compared is where the trial will end: its best epoch so far and
    what finished trials of its own architecture still gained from that epoch on (their median), against the median of
    the ends of all finished trials. Of one architecture alone this is about the median rule of Golovin et al. 2017,
    "Google Vizier".

    Parameters
    ----------
    architecture : str
    curve : sequence of float [shape=(epochs so far,)]
        Track accuracy on validation.
    others : sequence of (str, sequence of float)
        Architecture and curve of every trial that came to its end.
    startup_trials : int >= 0
        Trials that must have come to their end before.
    warmup_epochs : int >= 0
        Epochs that every trial gets.

    Returns
    -------
    str
        The reason; empty where it should go on, or no trial of its architecture has come to its end.
    """
    epochs = len(curve)
    gains = [max(other) - max(other[:epochs]) for name, other in others if name == architecture and other]
    if epochs <= warmup_epochs or len(others) < max(1, startup_trials) or not gains:
        return ""
    expected, ends = max(curve) + median(gains), median(max(other) for _, other in others if other)
    if expected >= ends:
        return ""
    return (
        f"{max(curve):.3f} after epoch {epochs}, from where {architecture} gained {median(gains):.3f} in other trials, "
        f"leads below their median of {ends:.3f}"
    )
