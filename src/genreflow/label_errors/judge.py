"""Judge labels by a classifier that learnt the genres from other artists."""

from collections.abc import Mapping, Sequence

import numpy as np

from genreflow.errors import counted
from genreflow.label_errors.confident_learning import class_thresholds
from genreflow.label_errors.label_report import JudgedGenre, LabelError, LabelReport
from genreflow.label_errors.out_of_fold import MIN_OTHER_ARTISTS, OutOfFold, predict_out_of_fold
from genreflow.manifest.track import Track

# A track is listed if the probability of its label is at most this share of the mean over tracks with the label.
# docs/experiments.md has precision and recall.
MAX_RELATIVE_PROBABILITY = 0.1


def judge_labels(
    tracks: Sequence[Track], x: np.ndarray, groups: Mapping[str, str], *, features: str, groups_known: bool
) -> LabelReport:
    """List the tracks that probably have a wrong label.

    A track is listed if its label was learnt from at least `MIN_OTHER_ARTISTS` other artists, another such genre is the
    most probable one, and the probability of the label is at most `MAX_RELATIVE_PROBABILITY` of its class threshold.

    Parameters
    ----------
    tracks : sequence of Track
        Usable tracks, with features.
    x : np.ndarray [shape=(n_tracks, n_features)]
        Features of each track.
    groups : mapping of str to str
        Artist by track ID, merged where artists share a recording; see `genreflow.manifest.groups.merged_groups`.
    features : str
        Name of the features, for the report.
    groups_known : bool
        See `genreflow.manifest.manifest.Manifest`.

    Returns
    -------
    LabelReport
    """
    genres = sorted({track.genre for track in tracks})
    labels = np.array([genres.index(track.genre) for track in tracks], int)
    own_groups = [groups[track.id] for track in tracks]
    predicted = predict_out_of_fold(x, labels, own_groups, n_genres=len(genres))
    judged = predicted.judged
    counts = {
        genre: JudgedGenre(
            tracks=int((labels == number).sum()),
            artists=len({group for group, label in zip(own_groups, labels, strict=True) if label == number}),
            judged=int((judged & (labels == number)).sum()),
        )
        for number, genre in enumerate(genres)
    }
    return LabelReport(
        features=features,
        accuracy=float(np.mean(predicted.probabilities[judged].argmax(axis=1) == labels[judged]))
        if judged.any()
        else None,
        genres=counts,
        label_errors=tuple(_contradicted(tracks, genres, labels, predicted)),
        notes=tuple(_notes(counts, groups_known=groups_known)),
    )


def _contradicted(
    tracks: Sequence[Track], genres: Sequence[str], labels: np.ndarray, predicted: OutOfFold
) -> list[LabelError]:
    thresholds = class_thresholds(predicted.probabilities, labels, predicted.judged)
    # A genre without a threshold was learnt from too few artists to be suggested.
    probabilities = np.where(np.isnan(thresholds), 0.0, predicted.probabilities)
    errors = []
    for i in np.flatnonzero(predicted.judged).tolist():
        label, suggested = int(labels[i]), int(probabilities[i].argmax())
        relative = float(probabilities[i, label] / thresholds[label])
        if suggested != label and relative <= MAX_RELATIVE_PROBABILITY:
            errors.append(
                LabelError(
                    track=tracks[i].id,
                    label=genres[label],
                    suggested=genres[suggested],
                    probability=round(float(probabilities[i, suggested]), 4),
                    label_probability=round(float(probabilities[i, label]), 4),
                    relative_label_probability=round(relative, 4),
                )
            )
    return sorted(errors, key=lambda row: (row.relative_label_probability, row.track))


def _notes(counts: Mapping[str, JudgedGenre], *, groups_known: bool) -> list[str]:
    notes = []
    if not groups_known:
        notes.append(
            "Most artists are unknown: a track may be judged by others of its artist, which have the same wrong label."
        )
    if len(counts) < 2:
        return [*notes, f"No label can be judged: there must be at least two genres; got {len(counts)}."]
    for genre, of in counts.items():
        if of.judged < of.tracks:
            number = "None of its" if not of.judged else f"{of.tracks - of.judged} of its"
            notes.append(
                f"Genre {genre} has {counted(of.tracks, 'track')} by {counted(of.artists, 'artist')}. {number} tracks "
                f"can be judged: that takes {MIN_OTHER_ARTISTS} other artists with tracks of the genre."
            )
    return notes
