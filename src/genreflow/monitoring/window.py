"""The predictions of a log that are compared with the reference."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np

from genreflow.errors import GenreflowError, counted
from genreflow.monitoring.log_files import day_of, log_files
from genreflow.monitoring.logged_prediction import LoggedPrediction, from_line, utc

# Fewer predictions are not compared: the smallest differences that can be found are then too large to be of use.
MIN_PREDICTIONS = 50


@dataclass(frozen=True)
class Window:
    """Predictions of one model, in temporal order.

    Parameters
    ----------
    predictions : list of LoggedPrediction
        Each sound once.
    repeated : int >= 0
        Further predictions for the same sounds, which are left out.
    other_models : int >= 0
        Predictions of other models in the same time.
    damaged : int >= 0
        Lines that cannot be read.
    """

    predictions: list[LoggedPrediction]
    repeated: int
    other_models: int
    damaged: int

    @property
    def embeddings(self) -> np.ndarray | None:
        """[shape=(n, size)]; None if one is missing."""
        rows = [prediction.embedding for prediction in self.predictions]
        known = [row for row in rows if row is not None]
        return np.stack(known) if len(known) == len(rows) and len({len(row) for row in known}) == 1 else None


@dataclass
class _Counts:
    damaged: int = 0
    others: int = 0
    other_version: str | None = None


def read_window(
    directory: Path,
    bundle_hash: str,
    *,
    last: int,
    since: datetime | None = None,
    until: datetime | None = None,
    least: int = MIN_PREDICTIONS,
) -> Window:
    """Read the newest predictions of a model.

    Parameters
    ----------
    directory : Path
        Of the log.
    bundle_hash : str
        Of the model.
    last : int > 0
        How many predictions at most.
    since, until : datetime, optional
        Earlier and later ones are left out.
    least : int > 0
        How many sounds there must be at least.

    Returns
    -------
    Window

    Raises
    ------
    GenreflowError
        There is no log, or it has too few predictions of this model.
    """
    if not directory.is_dir():
        raise GenreflowError(
            f"{directory}: must be the log of a service; got no such folder. "
            f"`GENREFLOW_PREDICTION_LOG={directory} bentoml serve` writes it."
        )
    counts = _Counts()
    newest: list[tuple[float, int, LoggedPrediction]] = []
    number = count()  # predictions of the same time are not compared with each other
    for path in reversed(log_files(directory)):
        begin = datetime.combine(day_of(path), datetime.min.time(), UTC).timestamp()
        # A file has the predictions of one day, but for those that were waiting for it.
        if len(newest) == last and newest[0][0] > begin + 2 * 86400:
            break
        for found in _read(path, bundle_hash, since, until, counts):
            entry = (found.time, next(number), found)
            if len(newest) < last:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
    predictions = [found for _, _, found in sorted(newest)]
    distinct = list({_sound(prediction): prediction for prediction in predictions}.values())
    if len(distinct) < least:
        raise GenreflowError(_too_few(directory, len(predictions), len(distinct), least, counts))
    return Window(distinct, len(predictions) - len(distinct), counts.others, counts.damaged)


def _read(
    path: Path, bundle_hash: str, since: datetime | None, until: datetime | None, counts: _Counts
) -> Iterator[LoggedPrediction]:
    low = -np.inf if since is None else since.timestamp()
    high = np.inf if until is None else until.timestamp()
    try:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    found = from_line(line)
                except ValueError:
                    counts.damaged += 1
                    continue
                if not low <= found.time <= high:
                    continue
                if found.bundle == bundle_hash:
                    yield found
                else:
                    counts.others += 1
                    counts.other_version = counts.other_version or found.version or found.bundle[:12]
    except FileNotFoundError:  # it has expired meanwhile
        return
    except OSError as error:
        raise GenreflowError(f"{path}: must be readable; got {error.strerror}.") from error


def _sound(prediction: LoggedPrediction) -> tuple[object, ...]:
    """Return what two predictions for the same file have in common, and hardly two others."""
    return prediction.duration, prediction.inputs, tuple(prediction.probabilities.values())


def _too_few(directory: Path, found: int, distinct: int, least: int, counts: _Counts) -> str:
    got = f"{found} of {counted(distinct, 'sound')}" if found > distinct else str(found)
    if counts.others:
        got += f", and {counts.others} of other models, such as version {counts.other_version}"
    if counts.damaged:
        got += f", and {counted(counts.damaged, 'damaged line')}"
    advice = (
        "`--bundle` names another model" if counts.others else "wait for more, or choose a longer time with --since"
    )
    return f"{directory}: must have predictions of the model for at least {least} sounds; got {got}; {advice}."


def times(window: Window) -> tuple[str, str]:
    """Return when the first and the last prediction were made."""
    return utc(window.predictions[0].time), utc(window.predictions[-1].time)
