"""The bundle: a directory with a trained model and everything that is needed to apply it to audio."""

import hashlib
import json
import math
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import atomic_directory, sha256

# Name of the model in the registry and of the service.
MODEL_NAME = "genre-classifier"
# Increase it when earlier code would misread a bundle that is written now, or when a field is added or removed.
FORMAT_VERSION = 3

ONNX_FILE, KERAS_FILE, FILTER_BANK_FILE, METADATA_FILE = "model.onnx", "model.keras", "filters.npz", "bundle.json"
# What identifies a model: what decides its predictions, and the tracks that it has seen. The rest of its provenance
# (run, revision, hashes of parameters and data) differs between two fits that give the same weights.
IDENTITY_FIELDS = (
    "format",
    "name",
    "architecture",
    "labels",
    "spec",
    "segment_frames",
    "segment_hop",
    "temperature",
    "abstain_below",
)
# Key of the lineage: SHA-256 of the weights, by which two exports of them are the same model. Their ONNX files differ:
# the exporter works through sets, in whose order Python puts it by chance.
WEIGHTS = "weights_hash"
IDENTITY_LINEAGE = ("leaking", "train_tracks", "valid_tracks", WEIGHTS)


class BundleError(GenreflowError):
    """A bundle that is missing, damaged, or of another format.

    Parameters
    ----------
    path : Path or str
        The file or directory at fault; a str if it is a URI.
    problem : str
        What it must be, and what it is.
    advice : str
        What to do.
    """

    def __init__(self, path: Path | str, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}; {advice}.")
        self.path, self.problem, self.advice = path, problem, advice

    def __reduce__(self) -> tuple[type["BundleError"], tuple[Path | str, str, str]]:
        return type(self), (self.path, self.problem, self.advice)


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
        differ: where the lineage has the hash of the weights, that stands for the ONNX file.
        """
        metadata = _metadata(self)
        identity = {name: metadata[name] for name in IDENTITY_FIELDS}
        identity["lineage"] = {name: self.lineage[name] for name in IDENTITY_LINEAGE if name in self.lineage}
        files = (FILTER_BANK_FILE,) if WEIGHTS in self.lineage else (ONNX_FILE, FILTER_BANK_FILE)
        identity["files"] = {name: self.files[name] for name in files}
        return _sha256(_to_json(identity))

    @property
    def content_hash(self) -> str:
        """SHA-256, in hex, of everything but `version` and `metrics`, which `stamp` sets."""
        return _sha256(_to_json(_metadata(self) | {"version": None, "metrics": {}}))

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
        path = directory / METADATA_FILE
        metadata = _read_metadata(path)
        try:
            names = [ONNX_FILE, FILTER_BANK_FILE]
            if (directory / KERAS_FILE).exists():  # it may be left out: the service does not load it
                names.append(KERAS_FILE)
            for name in names:
                _check_file(directory / name, metadata["files"].get(name))
            metadata |= {
                "labels": tuple(metadata["labels"]),
                "spec": FeatureSpec(**metadata["spec"]),
                "bank": FilterBank.load(directory / FILTER_BANK_FILE),
            }
            return cls(directory=directory, **metadata)
        except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile, ParameterError) as error:
            raise _damaged(path, "must hold the fields of a bundle", _describe(error)) from error


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
    embedder: dict[str, Any] | None = None,
    lineage: dict[str, Any],
) -> Bundle:
    """Write a bundle atomically, instead of a previous one.

    Parameters
    ----------
    directory : Path
    onnx : Path or bytes
        The model: input float32 (n, segment_frames, n_mels) in [0, 1], output logits float32 (n, n_classes).
    keras_path : Path, optional
        The same model as a ``.keras`` file, without its embedder.
    labels, spec, bank, segment_frames, segment_hop, temperature, abstain_below, architecture, name, embedder, lineage
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
            embedder=embedder,
            lineage=lineage,
            version=None,
            metrics={},
            files={path.name: sha256(path) for path in sorted(temporary.iterdir())},
        )
        _write_metadata(temporary, _metadata(bundle))
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
        _write_metadata(temporary, _metadata(source) | {"version": str(version), "metrics": metrics})
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
        "embedder": bundle.embedder,
        "lineage": bundle.lineage,
        "metrics": bundle.metrics,
        "files": bundle.files,
    }


def _write_metadata(directory: Path, metadata: dict[str, Any]) -> None:
    metadata = json.loads(_to_json(metadata))  # as it will be read: keys are text, tuples are lists
    text = _to_json(metadata | {"checksum": _sha256(_to_json(metadata))})
    (directory / METADATA_FILE).write_text(text, encoding="utf-8")


def _read_metadata(path: Path) -> dict[str, Any]:
    """Return the fields of ``bundle.json`` without ``format`` and ``checksum``, which are verified."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        problem = f"must be a bundle; got no {METADATA_FILE}"
        raise BundleError(path.parent, problem, "`dvc repro` or `dvc pull` writes the champion") from None
    except OSError as error:
        raise _damaged(path, "must be readable", _describe(error)) from error
    try:
        metadata = json.loads(content)
        found = metadata["format"]
        checksum = metadata.pop("checksum", None)
        expected = _sha256(_to_json(metadata))
        # The bytes are compared, too: other bytes can be the same JSON, for example 1E-5 and 1e-5.
        intact = checksum == expected and content == _to_json(metadata | {"checksum": expected}).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, "must be a JSON object with a format", _describe(error)) from error
    if found != FORMAT_VERSION and not isinstance(found, bool) and isinstance(found, int):
        raise BundleError(
            path,
            f"format must be {FORMAT_VERSION}; got {found}, of another version of genreflow",
            "use that version, or run `dvc repro`, which trains and packages again",
        )
    if not intact:
        raise _damaged(path, "checksum must be that of its content", _shorten(checksum))
    del metadata["format"]
    return metadata


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shorten(value: object) -> str:
    return str(value)[:64]


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _to_json(metadata: dict[str, Any]) -> str:
    return json.dumps(_finite(metadata), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """Replace NaN and infinity by None: JSON has neither, and the metric of a genre without tracks may be NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_file(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise _damaged(path, "must be there", "no such file")
    if expected is None:
        raise _damaged(path, f"must have a SHA-256 in {METADATA_FILE}", "none")
    found = sha256(path)
    if found != expected:
        raise _damaged(path, f"SHA-256 must be {expected}", found)


def _damaged(path: Path, expected: str, found: str) -> BundleError:
    problem = f"{expected}; got {found.rstrip('.')}: the bundle is damaged"
    return BundleError(path, problem, "`dvc repro` restores it, or `dvc checkout --force` from DVC's cache")
