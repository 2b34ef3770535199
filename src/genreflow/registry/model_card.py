"""Descriptions in the MLflow model registry."""

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


def model_card(bundle: Bundle, metrics: Mapping[str, float]) -> str:
    """Return a description in Markdown: architecture, genres, input, metrics and lineage.

    Parameters
    ----------
    bundle : Bundle
    metrics : mapping of str to float
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
        **{name: str(value) for name, value in bundle.lineage.items() if isinstance(value, str | int | float)},
        "Bundle": bundle.hash,
    }
    page = "\n".join(f"- **{name}**: {value}" for name, value in facts.items())
    return f"{LEAKING}\n\n{page}" if bundle.leaking else page
