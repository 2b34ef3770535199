"""Two models on the same held-out tracks: which tracks changed, per genre, and the paired test."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import accuracy_interval
from genreflow.evaluation.paired import difference_interval, probability_better
from genreflow.registry.track_accuracy import Accuracy


@dataclass(frozen=True, kw_only=True)
class ComparedTrack:
    """A held-out track, and what the two models predict.

    Parameters
    ----------
    track : str
        Its id.
    group : str
        Its artist, merged with artists that share a recording.
    genre, first, second : str
        Its genre, and the genres that the two models predict.
    """

    track: str
    group: str
    genre: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class ComparedGenre:
    """The two models on the tracks of one genre.

    Parameters
    ----------
    genre : str
    tracks : int > 0
    groups : int > 0
        Number of artists.
    first, second : Accuracy
        With 95 % intervals; ``name`` is that of the model.
    difference : float in [-1, 1]
        Accuracy of the second minus that of the first.
    difference_low, difference_high : float in [-1, 1]
        Its 95 % interval, see `genreflow.evaluation.paired.difference_interval`.
    """

    genre: str
    tracks: int
    groups: int
    first: Accuracy
    second: Accuracy
    difference: float
    difference_low: float
    difference_high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on held-out tracks that neither was trained or validated on.

    `to_dict` gives plain data for JSON. Accuracies are shares of tracks in [0, 1]; intervals resample artists where
    these are known.

    Parameters
    ----------
    first, second : Accuracy
        The models, with their accuracies on the tracks, and 95 % intervals. ``name`` names the model.
    tracks : int > 0
        Number of tracks that both were compared on.
    groups : int > 0
        Number of their artists.
    groups_known : bool
        Artists are known; otherwise tracks count as independent.
    excluded : int >= 0
        Number of held-out tracks that were not used, since a model knows them or their artist from its training or
        validation, or does not know their genre.
    difference, difference_low, difference_high : float in [-1, 1]
        Accuracy of the second model minus that of the first, and its 95 % interval.
    probability_second_better : float in [0, 1]
        Of a paired bootstrap, see `genreflow.evaluation.paired.probability_better`.
    genres : tuple of ComparedGenre
        In alphabetical order.
    gained, lost, other : tuple of ComparedTrack
        Tracks on which the models differ, by id: only the second is correct; only the first is; both are wrong.
    """

    first: Accuracy
    second: Accuracy
    tracks: int
    groups: int
    groups_known: bool
    excluded: int
    difference: float
    difference_low: float
    difference_high: float
    probability_second_better: float
    genres: tuple[ComparedGenre, ...]
    gained: tuple[ComparedTrack, ...]
    lost: tuple[ComparedTrack, ...]
    other: tuple[ComparedTrack, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data: dict, list, str, bool and numbers."""
        content = asdict(self)
        return content | {name: list(content[name]) for name in ("genres", "gained", "lost", "other")}

    def summary(self) -> dict[str, Any]:
        """Return `to_dict` with the number of tracks instead of the tracks in ``gained``, ``lost`` and ``other``."""
        content = self.to_dict()
        return content | {name: len(content[name]) for name in ("gained", "lost", "other")}


def compare(
    tracks: Sequence[ComparedTrack],
    *,
    names: tuple[str, str],
    groups_known: bool,
    excluded: int = 0,
    seed: int = 0,
) -> Comparison:
    """Compare two models.

    Parameters
    ----------
    tracks : sequence of ComparedTrack
        Held-out tracks that neither model was trained on; their order does not matter.
    names : tuple of str
        Of the first and the second model.
    groups_known : bool
    excluded : int >= 0
    seed : int
        Of the bootstraps.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        There are no tracks.
    """
    if not tracks:
        raise ParameterError(f"{names[0]} and {names[1]}: must have at least one common held-out track; got none.")
    tracks = sorted(tracks, key=lambda row: row.track)
    by_genre: dict[str, list[ComparedTrack]] = {}
    for row in tracks:
        by_genre.setdefault(row.genre, []).append(row)
    first, second = (_correct(tracks, model) for model in ("first", "second"))
    clusters = _clusters(tracks, groups_known)
    measured = _measure(tracks, names, groups_known, seed)
    changed = [row for row in tracks if row.first != row.second]
    return Comparison(
        **measured,
        groups_known=groups_known,
        excluded=excluded,
        probability_second_better=probability_better(second, first, clusters=clusters, seed=seed),
        genres=tuple(
            ComparedGenre(genre=genre, **_measure(rows, names, groups_known, seed))
            for genre, rows in sorted(by_genre.items())
        ),
        gained=tuple(row for row in changed if row.second == row.genre),
        lost=tuple(row for row in changed if row.first == row.genre),
        other=tuple(row for row in changed if row.genre not in (row.first, row.second)),
    )


def pair_predictions(
    genres: Mapping[str, str], groups: Mapping[str, str], first: Mapping[str, str], second: Mapping[str, str]
) -> list[ComparedTrack]:
    """Return the tracks that both models classified; all arguments are by track id."""
    return [
        ComparedTrack(track=track, group=groups[track], genre=genres[track], first=first[track], second=second[track])
        for track in sorted(first.keys() & second.keys())
    ]


def _measure(tracks: Sequence[ComparedTrack], names: tuple[str, str], groups_known: bool, seed: int) -> dict[str, Any]:
    """Return the fields that a comparison and one of its genres have in common."""
    clusters = _clusters(tracks, groups_known)
    correct = [_correct(tracks, model) for model in ("first", "second")]
    first, second = (
        Accuracy(name, float(values.mean()), *accuracy_interval(values, clusters))
        for name, values in zip(names, correct, strict=True)
    )
    low, high = difference_interval(correct[1], correct[0], clusters=clusters, seed=seed)
    return {
        "tracks": len(tracks),
        "groups": len({row.group for row in tracks}),
        "first": first,
        "second": second,
        "difference": second.value - first.value,
        "difference_low": low,
        "difference_high": high,
    }


def _correct(tracks: Sequence[ComparedTrack], model: str) -> np.ndarray:
    return np.array([getattr(row, model) == row.genre for row in tracks], bool)


def _clusters(tracks: Sequence[ComparedTrack], groups_known: bool) -> np.ndarray | None:
    return np.array([row.group for row in tracks]) if groups_known else None
