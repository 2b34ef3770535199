"""The bundle: a directory with a trained model and everything that is needed to apply it to audio."""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import atomic_directory, read_json, sha256

# Name of the model in the registry and of the service.
MODEL_NAME = "genre-classifier"
# Increase it when earlier code would misread a bundle that is written now.
FORMAT_VERSION = 1

ONNX_FILE, KERAS_FILE, FILTER_BANK_FILE, METADATA_FILE = "model.onnx", "model.keras", "filters.npz", "bundle.json"
# Fields that `stamp` sets. They change no prediction, and the hash does not depend on them.
STAMPED_FIELDS = ("version", "metrics")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained classifier with everything that is needed to apply it to audio.

    Parameters
    ----------
    directory : Path
        Directory of ``model.onnx``, ``filters.npz``, ``bundle.json`` and, optionally, ``model.keras``.
    name : str
        Name in the model registry.
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
    lineage : dict
        Provenance: hashes of manifest, split and parameters, training tracks, MLflow run, git revision.
    version : str or None
        Version in the model registry; None before registration.
    metrics : dict
        Metrics of the evaluation; empty before registration.
    files : dict of str to str
        SHA-256 of each file but ``bundle.json``, by name.

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
    def leaking(self) -> bool:
        """Whether it was trained with a split that has train/test leakage, so that its metrics are biased upwards."""
        return bool(self.lineage.get("leaking"))

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of everything but version, metrics and the Keras file.

        A ``.keras`` file contains the time at which it was written: the same weights saved twice have two hashes.
        """
        metadata = {key: value for key, value in _metadata(self).items() if key not in STAMPED_FIELDS}
        metadata["files"] = {name: self.files[name] for name in (ONNX_FILE, FILTER_BANK_FILE)}
        return hashlib.sha256(_to_json(metadata).encode()).hexdigest()

    @classmethod
    def load(cls, directory: Path | str) -> "Bundle":
        """Read a bundle, and verify the hashes of its files.

        Parameters
        ----------
        directory : Path

        Returns
        -------
        Bundle

        Raises
        ------
        GenreflowError
            `directory` holds no bundle, it is damaged, or its format is not the one of this version of genreflow.
        """
        directory = Path(directory)
        path = directory / METADATA_FILE
        if not path.is_file():
            raise GenreflowError(
                f"{directory}: must be a bundle; got no {METADATA_FILE}. `dvc repro` or `dvc pull` writes the champion."
            )
        try:
            metadata = read_json(path)
            found = metadata.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, "must be a JSON object with a format", f"{type(error).__name__}: {error}") from error
        if found != FORMAT_VERSION:
            raise GenreflowError(
                f"{path}: format must be {FORMAT_VERSION}; got {found}. Use the version of genreflow that wrote it, or "
                "train again."
            )
        try:
            for name in (ONNX_FILE, FILTER_BANK_FILE):
                _check_file(directory / name, metadata["files"][name])
            metadata |= {
                "labels": tuple(metadata["labels"]),
                "spec": FeatureSpec(**metadata["spec"]),
                "bank": FilterBank.load(directory / FILTER_BANK_FILE),
            }
            return cls(directory=directory, **metadata)
        except (KeyError, TypeError, ValueError, OSError, ParameterError) as error:
            raise _damaged(path, "must hold the fields of a bundle", f"{type(error).__name__}: {error}") from error


def write_bundle(
    directory: Path | str,
    *,
    onnx: Path | bytes,
    keras_path: Path | None = None,
    labels: list[str] | tuple[str, ...],
    spec: FeatureSpec,
    bank: FilterBank,
    segment_frames: int,
    segment_hop: int,
    temperature: float,
    abstain_below: float,
    architecture: str,
    name: str = MODEL_NAME,
    lineage: dict[str, Any],
) -> Bundle:
    """Write a bundle atomically, instead of a previous one.

    Parameters
    ----------
    directory : Path
    onnx : Path or bytes
        The model: input float32 (n, segment_frames, n_mels) in [0, 1], output logits float32 (n, n_classes).
    keras_path : Path, optional
        The same model as a ``.keras`` file.
    labels, spec, bank, segment_frames, segment_hop, temperature, abstain_below, architecture, name, lineage
        As in `Bundle`.

    Returns
    -------
    Bundle

    Raises
    ------
    ParameterError
        As `Bundle`; nothing is written then.
    """
    with atomic_directory(Path(directory)) as temporary:
        if isinstance(onnx, bytes):
            (temporary / ONNX_FILE).write_bytes(onnx)
        else:
            shutil.copyfile(onnx, temporary / ONNX_FILE)
        if keras_path is not None:
            shutil.copyfile(keras_path, temporary / KERAS_FILE)
        bank.save(temporary / FILTER_BANK_FILE)
        bundle = Bundle(
            directory=temporary,
            name=name,
            architecture=architecture,
            labels=tuple(labels),
            spec=spec,
            bank=bank,
            segment_frames=int(segment_frames),
            segment_hop=int(segment_hop),
            temperature=float(temperature),
            abstain_below=float(abstain_below),
            lineage=lineage,
            version=None,
            metrics={},
            files={path.name: sha256(path) for path in sorted(temporary.iterdir())},
        )
        (temporary / METADATA_FILE).write_text(_to_json(_metadata(bundle)), encoding="utf-8")
    return Bundle.load(directory)


def stamp(source_dir: Path | str, target_dir: Path | str, *, version: str, metrics: dict[str, Any]) -> Bundle:
    """Copy a bundle, and set version and metrics of the copy; its `hash` stays the same.

    Parameters
    ----------
    source_dir : Path
    target_dir : Path
        May be `source_dir`.
    version : str
    metrics : dict

    Returns
    -------
    Bundle
        The copy.

    Raises
    ------
    GenreflowError
        As `Bundle.load`.
    """
    source = Bundle.load(source_dir)
    with atomic_directory(Path(target_dir)) as temporary:
        for file in source.files:
            if (source.directory / file).exists():
                # copyfile, not copy: files that DVC linked from its cache are read-only, the copies must not be.
                shutil.copyfile(source.directory / file, temporary / file)
        metadata = _metadata(source) | {"version": str(version), "metrics": metrics}
        (temporary / METADATA_FILE).write_text(_to_json(metadata), encoding="utf-8")
    return Bundle.load(target_dir)


def _metadata(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "name": bundle.name,
        "version": bundle.version,
        "architecture": bundle.architecture,
        "labels": list(bundle.labels),
        "spec": bundle.spec.to_dict(),
        "segment_frames": bundle.segment_frames,
        "segment_hop": bundle.segment_hop,
        "temperature": bundle.temperature,
        "abstain_below": bundle.abstain_below,
        "lineage": bundle.lineage,
        "metrics": bundle.metrics,
        "files": bundle.files,
    }


def _to_json(metadata: dict[str, Any]) -> str:
    return json.dumps(_finite(metadata), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """Replace NaN and infinity by None: JSON has neither, and the metric of a genre without tracks may be NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise _damaged(path, "must be there", "no such file")
    found = sha256(path)
    if found != expected:
        raise _damaged(path, f"SHA-256 must be {expected}", found)


def _damaged(path: Path, expected: str, found: str) -> GenreflowError:
    return GenreflowError(
        f"{path}: {expected}; got {found.rstrip('.')}. The bundle is damaged; `dvc repro` or `dvc pull` restores it."
    )
