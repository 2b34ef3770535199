"""How much of a fit goes into the time that there is."""

from dataclasses import dataclass

# Fewer rounds than this leave no choice of the best one.
ROUNDS = 5
# Of the time that is left, at most this share is for validation where epochs have to be cut into pieces.
VALIDATION_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    """What fits.

    Parameters
    ----------
    rounds : int > 0
        Times that the model is validated.
    segments : int > 0 or None
        Training segments of a round; None: all of them, so that a round is an epoch.
    """

    rounds: int
    segments: int | None = None


def plan(
    seconds: float, *, rate: float, answered: float, train: int, valid: int, measured: int, epochs: int, batch_size: int
) -> Plan:
    """Cut a fit to the time that there is.

    As many whole epochs as fit; where fewer than `ROUNDS` do, rounds of a part of the segments each, so that there is
    still something to choose from.

    Parameters
    ----------
    seconds : float
        That are left; where there are none, one round of a batch is planned all the same.
    rate, answered : float > 0 [segments/s]
        In training, and when nothing is learnt.
    train, valid : int > 0
        Segments of the two parts.
    measured : int >= 0
        Segments on which the fitted model is measured, beside `valid`.
    epochs : int > 0
        That are wanted.
    batch_size : int > 0
    """
    available = max(0.0, seconds - measured / answered)
    validation = valid / answered
    whole = int(available / (train / rate + validation))
    if whole >= min(ROUNDS, epochs):
        return Plan(min(whole, epochs))
    rounds = max(1, min(ROUNDS, int(VALIDATION_SHARE * available / validation)))
    training = max(available - rounds * validation, (1 - VALIDATION_SHARE) * available)
    return Plan(rounds, max(min(batch_size, train), min(train, int(rate * training / rounds))))
