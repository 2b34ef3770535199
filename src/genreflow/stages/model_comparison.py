"""Models on the held-out tracks of the project, for the gate and `genreflow registry compare`; not a stage itself."""

import tempfile
from pathlib import Path

from genreflow.bundle import Bundle
from genreflow.errors import ParameterError
from genreflow.inference.predictor import Predictor
from genreflow.inference.tracks import predict_tracks
from genreflow.registry.comparison import Comparison, compare, pair_predictions
from genreflow.registry.model_registry import Registry
from genreflow.stages import PROJECT, RAW
from genreflow.stages.inputs import Data

# Share of a model's training and validation tracks that must be among the project's, else its data are other data.
SAME_DATA = 0.5


def known_tracks(bundle: Bundle, data: Data) -> set[str] | None:
    """Return the hashes of the tracks that a model was trained or validated on; None if they are unknown.

    Validation tracks chose its epoch and its temperature. Where there is no test part, every model is evaluated on
    them, and they do not count.
    """
    if "train_tracks" not in bundle.lineage:
        return None
    known = set(bundle.lineage["train_tracks"])
    return known | set(bundle.lineage.get("valid_tracks", ())) if data.split.evaluation_part == "test" else known


def is_of_other_data(bundle: Bundle, data: Data) -> bool:
    """Return whether most of a model's training and validation tracks are not among the tracks of the project."""
    known = {*bundle.lineage.get("train_tracks", ()), *bundle.lineage.get("valid_tracks", ())}
    present = {track.hash for track in data.manifest.tracks}
    return len(known & present) < SAME_DATA * len(known)


def unseen_tracks(track_ids: list[str], known: set[str], data: Data) -> list[str]:
    """Return those of some tracks that a model knows neither themselves nor another track by their artist.

    Parameters
    ----------
    track_ids : list of str
    known : set of str
        Hashes, see `known_tracks`.
    data : Data
        Artists are those of its split, merged with artists that share a recording. Tracks that the split has left out
        count with the groups that they are connected to.
    """
    hash_of = {track.id: track.hash for track in data.manifest.tracks}
    groups = {group for track_id, group in data.split.groups.items() if hash_of[track_id] in known}
    for track_id, connected in data.split.train_only_left_out.items():
        if hash_of.get(track_id) in known:
            groups.update(connected)
    return [
        track_id
        for track_id in track_ids
        if hash_of[track_id] not in known and data.split.groups[track_id] not in groups
    ]


def classify_tracks(bundle: Bundle, data: Data, track_ids: list[str]) -> dict[str, str] | None:
    """Return the genre of each track according to a model.

    None if it needs other features than the store has, and the source has no audio to compute them from.
    """
    tracks = data.usable(track_ids)
    predictor = Predictor(bundle.directory)
    if bundle.spec == data.store.spec:
        if not tracks:
            return {}
        probabilities = predict_tracks(predictor, data.store, data.hashes_of(track_ids)).by_track
        return {track.id: bundle.labels[row.argmax()] for track, row in zip(tracks, probabilities, strict=True)}
    if data.manifest.source == "spectrograms":
        return None
    # The probabilities are in descending order.
    return {track.id: next(iter(predictor.classify(RAW / track.path).probabilities)) for track in tracks}


def compare_models(first: Bundle, second: Bundle, *, names: tuple[str, str], data: Data) -> Comparison:
    """Compare two models on the tracks of the held-out part that neither knows.

    Parameters
    ----------
    first, second : Bundle
    names : tuple of str
    data : Data

    Raises
    ------
    ParameterError
        There are no such tracks, the training tracks of a model are unknown, or it needs features that cannot be
        computed.
    """
    held_out = list(data.split.evaluation_tracks)
    unseen = held_out
    predictions = []
    for bundle, name in zip((first, second), names, strict=True):
        if (known := known_tracks(bundle, data)) is None:
            raise ParameterError(f"{name}: must have a record of the tracks that it was trained on; got none.")
        unseen = [
            track_id
            for track_id in unseen_tracks(unseen, known, data)
            if data.manifest.by_id[track_id].genre in bundle.labels
        ]
    for bundle, name in zip((first, second), names, strict=True):
        if (predicted := classify_tracks(bundle, data, unseen)) is None:
            raise ParameterError(f"{name}: needs audio, since it has other features; got spectrograms.")
        predictions.append(predicted)
    genres = {track_id: data.manifest.by_id[track_id].genre for track_id in unseen}
    tracks = pair_predictions(genres, data.split.groups, *predictions)
    if not tracks:
        raise ParameterError(
            f"{names[0]} and {names[1]}: must have a common held-out track whose artist neither was trained or "
            f"validated on; got none of {len(held_out)}."
        )
    return compare(tracks, names=names, groups_known=data.manifest.groups_known, excluded=len(held_out) - len(tracks))


def compare_versions(first: str, second: str, *, model: str) -> Comparison:
    """Compare two registered versions on the held-out part of the project in the current folder.

    Parameters
    ----------
    first, second : str
        A version or alias of `model`, or NAME/VERSION of another registered model.
    model : str

    Raises
    ------
    ParameterError
        There is no such version, or as `compare_models`.
    """
    data = Data.load()
    with tempfile.TemporaryDirectory() as folder:
        bundles, names = [], []
        for number, given in enumerate((first, second)):
            name, _, version = given.rpartition("/")
            registry = Registry.open(PROJECT, name or model)
            version = next((entry.version for entry in registry.versions() if version in entry.aliases), version)
            bundles.append(registry.fetch(version, Path(folder, str(number))))
            names.append(f"{name}/{version}" if name else f"version {version}")
        return compare_models(bundles[0], bundles[1], names=(names[0], names[1]), data=data)
