"""The bundle: the one thing that leaves training, and all that the service needs."""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from genreflow.errors import GenreflowError, ParameterError
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import atomic_directory, sha256

# Raise it when a bundle written now could not be read rightly by the code of yesterday.
FORMAT_VERSION = 1

ONNX, KERAS, FILTERS, MANIFEST = "model.onnx", "model.keras", "filters.npz", "bundle.json"
# What `register` and `package` write on a copy: it says which bundle this is, not what it answers.
STAMPED = ("version", "metrics")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A trained classifier with everything needed to apply it to audio.

    Parameters
    ----------
    directory : Path
        Where ``model.onnx``, ``filters.npz``, ``bundle.json`` and, unless it was left out, ``model.keras`` are.
    name : str
        Name in the registry.
    architecture : str
    labels : tuple of str
        Genres, in the order of the model's outputs.
    spec : FeatureSpec
    bank : FilterBank
    segment_frames, segment_hop : int > 0 [frames]
        Length of the model's input and distance between the starts of neighbouring segments.
    temperature : float > 0
        The logits are divided by it before the softmax.
    abstain_below : float in [0, 1]
        The classifier names no genre when its highest probability is lower.
    lineage : dict
        What it came from: hashes of manifest, split and params, MLflow run, git revision.
    version : str or None
        Version in the registry, once stamped.
    metrics : dict
        Figures of the evaluation, once stamped.
    files : dict of str to str
        SHA-256 of each file beside ``bundle.json``.
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
    lineage: dict
    version: str | None
    metrics: dict
    files: dict[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ParameterError(f"A bundle's labels are {list(self.labels)}; at least two different ones are needed.")
        if self.segment_frames < 1 or self.segment_hop < 1:
            raise ParameterError(
                f"A bundle's segment_frames and segment_hop are {self.segment_frames} and {self.segment_hop}; "
                "both must be at least 1."
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ParameterError(f"A bundle's temperature is {self.temperature}; it must be greater than 0.")
        if not 0 <= self.abstain_below <= 1:
            raise ParameterError(f"A bundle's abstain_below is {self.abstain_below}; it must lie in [0, 1].")
        bands, bins = self.spec.n_mels, 1 + self.spec.n_fft // 2
        if self.bank.mel.shape != (bands, bins) or self.bank.window.shape != (self.spec.n_fft,):
            raise ParameterError(
                f"A bundle's filter bank has the shapes {self.bank.mel.shape} and {self.bank.window.shape}; "
                f"its spec asks for {(bands, bins)} and {(self.spec.n_fft,)}."
            )

    @property
    def onnx_path(self) -> Path:
        return self.directory / ONNX

    @property
    def keras_path(self) -> Path:
        return self.directory / KERAS

    @property
    def leaking(self) -> bool:
        """Whether it was made with a split that leaks, so that its figures flatter."""
        return bool(self.lineage.get("leaking"))

    @property
    def hash(self) -> str:
        """SHA-256 of what it answers and where it came from; version, metrics and the Keras file do not enter it.

        (A ``.keras`` file holds the time of its writing, so that the same weights saved twice differ.)
        """
        manifest = {key: value for key, value in _manifest(self).items() if key not in STAMPED}
        manifest["files"] = {name: self.files[name] for name in (ONNX, FILTERS)}
        return hashlib.sha256(_dump(manifest).encode()).hexdigest()

    @classmethod
    def load(cls, directory: Path | str) -> "Bundle":
        """Read a bundle and check that its files are the ones that were written.

        Raises
        ------
        GenreflowError
            No bundle is there, it is damaged, or a newer genreflow wrote it.
        """
        directory = Path(directory)
        path = directory / MANIFEST
        if not path.is_file():
            raise GenreflowError(
                f"{directory} holds no bundle ({MANIFEST} is missing); `dvc repro` or `dvc pull` brings the champion."
            )
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            written_by = manifest.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, "is not a bundle's manifest") from error
        if written_by != FORMAT_VERSION:
            raise GenreflowError(
                f"{path} has the format {written_by}; this genreflow reads format {FORMAT_VERSION}: use the release "
                "that wrote it, or train again."
            )
        try:
            files = manifest["files"]
            for name in (ONNX, FILTERS):
                if not (directory / name).is_file():
                    raise _damaged(directory / name, "is missing")
                if sha256(directory / name) != files[name]:
                    raise _damaged(directory / name, f"is not the file that {MANIFEST} was written with")
            manifest |= {
                "labels": tuple(manifest["labels"]),
                "spec": FeatureSpec(**manifest["spec"]),
                "bank": FilterBank.load(directory / FILTERS),
            }
            return cls(directory=directory, **manifest)
        except (KeyError, TypeError, ValueError, OSError, ParameterError) as error:
            raise _damaged(path, f"cannot be read ({error})") from error


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
    name: str = "genre-classifier",
    lineage: dict,
) -> Bundle:
    """Write a bundle; `directory` appears complete or not at all, and replaces one that was there.

    Parameters
    ----------
    directory : Path
    onnx : Path or bytes
        The model: input ``float32 (n, segment_frames, n_mels)`` in [0, 1], output logits ``float32 (n, len(labels))``.
    keras_path : Path, optional
        The same model as a ``.keras`` file.
    labels, spec, bank, segment_frames, segment_hop, temperature, abstain_below, architecture, name, lineage
        See `Bundle`.

    Returns
    -------
    Bundle

    Raises
    ------
    ParameterError
        A value is out of range or does not fit the others.
    """
    with atomic_directory(Path(directory)) as temporary:
        if isinstance(onnx, bytes):
            (temporary / ONNX).write_bytes(onnx)
        else:
            shutil.copyfile(onnx, temporary / ONNX)
        if keras_path is not None:
            shutil.copyfile(keras_path, temporary / KERAS)
        bank.save(temporary / FILTERS)
        written = Bundle(
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
        (temporary / MANIFEST).write_text(_dump(_manifest(written)), encoding="utf-8")
    return Bundle.load(directory)


def stamp(source_dir: Path | str, target_dir: Path | str, *, version: str, metrics: dict) -> Bundle:
    """Copy a bundle and stamp the copy with its version and metrics; the copy has the same `hash`.

    Raises
    ------
    GenreflowError
        `source_dir` holds no sound bundle.
    """
    source = Bundle.load(source_dir)
    with atomic_directory(Path(target_dir)) as temporary:
        for file in source.files:
            if (source.directory / file).exists():
                # copyfile, not copy: files linked from DVC's cache are read-only, the copy shall not be.
                shutil.copyfile(source.directory / file, temporary / file)
        manifest = _manifest(source) | {"version": str(version), "metrics": metrics}
        (temporary / MANIFEST).write_text(_dump(manifest), encoding="utf-8")
    return Bundle.load(target_dir)


def _manifest(bundle: Bundle) -> dict:
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


def _dump(manifest: dict) -> str:
    return json.dumps(_finite(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """NaN and infinity as null: they are no JSON, and a metric of an absent genre may well be NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _damaged(path: Path, what: str) -> GenreflowError:
    return GenreflowError(f"{path} {what}: the bundle is damaged; `dvc repro` or `dvc pull` writes it anew.")
