"""How many epochs of a fit, and how long ones, are possible in a given time."""

from dataclasses import dataclass

# With fewer epochs there is little to choose the best one from; then epochs are shortened instead.
MIN_EPOCHS = 5
# Largest share of the time for validation where epochs are shortened.
MAX_VALIDATION_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a fit has to compute, and how fast that is.

    Parameters
    ----------
    train, valid : int > 0
        Training and validation segments.
    test : int >= 0
        Test segments, evaluated once.
    epochs : int > 0
        Epochs without a time limit.
    batch_size : int > 0
    train_throughput, inference_throughput : float > 0 [segments/s]
    """

    train: int
    valid: int
    test: int
    epochs: int
    batch_size: int
    train_throughput: float
    inference_throughput: float


@dataclass(frozen=True)
class Schedule:
    """What is possible in the time.

    Parameters
    ----------
    epochs : int > 0
        Each ends with a validation.
    segments_per_epoch : int > 0 or None
        None: all training segments.
    """

    epochs: int
    segments_per_epoch: int | None = None


def plan_epochs(seconds: float, workload: Workload) -> Schedule:
    """Plan a fit for a given time.

    As many whole epochs as possible. If that is fewer than `MIN_EPOCHS`, shorter ones, so that there are some to choose
    the best weights from.

    Parameters
    ----------
    seconds : float [s]
        If there is no time left, one epoch of one batch is planned.
    workload : Workload

    Returns
    -------
    Schedule
    """
    validation = workload.valid / workload.inference_throughput
    available = max(0.0, seconds - workload.test / workload.inference_throughput)
    whole_epochs = int(available / (workload.train / workload.train_throughput + validation))
    if whole_epochs >= min(MIN_EPOCHS, workload.epochs):
        return Schedule(min(whole_epochs, workload.epochs))
    epochs = max(1, min(MIN_EPOCHS, int(MAX_VALIDATION_SHARE * available / validation)))
    training = max(available - epochs * validation, (1 - MAX_VALIDATION_SHARE) * available)
    segments = min(workload.train, int(workload.train_throughput * training / epochs))
    return Schedule(epochs, max(min(workload.batch_size, workload.train), segments))
