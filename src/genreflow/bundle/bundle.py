"""A bundle: what it consists of, and how it is read and verified."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genreflow.bundle.drift_reference import DriftReference
from genreflow.bundle.prototypes import Familiarity
from genreflow.bundle_files import (
    FILTER_BANK_FILE,
    FORMAT_VERSION,
    KERAS_FILE,
    METADATA_FILE,
    MODEL_NAME,
    ONNX_FILE,
    PROTOTYPES_FILE,
    REFERENCE_FILE,
    damaged,
    describe,
    fields_required,
    text_sha256,
    to_json,
    verify_files,
)
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank

# What `stamp` sets, with the values before it.
UNREGISTERED: dict[str, Any] = {"name": MODEL_NAME, "version": None, "metrics": {}}
# What identifies a model: what decides its predictions, and the tracks that it has seen. The rest of its provenance
# (run, revision, hashes of parameters and data) differs between two fits that give the same weights.
IDENTITY_FIELDS = (
    "format",
    "name",  # that of `UNREGISTERED`
    "architecture",
    "labels",
    "spec",
    "segment_frames",
    "segment_hop",
    "temperature",
    "abstain_below",
    "familiarity",
)
# Key of the lineage: SHA-256 of the weights, by which two exports of them are the same model. Their ONNX files differ:
# the exporter works through sets, in whose order Python puts it by chance.
WEIGHTS = "weights_hash"
IDENTITY_LINEAGE = ("leaking", "train_tracks", "valid_tracks", WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained classifier with everything that is needed to apply it to audio.

    Parameters
    ----------
    directory : Path
        Directory of ``model.onnx``, ``filters.npz``, ``bundle.json`` and, optionally, ``prototypes.npy``,
        ``reference.npz`` and ``model.keras``.
    name : str
        Name in the model registry; ``genre-classifier`` before registration.
    architecture : str
        Name of the architecture.
    labels : tuple of str, length n_classes >= 2
        Genres, in the order of the model's outputs.
    spec : FeatureSpec
    bank : FilterBank
    segment_frames : int > 0 [frames]
        Length of a segment, the model's input.
    segment_hop : int > 0 [frames]
        Distance between the starts of consecutive segments.
    temperature : float > 0
        The logits are divided by it before the softmax.
    abstain_below : float in [0, 1]
        The classifier abstains if its highest probability is lower.
    familiarity : Familiarity or None
        The classifier refuses tracks that are too far from these prototypes; None: it refuses none.
    embedder : dict or None
        Of the pretrained network that is part of the model: ``name``, ``licence``, ``sha256`` of its weights, number of
        ``parameters``, and ``copyright`` if it is known; None: the whole model was trained here.
    lineage : dict
        Provenance: hashes of weights, manifest, split and parameters, training tracks, MLflow run, git revision.
    version : str or None
        Version in the model registry; None before registration.
    metrics : dict
        Metrics of the evaluation; empty before registration.
    files : dict of str to str
        SHA-256 of each file but ``bundle.json``, by name.

    Notes
    -----
    ``bundle.json`` also holds its own SHA-256, as ``checksum``. With `files` it covers every byte of the bundle.

    Raises
    ------
    ParameterError
        A value is out of range, or the shapes of `bank` do not match `spec`.
    """

    directory: Path
    name: str
    architecture: str
    labels: tuple[str, ...]
    spec: FeatureSpec
    bank: FilterBank = field(repr=False)
    segment_frames: int
    segment_hop: int
    temperature: float
    abstain_below: float
    familiarity: Familiarity | None
    embedder: dict[str, Any] | None
    lineage: dict[str, Any]
    version: str | None
    metrics: dict[str, Any]
    files: dict[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ParameterError(f"{METADATA_FILE}: labels must be at least two distinct names; got {self.labels}.")
        for name in ("segment_frames", "segment_hop"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{METADATA_FILE}: {name} must be >= 1; got {getattr(self, name)}.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ParameterError(f"{METADATA_FILE}: temperature must be finite and > 0; got {self.temperature}.")
        if not 0 <= self.abstain_below <= 1:
            raise ParameterError(f"{METADATA_FILE}: abstain_below must be in [0, 1]; got {self.abstain_below}.")
        self.bank.check(self.spec)

    @property
    def onnx_path(self) -> Path:
        """Path of the ONNX model."""
        return self.directory / ONNX_FILE

    @property
    def keras_path(self) -> Path:
        """Path of the Keras model, which a served bundle may lack."""
        return self.directory / KERAS_FILE

    @property
    def drift_reference(self) -> DriftReference | None:
        """What predictions are compared with, read at each call; None if the bundle was written without it."""
        if REFERENCE_FILE not in self.files:
            return None
        path = self.directory / REFERENCE_FILE
        try:
            return DriftReference.load(path)
        except ParameterError as error:
            raise damaged(path, "must hold the reference of a bundle", describe(error)) from error

    @property
    def leaking(self) -> bool:
        """Whether it was trained with a split that has train/test leakage, so that its metrics are biased upwards."""
        return bool(self.lineage.get("leaking"))

    @property
    def notice(self) -> str | None:
        """What its users must know; None if there is nothing."""
        if self.lineage.get("source") != "demo":
            return None
        number = "ten" if len(self.labels) == 10 else len(self.labels)
        return f"This model knows the {number} composed styles of the demo only; about other music it says nothing."

    @property
    def scalar_lineage(self) -> dict[str, str]:
        """The lineage as text, without its lists of tracks."""
        return {name: str(value) for name, value in self.lineage.items() if isinstance(value, str | int | float)}

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of what decides the predictions, and of the tracks that the model was trained on.

        Two fits that give the same weights have the same hash, although their `lineage`, files and `content_hash`
        differ: where the lineage has the hash of the weights, that stands for the ONNX file, and with the training
        tracks for the prototypes.
        """
        metadata = self.to_metadata() | UNREGISTERED
        identity = {name: metadata[name] for name in IDENTITY_FIELDS}
        identity["lineage"] = {name: self.lineage[name] for name in IDENTITY_LINEAGE if name in self.lineage}
        files = (FILTER_BANK_FILE,) if WEIGHTS in self.lineage else (ONNX_FILE, FILTER_BANK_FILE, PROTOTYPES_FILE)
        identity["files"] = {name: self.files[name] for name in files if name in self.files}
        return text_sha256(to_json(identity))

    @property
    def content_hash(self) -> str:
        """SHA-256, in hex, of everything but `name`, `version` and `metrics`, which `stamp` sets."""
        return text_sha256(to_json(self.to_metadata() | UNREGISTERED))

    def to_metadata(self) -> dict[str, Any]:
        """Return the content of ``bundle.json`` but its checksum."""
        return {
            "format": FORMAT_VERSION,
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "labels": list(self.labels),
            "spec": self.spec.to_dict(),
            "segment_frames": self.segment_frames,
            "segment_hop": self.segment_hop,
            "temperature": self.temperature,
            "abstain_below": self.abstain_below,
            "familiarity": None if self.familiarity is None else self.familiarity.to_dict(),
            "embedder": self.embedder,
            "lineage": self.lineage,
            "metrics": self.metrics,
            "files": self.files,
        }

    @classmethod
    def load(cls, directory: Path | str) -> "Bundle":
        """Read a bundle, and verify every byte of it.

        Parameters
        ----------
        directory : Path

        Returns
        -------
        Bundle

        Raises
        ------
        BundleError
            `directory` holds no bundle, it is damaged, or its format is not the one of this version of genreflow.
        """
        directory = Path(directory)
        metadata = verify_files(directory)
        with fields_required(directory / METADATA_FILE):
            familiarity = metadata["familiarity"]
            if familiarity is not None:
                familiarity = Familiarity.load(directory / PROTOTYPES_FILE, familiarity)
            metadata |= {
                "labels": tuple(metadata["labels"]),
                "spec": FeatureSpec(**metadata["spec"]),
                "bank": FilterBank.load(directory / FILTER_BANK_FILE),
                "familiarity": familiarity,
            }
            return cls(directory=directory, **metadata)
