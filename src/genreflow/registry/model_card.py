"""Descriptions in the MLflow model registry."""

import re
from collections.abc import Mapping

from genreflow.bundle import Bundle

DESCRIPTION = (
    "Music genre classifiers trained with genreflow. The version with the alias `champion` is packaged and served; "
    "`models/champion.json` in the project names it and its predecessors."
)

LEAKING = (
    "**LEAKING**: artists or recordings are in both the training and the test part of this model's split. Its metrics "
    "are optimistically biased; they are comparable only with published results on such splits."
)


def model_card(bundle: Bundle, metrics: Mapping[str, float], lineage: Mapping[str, str] | None = None) -> str:
    """Return a description in Markdown: architecture, genres, input, metrics and lineage.

    The text of all values is escaped: the name of a genre is the name of a folder, and viewers render HTML.

    Parameters
    ----------
    bundle : Bundle
    metrics : mapping of str to float
    lineage : mapping of str to str, optional
        By default that of the bundle.
    """
    spec = bundle.spec
    seconds, hop = spec.seconds(bundle.segment_frames), spec.seconds(bundle.segment_hop)
    facts = {
        "Architecture": bundle.architecture,
        "Genres": ", ".join(bundle.labels),
        "Input": (
            f"log-mel, {spec.n_mels} bands from {spec.fmin:g} to {spec.fmax:g} Hz, sample rate {spec.sample_rate} Hz; "
            f"segments of {seconds:.2f} s every {hop:.2f} s, probabilities averaged over the track"
        ),
        "Confidence": f"temperature {bundle.temperature:.3g}; abstains below {bundle.abstain_below:.2f}",
        **{name: f"{value:.4g}" for name, value in metrics.items()},
        **(bundle.scalar_lineage if lineage is None else lineage),
        "Bundle": bundle.hash,
    }
    page = "\n".join(f"- **{_escape(name)}**: {_escape(value)}" for name, value in facts.items())
    return f"{LEAKING}\n\n{page}" if bundle.leaking else page


def _escape(text: str) -> str:
    """Return Markdown that shows `text` as it is, on one line: no HTML, link, image or emphasis."""
    line = " ".join(text.split())
    # Underscores inside words are text already, and names of metrics have many.
    escaped = re.sub(r"([\\`*\[\]!#|~])|(?<!\w)(_)|(_)(?!\w)", lambda match: f"\\{match[0]}", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
