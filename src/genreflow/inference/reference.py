"""The reference of a bundle: what its own predictor measures of tracks that the model was not fitted to."""

import logging
from collections.abc import Callable, Iterable

import numpy as np

from genreflow.bundle import Bundle, DriftReference
from genreflow.errors import AudioError
from genreflow.inference.predictor import Analysis

logger = logging.getLogger(__name__)

# More make a comparison no better that is also one of a window; they are drawn at random.
MAX_TRACKS = 1000


def feature_values(analysis: Analysis) -> dict[str, float]:
    """Return the values of a track that are compared one by one, by name; NaN for those that are unknown."""
    prediction = analysis.prediction
    unknown = float("nan")
    return {
        **analysis.inputs.to_features(),
        "confidence": prediction.confidence,
        "unfamiliarity": unknown if prediction.unfamiliarity is None else prediction.unfamiliarity,
    }


def make_reference(
    bundle: Bundle,
    tracks: Iterable[tuple[Callable[[], Analysis], str]],
    *,
    part: str,
) -> DriftReference | None:
    """Measure tracks as the service does.

    Parameters
    ----------
    bundle : Bundle
        Of the model. With a pretrained network the prototypes are of validation tracks, too, so that these are nearer
        to them than others are: their unfamiliarity is left out, and not compared.
    tracks : iterable of (callable, str)
        What analyses each track, `Predictor.analyse` in general, and its artist.
    part : str
        Of the split, where the tracks are from.

    Returns
    -------
    DriftReference or None
        None if no track can be analysed.
    """
    analyses, groups = [], []
    for analyse, group in tracks:
        try:
            analyses.append(analyse())
            groups.append(group)
        except (AudioError, OSError) as error:
            logger.warning("%s It is left out of the drift reference.", error)
    if not analyses:
        return None
    values = [feature_values(analysis) for analysis in analyses]
    if bundle.embedder is not None:
        values = [row | {"unfamiliarity": np.nan} for row in values]
    embeddings = [np.zeros(0, np.float16) if each.embedding is None else each.embedding for each in analyses]
    return DriftReference(
        names=tuple(values[0]),
        values=np.array([list(row.values()) for row in values], np.float32),
        probabilities=np.array(
            [[each.prediction.probabilities[label] for label in bundle.labels] for each in analyses], "f4"
        ),
        embeddings=np.stack(embeddings),
        groups=np.unique(groups, return_inverse=True)[1].astype(np.int32),
        part=part,
    )
