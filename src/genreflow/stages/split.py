"""manifest and audit -> train, valid and test, and a report of how much of one stands in another."""

from genreflow.audit.faults import Audit
from genreflow.features.store import FeatureStore
from genreflow.files import write_json
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import PARTS
from genreflow.params import load_params
from genreflow.splits.make import make_split
from genreflow.splits.report import count_tracks, leakage_table
from genreflow.stages import AUDIT, FEATURES, MANIFEST, SPLIT, SPLIT_REPORT, run_stage, say
from genreflow.stages.inputs import Data


def main() -> None:
    params = load_params()
    manifest = Manifest.load(MANIFEST)
    split = make_split(manifest, Audit.load(AUDIT), params.split)
    data = Data(manifest, split, FeatureStore.open(FEATURES))
    length, hop = (data.store.spec.frames(s) for s in (params.segments.seconds, params.segments.hop_seconds))
    segments = {part: data.segments_of(part, length=length, hop=hop) for part in PARTS}
    tracks = {part: [manifest.by_id[track_id] for track_id in split.parts[part]] for part in PARTS}
    split.save(SPLIT)
    report = {
        "method": split.method,
        "leaking": split.leaking,
        "groups_known": split.groups_known,
        "leaks": split.leaks,
        "parts": count_tracks(tracks, split.groups, segments),
        "notes": split.notes,
    }
    write_json(SPLIT_REPORT, report)
    fold = "" if split.fold is None else f" (fold {split.fold} of {split.folds} tests)"
    sizes = f"{len(split.train)} tracks to train, {len(split.valid)} to validate, {len(split.test)} to test"
    say(split.prefixed(f"{split.method}{fold}: {sizes}", sep=" "))
    for line in leakage_table(split.leaks):
        say(line)
    for note in split.notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
