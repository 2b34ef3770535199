"""bundle -> figures, on tracks that had no part in making it."""

import numpy as np

from genreflow.evaluation.metrics import evaluate
from genreflow.files import write_csv, write_json
from genreflow.serving.measure import answers
from genreflow.serving.predictor import Predictor
from genreflow.stages import CANDIDATE, CONFUSION, EVALUATION, METRICS, PREDICTIONS, run_stage, say
from genreflow.stages.inputs import Data


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
    notes = [*split.notes]
    majority = float(np.bincount(labels).max() / len(labels))
    write_json(
        EVALUATION,
        {
            "part": split.evaluation_part,
            "split": split.method,
            "leaking": split.leaking,
            "notes": notes,
            "majority_accuracy": majority,
            "abstained": int((found.by_track.max(axis=1) < predictor.bundle.abstain_below).sum()),
            "track": by_track,
            "segment": by_segment,
        },
    )
    write_json(
        METRICS,
        {
            split.evaluation_part: {
                unit: {name: round(figures[name], 4) for name in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1")}
                for unit, figures in (("track", by_track), ("segment", by_segment))
            },
        },
    )
    predicted = found.by_track.argmax(axis=1)
    write_json(
        PREDICTIONS,
        {
            "part": split.evaluation_part,
            "tracks": {
                track.id: {
                    "genre": track.genre,
                    "predicted": genres[answer],
                    "confidence": round(float(probabilities[answer]), 4),
                    "correct": track.genre == genres[answer],
                }
                for track, answer, probabilities in zip(tracks, predicted, found.by_track, strict=True)
            },
        },
    )
    write_csv(
        CONFUSION,
        ("actual", "predicted"),
        [{"actual": t.genre, "predicted": genres[answer]} for t, answer in zip(tracks, predicted, strict=True)],
    )
    say(
        f"{split.evaluation_part}: {by_track['accuracy']:.1%} of {by_track['n']} tracks "
        f"(95 %: {by_track['accuracy_low']:.1%} to {by_track['accuracy_high']:.1%}), "
        f"{by_segment['accuracy']:.1%} of segments; the commonest genre alone would have {majority:.1%}"
    )
    for note in notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
