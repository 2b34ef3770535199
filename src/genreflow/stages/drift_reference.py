"""Bundle -> what drift is measured against: the bundle's own predictions for validation tracks."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from genreflow.bundle import REFERENCE_FILE, BundleError
from genreflow.errors import DamagedFileError
from genreflow.files import atomic_directory
from genreflow.inference.predictor import Analysis, Predictor
from genreflow.inference.reference import MAX_TRACKS, make_reference
from genreflow.manifest.track import Part
from genreflow.stages import CANDIDATE, DRIFT_REFERENCE, RAW
from genreflow.stages.inputs import Data

PART: Part = "valid"


def main() -> None:
    """Analyse the validation tracks with the candidate, as the service will analyse others.

    The weights were not fitted to these tracks. Their audio is used, which has a level; tracks of spectrograms have
    none. The out is an empty directory if no track can be analysed: `register` then adds nothing to the bundle.
    """
    data = Data.load()
    try:
        predictor = Predictor(CANDIDATE)
    except BundleError as error:
        raise DamagedFileError(CANDIDATE, str(error)) from error
    reference = make_reference(predictor.bundle, _tracks(predictor, data), part=data.split.prefixed(PART))
    with atomic_directory(DRIFT_REFERENCE) as directory:
        if reference is not None:
            reference.save(directory / REFERENCE_FILE)


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
