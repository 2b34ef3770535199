"""bundle -> figures, on tracks that had no part in making it."""

import numpy as np

from genreflow.evaluation.metrics import evaluate
from genreflow.files import write_csv, write_json
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.stages import CANDIDATE, CONFUSION, EVALUATION, METRICS, PREDICTIONS, run_stage, say
from genreflow.stages.inputs import Data

# Of all figures, those that `dvc metrics` compares and that stand on a version in the registry.
HEADLINE = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1")


def main() -> None:
    data = Data.load()
    split = data.split
    predictor = Predictor(CANDIDATE)
    genres = predictor.bundle.labels
    part, bundle = split.evaluation_part, predictor.bundle
    heard = data.segments_of(part, length=bundle.segment_frames, hop=bundle.segment_hop)
    tracks = [data.manifest.by_id[track_id] for track_id in heard]
    labels = np.array([genres.index(track.genre) for track in tracks])
    found = predict_tracks(
        predictor, data.store, [track.hash for track in tracks], segment_mask=split.segment_mask(part)
    )
    groups = np.unique([split.groups[track.id] for track in tracks], return_inverse=True)[1]

    by_track = evaluate(found.by_track, labels, genres=genres, clusters=groups if data.manifest.groups_known else None)
    by_segment = evaluate(found.by_segment, labels[found.track_index], genres=genres, clusters=found.track_index)
    majority = float(np.bincount(labels).max() / len(labels))
    units = {"track": by_track, "segment": by_segment}
    write_json(
        EVALUATION,
        {
            "part": split.prefixed(part),
            "split": split.method,
            "leaking": split.leaking,
            "notes": split.notes,
            "majority_accuracy": majority,
            "abstained": int((found.by_track.max(axis=1) < predictor.bundle.abstain_below).sum()),
            **units,
        },
    )
    headline = {unit: {name: round(figures[name], 4) for name in HEADLINE} for unit, figures in units.items()}
    write_json(METRICS, {split.prefixed(part): headline})
    rows = [
        {
            "track": track.id,
            "actual": track.genre,
            "predicted": genres[probabilities.argmax()],
            "confidence": round(float(probabilities.max()), 4),
            **split.tags,
        }
        for track, probabilities in zip(tracks, found.by_track, strict=True)
    ]
    write_json(PREDICTIONS, rows)
    # The plot shows nothing but genres, so that a leaking split has to stand on them.
    named = [{axis: split.prefixed(row[axis], sep=" ") for axis in ("actual", "predicted")} for row in rows]
    write_csv(CONFUSION, ("actual", "predicted"), named)
    say(
        f"{split.prefixed(part, sep=' ')}: {by_track['accuracy']:.1%} of {by_track['n']} tracks "
        f"(95 %: {by_track['accuracy_low']:.1%} to {by_track['accuracy_high']:.1%}), "
        f"{by_segment['accuracy']:.1%} of segments; the commonest genre alone would have {majority:.1%}"
    )
    for note in split.notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
