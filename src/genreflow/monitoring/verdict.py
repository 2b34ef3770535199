"""What a check for drift has found."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from genreflow.bundle import Bundle, BundleError, DriftReference
from genreflow.monitoring.drift import Comparison, compare
from genreflow.monitoring.drift_sample import Sample
from genreflow.monitoring.last_check import CHECK_FORMAT
from genreflow.monitoring.window import Window, times


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of a check.

    Parameters
    ----------
    drift : bool
        Whether a test has a corrected p-value below `alpha`.
    alpha : float in (0, 1)
        Chance of a false alarm.
    checked : str
        When, in UTC.
    model : dict
        ``name``, ``version`` and ``hash`` of the bundle.
    reference : dict
        ``part`` of the split, numbers of ``tracks`` and ``artists``.
    window : dict
        ``since``, ``until``, numbers of ``predictions``, ``repeated``, ``other_models`` and ``damaged``.
    tests : list of Comparison
        The most significant first.
    """

    drift: bool
    alpha: float
    checked: str
    model: dict[str, Any]
    reference: dict[str, Any]
    window: dict[str, Any]
    tests: list[Comparison]

    @property
    def found(self) -> list[str]:
        """What has drifted."""
        return [test.name for test in self.tests if test.p_adjusted < self.alpha]

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict, ready for JSON."""
        return {"format": CHECK_FORMAT, **asdict(self), "found": self.found}


def reference_of(bundle: Bundle) -> DriftReference:
    """Return the reference of a bundle.

    Raises
    ------
    BundleError
        It has none, or it is damaged.
    """
    reference = bundle.drift_reference
    if reference is None:
        problem = "must have a drift reference; got a bundle that was registered without one"
        raise BundleError(bundle.directory, problem, "models that `dvc repro` registers have one")
    return reference


def sample_of(window: Window, reference: DriftReference, labels: tuple[str, ...]) -> Sample:
    """Return the measurements of a window in the columns of a reference."""
    rows = [prediction.to_features() for prediction in window.predictions]
    embeddings = window.embeddings
    usable = embeddings is not None and embeddings.shape[1] == reference.embeddings.shape[1]
    return Sample(
        names=reference.names,
        values=np.array([[row.get(name, np.nan) for name in reference.names] for row in rows]),
        probabilities=np.array(
            [[each.probabilities.get(label, 0.0) for label in labels] for each in window.predictions]
        ),
        embeddings=embeddings if usable and embeddings is not None else np.zeros((len(rows), 0)),
    )


def judge(bundle: Bundle, reference: DriftReference, window: Window, *, alpha: float) -> Verdict:
    """Compare a window with the reference of its model.

    Parameters
    ----------
    bundle : Bundle
    reference : DriftReference
    window : Window
    alpha : float in (0, 1)

    Returns
    -------
    Verdict

    Raises
    ------
    ParameterError
        As `genreflow.monitoring.drift.compare`.
    """
    tests = compare(Sample.of(reference), reference.groups, sample_of(window, reference, bundle.labels))
    since, until = times(window)
    return Verdict(
        drift=any(test.p_adjusted < alpha for test in tests),
        alpha=alpha,
        checked=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        model={"name": bundle.name, "version": bundle.version, "hash": bundle.hash},
        reference={
            "part": reference.part,
            "tracks": len(reference.groups),
            "artists": len(np.unique(reference.groups)),
        },
        window={
            "since": since,
            "until": until,
            "predictions": len(window.predictions),
            "repeated": window.repeated,
            "other_models": window.other_models,
            "damaged": window.damaged,
        },
        tests=sorted(tests, key=lambda test: (test.p_adjusted, test.p_value, -test.statistic)),
    )
