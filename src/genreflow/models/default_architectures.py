"""Which architectures a study searches by default, and the features that they need."""

from collections.abc import Sequence

from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.features.spec import FeatureSpec
from genreflow.models.build import MODELS

# Sources without recorded music, or without audio.
_WITHOUT_MUSIC = ("demo", "spectrograms")


def searched_architectures(names: Sequence[str] | None, *, source: str, own_embedder: bool) -> tuple[str, ...]:
    """Return the architectures that a study searches, the first ones first.

    A pretrained network knows real music: a classifier behind it needs fewer tracks than a network that is trained from
    scratch, see docs/experiments.md. The styles of the demo are none that it was trained on.

    Parameters
    ----------
    names : sequence of str or None
        ``tune.architectures``.
    source : str
        The source of the manifest.
    own_embedder : bool
        Whether ``embedding.file`` is given.
    """
    if names is not None:
        return tuple(names)
    if source in _WITHOUT_MUSIC:
        return "efficient", "parallel_cnn"
    return "embedder" if own_embedder else "musicnn", "efficient"


def default_spec(names: Sequence[str], *, source: str) -> FeatureSpec:
    """Return the feature spec that suits the searched architectures.

    Parameters
    ----------
    names : sequence of str
        From `searched_architectures`.
    source : str
        The source of the manifest. Spectrograms are assumed to have librosa's defaults.
    """
    on_embeddings = len(without_embeddings(names)) < len(names)
    return PATCH_SPEC if on_embeddings and source != "spectrograms" else FeatureSpec()


def without_embeddings(names: Sequence[str]) -> tuple[str, ...]:
    """Return the architectures that take segments, not embeddings."""
    return tuple(name for name in names if not MODELS[name].embedding)
