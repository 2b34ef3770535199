"""Calibrated probabilities from logits, and the confidence below which the classifier should abstain."""

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.checks import check_labels, check_probabilities

# Range of `fit_temperature`.
TEMPERATURES = (0.05, 20.0)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Compute probabilities from logits.

    Parameters
    ----------
    logits : np.ndarray [shape=(..., n_classes)]
    temperature : float > 0
        The logits are divided by it. Above 1 the probabilities become more uniform, below 1 less; their order stays.

    Returns
    -------
    probabilities : np.ndarray [shape=(..., n_classes), dtype=float64], in [0, 1]
        They sum to 1 over the last axis.

    Raises
    ------
    ParameterError
        `temperature` is not > 0.
    """
    return np.exp(_log_softmax(logits, temperature))


def track_probabilities(probabilities: np.ndarray, track_index: np.ndarray, n_tracks: int) -> np.ndarray:
    """Average the probabilities of the segments of each track.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_classes)]
        One row per segment.
    track_index : np.ndarray [shape=(n,), dtype=int], in [0, n_tracks)
        The track of each segment, in any order.
    n_tracks : int > 0

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_classes), dtype=float64]

    Raises
    ------
    ParameterError
        Shapes do not match, an index is out of range, or a track has no segment.
    """
    probabilities, track_index = np.asarray(probabilities, np.float64), np.asarray(track_index)
    if probabilities.ndim != 2:
        raise ParameterError(f"probabilities must have shape (n, n_classes); got {probabilities.shape}.")
    if track_index.shape != probabilities.shape[:1]:
        raise ParameterError(f"track_index must have shape {probabilities.shape[:1]}; got {track_index.shape}.")
    if track_index.size and not 0 <= track_index.min() <= track_index.max() < n_tracks:
        raise ParameterError(f"track_index must be in [0, {n_tracks}); got {track_index.min()} to {track_index.max()}.")
    counts = np.bincount(track_index, minlength=n_tracks)
    if not counts.all():
        raise ParameterError(f"track_index must name every track; got no segment of track {int(np.argmin(counts))}.")
    sums = np.zeros((n_tracks, probabilities.shape[1]))
    np.add.at(sums, track_index, probabilities)
    return sums / counts[:, None]


def fit_temperature(logits: np.ndarray, labels: np.ndarray, track_index: np.ndarray | None = None) -> float:
    """Fit the temperature that maximises the likelihood of the labels of a validation set (Guo et al. 2017).

    The search is a bounded one over the logarithm of the temperature. The labels are smoothed as if one observation
    without a genre were added to the data: each label keeps ``1 - 1 / (n + 1)`` of its weight, and the rest is uniform.
    With hundreds of tracks that changes nothing. With a few tracks that are all correctly classified, the likelihood
    alone has no maximum, and all probabilities would become 0 or 1.

    Parameters
    ----------
    logits : np.ndarray [shape=(n, n_classes)]
        Of data that the model was not trained on.
    labels : np.ndarray [shape=(n,) or (n_tracks,), dtype=int]
        One label per row of `logits`, or with `track_index` one per track.
    track_index : np.ndarray [shape=(n,), dtype=int], optional
        The track of each row. With it, the likelihood is that of the `track_probabilities`, which are served.

    Returns
    -------
    float in [0.05, 20]

    Raises
    ------
    ParameterError
        Shapes do not match, a label is out of range, or a logit is not finite.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
    """
    from scipy.optimize import minimize_scalar  # not at the top: 0.8 s and 50 MB that the service does not need

    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2:
        raise ParameterError(f"logits must have shape (n, n_classes); got {logits.shape}.")
    if not np.isfinite(logits).all():
        raise ParameterError("logits must be finite; got NaN or infinity.")
    labels = np.asarray(labels)
    n_rows = len(logits) if track_index is None else len(labels)
    n_classes = logits.shape[1]
    check_labels(labels, n_rows, n_classes)
    target = np.full((n_rows, n_classes), 1 / (n_rows + 1) / n_classes)
    target[np.arange(n_rows), labels] += 1 - 1 / (n_rows + 1)

    def negative_log_likelihood(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        if track_index is None:
            log_probabilities = _log_softmax(logits, temperature)
        else:
            averaged = track_probabilities(softmax(logits, temperature), track_index, n_rows)
            log_probabilities = np.log(np.maximum(averaged, np.finfo(np.float64).tiny))
        return float(-(target * log_probabilities).sum(axis=1).mean())

    # Averaged probabilities may have several local minima: a coarse grid first, then a search around its best point.
    low, high = np.log(TEMPERATURES)
    grid = np.linspace(low, high, 25)
    best = int(np.argmin([negative_log_likelihood(point) for point in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.clip(np.exp(found.x), *TEMPERATURES))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> float:
    """Compute the expected calibration error with bins of equal width (Naeini et al. 2015).

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_classes)], n > 0
    labels : np.ndarray [shape=(n,), dtype=int]
    n_bins : int > 0

    Returns
    -------
    float in [0, 1]
        ``sum_b n_b / n * |accuracy_b - confidence_b|``; 0 is perfectly calibrated.

    Raises
    ------
    ParameterError
        As `genreflow.evaluation.metrics.evaluate`.

    References
    ----------
    Naeini, Cooper, Hauskrecht: Obtaining Well Calibrated Probabilities Using Bayesian Binning. AAAI 2015.
    """
    confidence, correct = _confidence_and_correct(probabilities, labels)
    # Bins are open on the left: (0, 1/n_bins], ..., (1 - 1/n_bins, 1].
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def abstention_threshold(probabilities: np.ndarray, labels: np.ndarray, *, max_share: float = 0.25) -> float:
    """Choose the confidence below which the classifier abstains.

    A correct prediction is worth 1, a wrong one -1 and an abstention 0 (Chow's rule, with a rejection at half the cost
    of an error). The threshold maximises the total on a validation set; of several maxima, the lowest threshold is
    chosen. At most `max_share` of the predictions are rejected: a weak classifier is wrong more often than right at
    almost any confidence, and one that always abstains is useless.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_classes)], n > 0
        Calibrated probabilities of validation tracks.
    labels : np.ndarray [shape=(n,), dtype=int]
    max_share : float in [0, 1]

    Returns
    -------
    float in [0, 1]
        Midway between the highest rejected and the lowest accepted confidence; 0 if a rejection gains nothing.

    Raises
    ------
    ParameterError
        As `genreflow.evaluation.metrics.evaluate`.

    References
    ----------
    Chow: On Optimum Recognition Error and Reject Tradeoff. IEEE Trans. Information Theory 16 (1970).
    """
    confidence, correct = _confidence_and_correct(probabilities, labels)
    order = np.argsort(confidence, kind="stable")
    confidence, worth = confidence[order], np.where(correct[order], 1, -1)
    # gain[k]: gain from rejecting the k least confident predictions. Equal confidences cannot be separated.
    gain = np.concatenate([[0], -np.cumsum(worth)])[: int(len(worth) * max_share) + 1]
    separable = np.concatenate([[True], confidence[1:] > confidence[:-1], [False]])[: len(gain)]
    rejected = int(np.argmax(np.where(separable, gain, -len(worth) - 1)))
    return 0.0 if rejected == 0 else float(confidence[rejected - 1 : rejected + 1].mean())


def _log_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    if not temperature > 0:  # also for NaN
        raise ParameterError(f"temperature must be > 0; got {temperature}.")
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def _confidence_and_correct(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = check_probabilities(probabilities)
    labels = check_labels(labels, *probabilities.shape)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
