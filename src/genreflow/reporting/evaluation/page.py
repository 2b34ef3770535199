"""An evaluation as one HTML page that makes no network requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from genreflow.files import write_text
from genreflow.manifest.manifest import Manifest
from genreflow.reporting.evaluation.charts import (
    accuracy_bars,
    coverage_curve,
    familiarity_curve,
    learning_curves,
    reliability_diagram,
)
from genreflow.reporting.evaluation.data import Evaluation, Prediction, Usage, most_confident_mistakes
from genreflow.reporting.excerpts import audio_source
from genreflow.reporting.params import ReportParams
from genreflow.reporting.spectrogram import Spectrograms, Strip, draw_spectrograms

_ACCURACIES = {
    "accuracy": "training segments",
    "val_accuracy": "validation segments",
    "val_track_accuracy": "validation tracks",
}
_LOSSES = {"loss": "training", "val_loss": "validation"}


@dataclass(frozen=True)
class Part:
    """A part of the split: its name, and its numbers of tracks and artists."""

    name: str
    tracks: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the page shows.

    Parameters
    ----------
    evaluation : Evaluation
    predictions : list of Prediction
    curves : mapping of str to sequence of float
        Learning curves by column.
    usage : Usage
    manifest : Manifest
    parts : sequence of Part
    groups_known : bool
        Whether the artists are known.
    lineage : mapping of str to str
        Model, data and code.
    """

    evaluation: Evaluation
    predictions: list[Prediction]
    curves: Mapping[str, Sequence[float]]
    usage: Usage
    manifest: Manifest
    parts: Sequence[Part]
    groups_known: bool
    lineage: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction on the page; `picture` is SVG, `audio` the address of a file or its data."""

    prediction: Prediction
    picture: str | None
    audio: str | None


def write_page(path: Path, report: Report, params: ReportParams, spectrograms: Spectrograms, raw: Path) -> None:
    """Write the page of an evaluation; the same evaluation gives the same bytes.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    report : Report
    params : ReportParams
    spectrograms : Spectrograms
        Of the tracks, by their hash.
    raw : Path
        Folder of the audio files.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    evaluation, wrong = report.evaluation, [p for p in report.predictions if not p.correct]
    shown = most_confident_mistakes(report.predictions, params.mistakes)
    plots = {
        "Accuracy beside the baselines": accuracy_bars(evaluation),
        "Calibration": reliability_diagram(report.predictions),
        "Accuracy against coverage": coverage_curve(report.predictions, evaluation.abstained - evaluation.unfamiliar),
        "Accuracy against familiarity": familiarity_curve(report.predictions),
        "Accuracy while training": learning_curves(report.curves, _ACCURACIES, share=True),
        "Loss while training": learning_curves(report.curves, _LOSSES, share=False),
    }
    write_text(
        path,
        template.render(
            report=report,
            evaluation=evaluation,
            part=evaluation.part.replace("_", " "),
            genres=list(evaluation.track.per_genre),
            plots={title: picture for title, picture in plots.items() if picture},
            explanations=_EXPLANATIONS,
            wrong=len(wrong),
            mistakes=[_mistake(prediction, report, params, spectrograms, raw, path) for prediction in shown],
        ),
    )


_EXPLANATIONS = {
    "Accuracy beside the baselines": "On the same tracks. Lines are 95 % intervals.",
    "Calibration": (
        "Accuracy of the tracks whose confidence lies in a tenth. On the dashed line, confidence is the share of "
        "correct answers; below it, the model is overconfident."
    ),
    "Accuracy against coverage": "Accuracy if only the most confident answers are given.",
    "Accuracy against familiarity": (
        "Tracks by their distance from the training music, in five groups of about as many tracks each: 0 is equal to "
        "it, 1 has nothing in common with it."
    ),
    "Accuracy while training": (
        "After each epoch of the final fit. Training segments are augmented, so their accuracy may be the lowest."
    ),
    "Loss while training": "Cross-entropy [nats]; that of training includes augmentation and label smoothing.",
}


def _mistake(
    prediction: Prediction,
    report: Report,
    params: ReportParams,
    spectrograms: Spectrograms,
    raw: Path,
    page: Path,
) -> Mistake:
    track = report.manifest.by_id[prediction.track]
    drawable = track.hash is not None and track.hash in spectrograms
    picture = draw_spectrograms([Strip(track.hash or "", track.id)], spectrograms) if drawable else None
    return Mistake(prediction, picture, audio_source(track, raw, page, seconds=params.excerpt_seconds))
