"""The model card: what a model is for, how good it is and what it was made from, in Markdown."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.files import write_text
from genreflow.reporting.evaluation.data import Evaluation, Metrics
from genreflow.reporting.evaluation.page import Report

# A confusion is named where it is at least this share of the tracks of a genre.
_CONFUSED = 0.1
_PRETRAINING = {"MSD": "the Million Song Dataset", "MTT": "MagnaTagATune"}


def write_model_card(path: Path, report: Report, bundle: Bundle) -> None:
    """Write the model card; the same model gives the same bytes.

    The text of all values is escaped: the name of a genre is the name of a folder, and viewers of Markdown render HTML.

    Parameters
    ----------
    path : Path
    report : Report
    bundle : Bundle
        The model that was evaluated.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=False,  # Markdown, not HTML: the template passes what others wrote through the filter `text`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": lambda share: f"{100 * share:.1f} %", "text": escape}
    template = environment.from_string(resources.files(__package__).joinpath("model_card.md.j2").read_text("utf-8"))
    seconds, hop = (bundle.spec.seconds(frames) for frames in (bundle.segment_frames, bundle.segment_hop))
    write_text(
        path,
        template.render(
            report=report,
            evaluation=report.evaluation,
            part=report.evaluation.part.replace("_", " "),
            bundle=bundle,
            pretraining=pretraining(bundle.embedder or {}),
            seconds=f"{seconds:.3g}",
            hop=f"{hop:.3g}",
            not_beaten=not_beaten(report.evaluation),
            confused=confusions(report.evaluation.track),
        ),
    )


def not_beaten(evaluation: Evaluation) -> list[str]:
    """Return the names of the baselines that are at least as accurate as the model."""
    return [row.baseline for row in evaluation.baselines if evaluation.track.accuracy <= row.accuracy]


def pretraining(embedder: Mapping[str, object]) -> str:
    """Return what a pretrained network was trained on, by its name: "MSD_musicnn" on the Million Song Dataset."""
    words = re.split(r"[\W_]+", str(embedder.get("name")))
    return next((data for word, data in _PRETRAINING.items() if word in words), "other music")


def confusions(metrics: Metrics) -> dict[str, list[str]]:
    """Return by genre the others that its tracks are classified as, the most frequent first.

    Parameters
    ----------
    metrics : Metrics
        Rows of ``confusion`` are the true genres, in the order of ``per_genre``.
    """
    genres = list(metrics.per_genre)
    found = {}
    for genre, row in zip(genres, metrics.confusion, strict=True):
        others = sorted(((n, other) for n, other in zip(row, genres, strict=True) if other != genre), reverse=True)
        found[genre] = [f"{other} ({n})" for n, other in others if n and n >= _CONFUSED * sum(row)]
    return found


def escape(value: object) -> str:
    """Return Markdown that shows a text as it is, on one line: no HTML, link, image or emphasis."""
    line = " ".join(str(value).split())
    # Underscores inside words are text already, and names of metrics have many.
    escaped = re.sub(r"([\\`*\[\]!#|~])|(?<!\w)(_)|(_)(?!\w)", lambda match: f"\\{match[0]}", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
