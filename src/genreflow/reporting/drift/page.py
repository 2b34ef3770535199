"""A check for drift as one HTML page that makes no network requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from genreflow.files import write_text
from genreflow.monitoring.drift import Comparison
from genreflow.monitoring.drift_sample import EMBEDDING, PROBABILITIES, Sample
from genreflow.monitoring.verdict import Verdict
from genreflow.reporting.drift.distributions import cumulative_curves, share_bars

# Names of what is compared, and what it is.
TITLES = {
    "level": ("Level", "Root mean square of the audio [dBFS]."),
    "confidence": ("Confidence", "Highest probability."),
    "unfamiliarity": ("Unfamiliarity", "Distance from the training music."),
    EMBEDDING: ("Embeddings", "What the network makes of the sound, as a whole."),
    PROBABILITIES: ("Probabilities", "Mean probability of each genre; all of them are compared as a whole."),
}
_BANDS = ("lowest", "second", "third", "highest")
TITLES |= {
    f"{name}_{number}": (f"{title}, {band} quarter of bands", f"{meaning} of the log-mel frames [share of the range].")
    for name, title, meaning in (
        ("mean", "Energy", "Mean over time"),
        ("deviation", "Movement", "Standard deviation over time"),
    )
    for number, band in enumerate(_BANDS, start=1)
}


@dataclass(frozen=True)
class Plot:
    """One test on the page; `picture` is SVG."""

    test: Comparison
    title: str
    meaning: str
    picture: str | None


def write_page(path: Path, verdict: Verdict, reference: Sample, window: Sample, labels: tuple[str, ...]) -> None:
    """Write the page of a check.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    verdict : Verdict
    reference, window : Sample
        What was compared.
    labels : tuple of str
        Genres, the columns of the probabilities.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["p"] = lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}"
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    plots = [_plot(test, reference, window, labels) for test in verdict.tests]
    write_text(path, template.render(verdict=verdict, plots=plots))


def _plot(test: Comparison, reference: Sample, window: Sample, labels: tuple[str, ...]) -> Plot:
    title, meaning = TITLES.get(test.name, (test.name, ""))
    picture = None
    if test.name in reference.names:
        column = list(reference.names).index(test.name)
        picture = cumulative_curves(reference.values[:, column], window.values[:, column])
    elif test.name == PROBABILITIES:
        picture = share_bars(_means(labels, reference.probabilities), _means(labels, window.probabilities))
    return Plot(test, title, meaning, picture)


def _means(labels: tuple[str, ...], probabilities: np.ndarray) -> Mapping[str, float]:
    return dict(zip(labels, probabilities.mean(axis=0).tolist(), strict=True))
