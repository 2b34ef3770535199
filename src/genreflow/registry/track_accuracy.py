"""The accuracy of a version on held-out tracks, beside the baselines, as its metrics hold it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASELINES = {
    "majority_class": "majority class",
    "svm": "SVM on summary statistics",
    "linear_probe": "linear probe on the untrained network",
}
PARTS = {
    "test": "test tracks",
    "valid": "validation tracks",
    "leaking_test": "tracks of a leaking test part",
    "leaking_valid": "tracks of a leaking validation part",
}


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with its 95 % interval, all in [0, 1]; a version may have been registered without interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" (95 %: {self.low:.1%} to {self.high:.1%})"
        return f"{self.value:.1%}{interval}"


@dataclass(frozen=True)
class TrackAccuracy:
    """What was measured of a version.

    Parameters
    ----------
    part : str
        Key of `PARTS`.
    tracks : int or None
        Number of tracks; None if unknown.
    model : Accuracy
    baselines : tuple of Accuracy
        On the same tracks.
    """

    part: str
    tracks: int | None
    model: Accuracy
    baselines: tuple[Accuracy, ...]

    @property
    def leaking(self) -> bool:
        return self.part.startswith("leaking")

    @property
    def not_beaten(self) -> list[str]:
        """Names of the baselines that are at least as accurate as the model."""
        return [baseline.name for baseline in self.baselines if self.model.value <= baseline.value]

    @property
    def headline(self) -> str:
        """Such as "71.7% of 60 test tracks (95 %: 58.3% to 83.3%)"."""
        value, _, interval = str(self.model).partition(" ")
        number = "" if self.tracks is None else f"{self.tracks:,} "
        return f"{value} of {number}{PARTS[self.part]} {interval}".rstrip()

    @property
    def comparison(self) -> str:
        """The baselines in one sentence, and which are not beaten; empty if there are none."""
        if not self.baselines:
            return ""
        listed = ", ".join(f"{_short(baseline.name)} {baseline.value:.1%}" for baseline in self.baselines)
        failed = f" The model does not beat: {', '.join(map(_short, self.not_beaten))}." if self.not_beaten else ""
        return f"Baselines: {listed}.{failed}"


def read_track_accuracy(metrics: Mapping[str, Any]) -> TrackAccuracy | None:
    """Return what the metrics of a version say about tracks; None if they have no such metric.

    Parameters
    ----------
    metrics : mapping of str to float or None
        Of `genreflow.registry.version.Version` or `genreflow.bundle.Bundle`.
    """
    for part in PARTS:
        if (model := _read(metrics, "this model", f"{part}_track_accuracy")) is None:
            continue
        prefix, suffix = f"{part}_baseline_", "_accuracy"
        names = [key[len(prefix) : -len(suffix)] for key in metrics if key.startswith(prefix) and key.endswith(suffix)]
        baselines = [
            _read(metrics, BASELINES.get(name, name.replace("_", " ")), f"{prefix}{name}{suffix}")
            for name in sorted(names, key=[*BASELINES, *names].index)
        ]
        tracks = metrics.get(f"{part}_track_n")
        return TrackAccuracy(
            part,
            None if tracks is None else int(tracks),
            model,
            tuple(baseline for baseline in baselines if baseline is not None),
        )
    return None


def _short(name: str) -> str:
    """Return the name of a baseline without what it is trained on."""
    return name.split(" on ")[0]


def _read(metrics: Mapping[str, Any], name: str, key: str) -> Accuracy | None:
    value = metrics.get(key)
    return None if value is None else Accuracy(name, value, metrics.get(f"{key}_low"), metrics.get(f"{key}_high"))
