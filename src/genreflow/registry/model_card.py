"""What the registry's page says about a model."""

from collections.abc import Mapping

from genreflow.bundle import Bundle

DESCRIPTION = (
    "Music genre classifiers made by genreflow. The alias `champion` is the one that is packaged and served; "
    "`models/champion.json` in the project says the same, and which came before it."
)

LEAKING = (
    "**LEAKING**: the split that this model was made and measured with has artists or recordings on both sides. Its "
    "figures flatter; they are for comparison with published ones only."
)


def model_card(bundle: Bundle, metrics: Mapping[str, float]) -> str:
    """A page of Markdown: what the model is, what it hears, how good it is, where it came from."""
    spec = bundle.spec
    seconds, hop = spec.seconds(bundle.segment_frames), spec.seconds(bundle.segment_hop)
    facts = {
        "Architecture": bundle.architecture,
        "Genres": ", ".join(bundle.labels),
        "Input": (
            f"log-mel, {spec.n_mels} bands from {spec.fmin:g} to {spec.fmax:g} Hz, at {spec.sample_rate} Hz; "
            f"segments of {seconds:.2f} s every {hop:.2f} s, their probabilities averaged over the track"
        ),
        "Confidence": f"temperature {bundle.temperature:.3g}; no genre is named below {bundle.abstain_below:.2f}",
        **{name: f"{value:.4g}" for name, value in metrics.items()},
        **{name: str(value) for name, value in bundle.lineage.items() if isinstance(value, str | int | float)},
        "Bundle": bundle.hash,
    }
    page = "\n".join(f"- **{name}**: {value}" for name, value in facts.items())
    return f"{LEAKING}\n\n{page}" if bundle.leaking else page
