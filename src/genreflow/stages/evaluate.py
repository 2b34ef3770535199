"""bundle -> figures, on tracks that had no part in making it."""

import numpy as np

from genreflow.evaluation.metrics import evaluate
from genreflow.files import write_csv, write_json
from genreflow.serving.measure import answers
from genreflow.serving.predictor import Predictor
from genreflow.stages import CANDIDATE, CONFUSION, EVALUATION, METRICS, PREDICTIONS, run_stage, say
from genreflow.stages.inputs import Data

# Of all figures, those that `dvc metrics` compares and that stand on a version in the registry.
HEADLINE = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1")


def main() -> None:
    data = Data.load()
    split = data.split
    predictor = Predictor(CANDIDATE)
    genres = predictor.bundle.labels
    tracks = data.usable(split.evaluation_tracks)
    labels = np.array([genres.index(track.genre) for track in tracks])
    found = answers(predictor, data.store, [track.hash for track in tracks])
    groups = np.unique([track.group for track in tracks], return_inverse=True)[1]

    by_track = evaluate(found.by_track, labels, genres=genres, clusters=groups if data.manifest.groups_known else None)
    by_segment = evaluate(found.by_segment, labels[found.track_index], genres=genres, clusters=found.track_index)
    majority = float(np.bincount(labels).max() / len(labels))
    units = {"track": by_track, "segment": by_segment}
    write_json(
        EVALUATION,
        {
            "part": split.evaluation_part,
            "split": split.method,
            "leaking": split.leaking,
            "notes": split.notes,
            "majority_accuracy": majority,
            "abstained": int((found.by_track.max(axis=1) < predictor.bundle.abstain_below).sum()),
            **units,
        },
    )
    headline = {unit: {name: round(figures[name], 4) for name in HEADLINE} for unit, figures in units.items()}
    write_json(METRICS, {split.evaluation_part: headline})
    rows = [
        {
            "track": track.id,
            "actual": track.genre,
            "predicted": genres[probabilities.argmax()],
            "confidence": round(float(probabilities.max()), 4),
        }
        for track, probabilities in zip(tracks, found.by_track, strict=True)
    ]
    write_json(PREDICTIONS, rows)
    write_csv(CONFUSION, ("actual", "predicted"), rows)
    say(
        f"{split.evaluation_part}: {by_track['accuracy']:.1%} of {by_track['n']} tracks "
        f"(95 %: {by_track['accuracy_low']:.1%} to {by_track['accuracy_high']:.1%}), "
        f"{by_segment['accuracy']:.1%} of segments; the commonest genre alone would have {majority:.1%}"
    )
    for note in split.notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
