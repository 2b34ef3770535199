"""From logits to probabilities that mean what they say, and the confidence under which it is better to say nothing."""

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.checks import check_labels, check_probabilities

TEMPERATURES = (0.05, 20.0)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities from logits.

    Parameters
    ----------
    logits : np.ndarray [shape=(..., c)]
    temperature : float > 0
        The logits are divided by it: above 1 the probabilities move together, below 1 apart; their order stays.

    Returns
    -------
    probabilities : np.ndarray [shape=(..., c), dtype=float64]
        In [0, 1], summing to 1 over the last axis.

    Raises
    ------
    ParameterError
        `temperature` is not greater than 0.
    """
    return np.exp(_log_softmax(logits, temperature))


def track_probabilities(probabilities: np.ndarray, track_index: np.ndarray, n_tracks: int) -> np.ndarray:
    """Answer for each track: the mean over its segments.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, c)]
        One row a segment.
    track_index : np.ndarray [shape=(n,), dtype=int]
        The track of each segment, in [0, n_tracks); in any order.
    n_tracks : int > 0

    Returns
    -------
    np.ndarray [shape=(n_tracks, c), dtype=float64]

    Raises
    ------
    ParameterError
        The shapes do not fit, an index is out of range, or a track has no segment.
    """
    probabilities, track_index = np.asarray(probabilities, np.float64), np.asarray(track_index)
    if probabilities.ndim != 2 or track_index.shape != probabilities.shape[:1]:
        raise ParameterError(
            f"Probabilities of shape {probabilities.shape} and a track index of shape {track_index.shape} "
            "do not fit; (n, c) and (n,) would."
        )
    if track_index.size and not 0 <= track_index.min() <= track_index.max() < n_tracks:
        raise ParameterError(
            f"The track index runs from {track_index.min()} to {track_index.max()}; it must lie in [0, {n_tracks})."
        )
    counts = np.bincount(track_index, minlength=n_tracks)
    if not counts.all():
        raise ParameterError(f"Track {int(np.argmin(counts))} has no segment; each track needs at least one.")
    sums = np.zeros((n_tracks, probabilities.shape[1]))
    np.add.at(sums, track_index, probabilities)
    return sums / counts[:, None]


def fit_temperature(logits: np.ndarray, labels: np.ndarray, track_index: np.ndarray | None = None) -> float:
    """The temperature that makes validation answers most likely (Guo et al. 2017).

    One scalar, found by a bounded search on its logarithm. One imaginary observation that stands for no genre in
    particular is added to the data (each label keeps ``1 - 1 / (n + 1)`` of its weight, the rest is spread evenly):
    with hundreds of tracks that changes nothing, but where a few are all classified rightly, the plain likelihood
    has no maximum, and the answers would all become certain.

    Parameters
    ----------
    logits : np.ndarray [shape=(n, c)]
        Of a validation set that the weights were not fitted to.
    labels : np.ndarray [shape=(n,) or (n_tracks,), dtype=int]
        One label a row of `logits`; with `track_index` one label a track.
    track_index : np.ndarray [shape=(n,), dtype=int], optional
        With it the likelihood is that of the tracks' answers (`track_probabilities`), which is what is served.

    Returns
    -------
    float in [0.05, 20]

    Raises
    ------
    ParameterError
        The shapes do not fit, a label is out of range, or a logit is not finite.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
    """
    from scipy.optimize import minimize_scalar  # 0.8 s and 50 MB that the service, which only takes `softmax`, saves

    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise ParameterError(f"Logits of shape {logits.shape} cannot be calibrated; finite ones of shape (n, c) can.")
    labels = np.asarray(labels)
    n_answers = len(logits) if track_index is None else len(labels)
    n_classes = logits.shape[1]
    check_labels(labels, n_answers, n_classes)
    target = np.full((n_answers, n_classes), 1 / (n_answers + 1) / n_classes)
    target[np.arange(n_answers), labels] += 1 - 1 / (n_answers + 1)

    def negative_log_likelihood(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        if track_index is None:
            log_probabilities = _log_softmax(logits, temperature)
        else:
            averaged = track_probabilities(softmax(logits, temperature), track_index, n_answers)
            log_probabilities = np.log(np.maximum(averaged, np.finfo(np.float64).tiny))
        return float(-(target * log_probabilities).sum(axis=1).mean())

    # Averaged answers need not have a single minimum: a coarse grid first, then the search beside its best point.
    grid = np.linspace(*np.log(TEMPERATURES), 25)
    best = int(np.argmin([negative_log_likelihood(point) for point in grid]))
    beside = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(negative_log_likelihood, bounds=beside, method="bounded", options={"xatol": 1e-4})
    return float(np.clip(np.exp(found.x), *TEMPERATURES))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> float:
    """Mean distance between confidence and accuracy, over bins of equal width (Naeini et al. 2015).

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, c)]
    labels : np.ndarray [shape=(n,), dtype=int]
    n_bins : int > 0

    Returns
    -------
    float in [0, 1]
        ``sum_b n_b / n * |accuracy_b - confidence_b|``; 0 is perfect.

    Raises
    ------
    ParameterError
        As `metrics.evaluate`.
    """
    confidence, correct = _confidence_and_correct(probabilities, labels)
    # Bins are open to the left: (0, 1/n], ..., (1 - 1/n, 1].
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def abstention_threshold(probabilities: np.ndarray, labels: np.ndarray, *, max_share: float = 0.25) -> float:
    """The confidence under which the classifier had better name no genre.

    A right answer earns 1, a wrong one costs 1, none is worth 0 (Chow's rule with rejection at half the price of an
    error). The threshold is the one that earns most on validation, the lowest of several, so that the answers
    withheld just under it were wrong more often than right. Never more than `max_share` of the validation answers
    are withheld: a weak classifier is wrong more often than right nearly everywhere, and one that never answers helps
    nobody.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, c)]
        Calibrated answers (of tracks) on validation.
    labels : np.ndarray [shape=(n,), dtype=int]
    max_share : float in [0, 1]

    Returns
    -------
    float in [0, 1]
        Midway between the last confidence withheld and the first one kept; 0 where withholding earns nothing.

    Raises
    ------
    ParameterError
        As `metrics.evaluate`.

    References
    ----------
    Chow: On Optimum Recognition Error and Reject Tradeoff. IEEE Trans. Information Theory 16 (1970).
    """
    confidence, correct = _confidence_and_correct(probabilities, labels)
    order = np.argsort(confidence, kind="stable")
    confidence, gain = confidence[order], np.where(correct[order], 1, -1)
    # saved[k]: what withholding the k least confident answers saves; equal confidences stand or fall together.
    saved = np.concatenate([[0], -np.cumsum(gain)])[: int(len(gain) * max_share) + 1]
    divisible = np.concatenate([[True], confidence[1:] > confidence[:-1], [False]])[: len(saved)]
    withheld = int(np.argmax(np.where(divisible, saved, -len(gain) - 1)))
    return 0.0 if withheld == 0 else float(confidence[withheld - 1 : withheld + 1].mean())


def _log_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    if not temperature > 0:
        raise ParameterError(f"The temperature is {temperature}; it must be greater than 0.")
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def _confidence_and_correct(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = check_probabilities(probabilities)
    labels = check_labels(labels, *probabilities.shape)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
