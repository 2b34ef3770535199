"""Manifest and audit -> train, valid and test parts, and a report on their sizes and leakage."""

import logging
from typing import TYPE_CHECKING

from genreflow.audit.faults import Audit
from genreflow.features.segments import limit_per_track
from genreflow.features.store import FeatureStore
from genreflow.file_names import one_line
from genreflow.files import write_json
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS
from genreflow.params import load_params
from genreflow.splits.make import make_split
from genreflow.splits.report import count_tracks, largest_tracks, leakage_table
from genreflow.splits.split import Split
from genreflow.splits.split_record import SplitRecord
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT, SPLIT_RECORD, SPLIT_REPORT
from genreflow.stages.dvc_cache import remade
from genreflow.stages.inputs import Data

if TYPE_CHECKING:
    from genreflow.training.params import SegmentParams

logger = logging.getLogger(__name__)


def main() -> None:
    params = load_params()
    manifest = Manifest.load(MANIFEST)
    record = SplitRecord.load(SPLIT_RECORD)
    split = make_split(manifest, Audit.load(AUDIT, manifest), params.split, record)
    report = make_report(Data(manifest, split, FeatureStore.open(FEATURES)), params.segments)
    with remade(SPLIT, SPLIT_REPORT):
        split.save(SPLIT)
        write_json(SPLIT_REPORT, report)
    record.save(SPLIT_RECORD)
    log_split(split)
    log_largest_track(report["largest_training_tracks"], params.segments.track_cap)


def make_report(data: Data, segments: "SegmentParams") -> dict:
    """Return the split's method, leakage, notes, and the tracks, groups and segments of each part and genre.

    ``largest_training_tracks`` has the track with the most training segments of each genre.
    """
    split = data.split
    length, hop = (data.store.spec.frames(s) for s in (segments.seconds, segments.hop_seconds))
    counts = {part: data.segment_counts(part, length=length, hop=hop) for part in PARTS}
    drawn = limit_per_track(list(counts["train"].values()), segments.track_cap).tolist()
    tracks = {part: [data.manifest.by_id[track_id] for track_id in split.parts[part]] for part in PARTS}
    return {
        "method": split.method,
        "leaking": split.leaking,
        "groups_known": split.groups_known,
        "leaks": split.leaks,
        "parts": count_tracks(tracks, split.groups, counts),
        "largest_training_tracks": largest_tracks(
            tracks["train"], counts["train"], dict(zip(counts["train"], drawn, strict=True))
        ),
        "train_only": {"tracks": len(split.train_only), "left_out": split.train_only_left_out},
        "notes": split.notes,
    }


def log_largest_track(largest: dict[str, dict], track_cap: float | None) -> None:
    """Log the genre in which one track has the largest share of the training segments."""
    if not largest:
        return
    genre, row = max(largest.items(), key=lambda item: (item[1]["share"], item[0]))
    cap = "null" if track_cap is None else f"{track_cap:g}"
    logger.info(
        f"largest share of one track in the training segments of its genre: {row['share']:.0%} of {one_line(genre)} "
        f"({one_line(row['track'])}); {row['epoch_share']:.0%} in an epoch, by segments.track_cap = {cap}"
    )


def log_split(split: Split) -> None:
    fold = "" if split.fold is None else f" (test fold {split.fold} of {split.folds})"
    sizes = ", ".join(f"{len(split.parts[part])} {part}" for part in PARTS)
    logger.info(split.prefixed(f"{split.method}{fold}: {sizes} tracks", sep=" "))
    for line in leakage_table(split.leaks):
        logger.info(line)
    for note in split.notes:
        logger.info(f"note: {note}")
