"""Add to a bundle what drift is measured against: its own predictions for validation tracks."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from genreflow.bundle import Bundle, add_reference
from genreflow.inference.predictor import Analysis, Predictor
from genreflow.inference.reference import MAX_TRACKS, make_reference
from genreflow.manifest.track import Part
from genreflow.stages import RAW
from genreflow.stages.inputs import Data

PART: Part = "valid"


def add_drift_reference(directory: Path, data: Data) -> Bundle:
    """Analyse the validation tracks with a bundle, as the service will analyse others, and add the result to it.

    The weights were not fitted to these tracks. Their audio is used, which has a level; tracks of spectrograms have
    none. A bundle stays as it is if no track can be analysed.
    """
    predictor = Predictor(directory)
    reference = make_reference(predictor.bundle, _tracks(predictor, data), part=data.split.prefixed(PART))
    return predictor.bundle if reference is None else add_reference(directory, reference)


def _tracks(predictor: Predictor, data: Data) -> Iterator[tuple[Callable[[], Analysis], str]]:
    tracks = data.usable(data.split.parts[PART])
    chosen = np.sort(np.random.default_rng(0).permutation(len(tracks))[:MAX_TRACKS])
    for index in chosen.tolist():
        track = tracks[index]
        path = RAW / track.path
        stored = data.manifest.source == "spectrograms" or not path.is_file()
        analyse = partial(predictor.analyse_stored, data.store, track.hash or "") if stored else None
        yield (
            analyse or partial(predictor.analyse, path),
            (data.split.groups[track.id] if data.manifest.groups_known else track.id),
        )
