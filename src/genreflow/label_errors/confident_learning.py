"""Class thresholds of confident learning: what probability is usual for the labels of a class?

Instead of one threshold for all classes, each class has its own, the mean probability that tracks with this label are
given for it. So a class that the classifier is rarely sure of is not judged by the standard of an easy one.

Confident learning itself lists a track if another class reaches that class's threshold. Where the classifier is right
on two tracks of three, as artist-disjoint genre classifiers are, that is a third of all tracks. Here a track is listed
if the probability of its own label is a small part of what is usual for it; docs/experiments.md compares the two. The
package cleanlab implements the former; of it, only this function would be used.

References
----------
Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. Journal of Artificial
Intelligence Research 70 (2021).
"""

import numpy as np


def class_thresholds(probabilities: np.ndarray, labels: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Compute the mean probability of each class over the tracks that are labelled so: equation 2 of the reference.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes), range=[0, 1]]
        From classifiers that were not fitted on the track.
    labels : np.ndarray [shape=(n_tracks,), dtype=int]
    judged : np.ndarray [shape=(n_tracks,), dtype=bool]
        Tracks whose probabilities count.

    Returns
    -------
    np.ndarray [shape=(n_classes,)]
        NaN for a class without judged tracks.
    """
    thresholds = np.full(probabilities.shape[1], np.nan)
    for label in np.unique(labels[judged]):
        thresholds[label] = probabilities[judged & (labels == label), label].mean()
    return thresholds
