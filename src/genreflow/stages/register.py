"""bundle and figures -> a version in the registry; the gate decides whether it becomes champion."""

import tempfile
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.errors import GenreflowError
from genreflow.files import read_json, write_json
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.params import load_params
from genreflow.registry.gate import decide
from genreflow.registry.model_registry import Registry
from genreflow.registry.pointer import Pointer, read_pointer, write_pointer
from genreflow.stages import CANDIDATE, EVALUATION, GATE, METRICS, POINTER, PREDICTIONS, RAW, run_stage, say
from genreflow.stages.inputs import PROJECT, Data


def main() -> None:
    gate = load_params().gate
    data = Data.load()
    predictions = {row["track"]: row for row in read_json(PREDICTIONS)}
    registry = Registry.open(PROJECT)
    candidate = Bundle.load(CANDIDATE)
    leaking = data.split.leaking
    metrics = {
        f"{part}_{unit}_{name}": value
        for part, units in read_json(METRICS).items()
        for unit, figures in units.items()
        for name, value in figures.items()
    }
    version = registry.register(CANDIDATE, metrics=metrics)
    pointer = read_pointer(POINTER)
    with tempfile.TemporaryDirectory() as folder:
        # Nothing is compared with a leaking candidate: the champion need not answer.
        champion = None if leaking else _champion(registry, pointer, Path(folder, "champion"))
        report = decide(
            {track: row["predicted"] == row["actual"] for track, row in predictions.items()},
            _correct(champion, data, predictions),
            majority_accuracy=read_json(EVALUATION)["majority_accuracy"],
            same_labels=champion is None or champion.labels == candidate.labels,
            test_in_champion_training=_seen(champion, data, predictions),
            same_bundle=pointer is not None and pointer.champion.bundle_hash == candidate.hash,
            leaking=leaking,
            rolled_back=registry.was_rolled_back(version),
            groups=_groups(data, predictions),
            min_probability=gate.min_probability,
            times_test_split_used=registry.times_split_used(data.split.hash, version),
        )
    registry.record_gate(version, data.split.hash, report)
    if report.promote:
        registry.promote(version, POINTER, reason=report.reason)
    elif pointer is None and leaking:
        write_pointer(None, POINTER)
    elif pointer is None:
        raise GenreflowError(f"There is no champion, and version {version} cannot be one: {report.reason}")
    write_json(GATE, {"version": version, **report.to_dict()})
    say(f"{data.split.prefixed('version', sep=' ')} {version}: {report.reason}")


def _champion(registry: Registry, pointer: Pointer | None, directory: Path) -> Bundle | None:
    """The champion's bundle; None where there is none, or it was registered somewhere else."""
    if pointer is None:
        return None
    if registry.find(pointer.champion.bundle_hash) is None:
        say(f"note: this registry does not hold the champion that {POINTER} names; the candidate starts a new line")
        return None
    return registry.fetch_champion(pointer, directory)


def _correct(champion: Bundle | None, data: Data, predictions: dict) -> dict[str, bool] | None:
    """Whether the champion is right about each of the candidate's test tracks; None where it cannot answer."""
    genres = {row["actual"] for row in predictions.values()}
    if champion is None or not genres <= set(champion.labels):
        return None
    predictor = Predictor(champion.directory)
    tracks = [data.manifest.by_id[track_id] for track_id in predictions]
    if champion.spec == data.store.spec:
        found = predict_tracks(predictor, data.store, [track.hash for track in tracks]).by_track
        named = [champion.labels[answer] for answer in found.argmax(axis=1)]
    elif data.manifest.source != "spectrograms":
        # Other features than the store's: the champion hears the music itself. The likeliest genre comes first.
        named = [next(iter(predictor.classify(RAW / track.path).probabilities)) for track in tracks]
    else:
        return None
    return {track.id: genre == track.genre for track, genre in zip(tracks, named, strict=True)}


def _seen(champion: Bundle | None, data: Data, predictions: dict) -> bool | None:
    if champion is None:
        return False
    if "train_tracks" not in champion.lineage:
        return None
    seen = set(champion.lineage["train_tracks"])
    if data.split.evaluation_part == "test":  # what chose its epoch and temperature then counts as training too
        seen |= set(champion.lineage.get("valid_tracks", ()))
    return any(data.manifest.by_id[track_id].hash in seen for track_id in predictions)


def _groups(data: Data, predictions: dict) -> dict[str, str] | None:
    if not data.manifest.groups_known:
        return None
    return {track_id: data.split.groups[track_id] for track_id in predictions}


if __name__ == "__main__":
    run_stage(main)
