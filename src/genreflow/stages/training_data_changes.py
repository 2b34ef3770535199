"""Which tracks of the project the last model was not trained on, after the stages before `train` have run again."""

from dataclasses import dataclass

from genreflow.bundle import Bundle
from genreflow.manifest.manifest import Manifest
from genreflow.splits.split import Split
from genreflow.stages import CANDIDATE, MANIFEST, SPLIT


@dataclass(frozen=True)
class TrainingDataChanges:
    """How the data differ from those of the last model.

    Parameters
    ----------
    corrections : int >= 0
        Corrections in train that it was not trained on.
    tracks : bool
        Whether other tracks were added to train or valid, or some that it was trained or validated on are gone.
    """

    corrections: int = 0
    tracks: bool = False


def find_training_data_changes() -> TrainingDataChanges:
    """Compare manifest and split with the tracks of the last model; without one of these, nothing is known to differ.

    Returns
    -------
    TrainingDataChanges

    Raises
    ------
    GenreflowError
        One of the files is damaged.
    """
    if not all(path.exists() for path in (CANDIDATE / "bundle.json", MANIFEST, SPLIT)):
        return TrainingDataChanges()
    lineage = Bundle.load(CANDIDATE).lineage
    tracks, split = Manifest.load(MANIFEST).tracks, Split.load(SPLIT)
    trained_on = {*lineage.get("train_tracks", ()), *lineage.get("valid_tracks", ())}
    used = {*split.train, *split.valid}
    new = [track for track in tracks if track.id in used and track.hash not in trained_on]
    return TrainingDataChanges(
        corrections=sum(bool(track.train_only) for track in new),
        tracks=not all(track.train_only for track in new) or not trained_on <= {track.hash for track in tracks},
    )
