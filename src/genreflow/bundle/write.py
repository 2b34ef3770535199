"""Write bundles: a new one, or a copy with the name and version of a registered model."""

import shutil
from pathlib import Path
from typing import Any

from genreflow.bundle.bundle import UNREGISTERED, Bundle
from genreflow.bundle.drift_reference import DriftReference
from genreflow.bundle.prototypes import Familiarity
from genreflow.bundle_files import (
    FILTER_BANK_FILE,
    KERAS_FILE,
    ONNX_FILE,
    PROTOTYPES_FILE,
    REFERENCE_FILE,
    write_metadata,
)
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import atomic_directory, sha256


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
    familiarity: Familiarity | None = None,
    architecture: str,
    embedder: dict[str, Any] | None = None,
    lineage: dict[str, Any],
) -> Bundle:
    """Write a bundle atomically, instead of a previous one.

    Parameters
    ----------
    directory : Path
    onnx : Path or bytes
        The model: input float32 (n, segment_frames, n_mels) in [0, 1], output ``logits`` float32 (n, n_classes) and,
        where `familiarity` is given, ``embeddings`` float32 (n, size).
    keras_path : Path, optional
        The same model as a ``.keras`` file, without its embedder.
    labels, spec, bank, segment_frames, segment_hop, temperature, abstain_below, familiarity
        As in `Bundle`.
    architecture, embedder, lineage
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
        if familiarity is not None:
            familiarity.save(temporary / PROTOTYPES_FILE)
        bundle = Bundle(
            directory=temporary,
            architecture=architecture,
            labels=tuple(labels),
            spec=spec,
            bank=bank,
            segment_frames=int(segment_frames),
            segment_hop=int(segment_hop),
            temperature=float(temperature),
            abstain_below=float(abstain_below),
            familiarity=familiarity,
            embedder=embedder,
            lineage=lineage,
            files={path.name: sha256(path) for path in sorted(temporary.iterdir())},
            **UNREGISTERED,
        )
        write_metadata(temporary, bundle.to_metadata())
    return Bundle.load(directory)


def add_reference(source_dir: Path | str, target_dir: Path | str, reference: DriftReference) -> Bundle:
    """Copy a bundle, and add a drift reference to the copy; its `hash` stays the same.

    Parameters
    ----------
    source_dir : Path
    target_dir : Path
        May be `source_dir`.
    reference : DriftReference
        Of the bundle's model.

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
        _copy_files(source, temporary)
        reference.save(temporary / REFERENCE_FILE)
        files = source.files | {REFERENCE_FILE: sha256(temporary / REFERENCE_FILE)}
        write_metadata(temporary, source.to_metadata() | {"files": files})
    return Bundle.load(target_dir)


def stamp(
    source_dir: Path | str, target_dir: Path | str, *, name: str | None = None, version: str, metrics: dict[str, Any]
) -> Bundle:
    """Copy a bundle, and set name, version and metrics of the copy; its `hash` stays the same.

    Parameters
    ----------
    source_dir : Path
    target_dir : Path
        May be `source_dir`.
    name : str, optional
        Of the registered model; by default that of `source_dir`.
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
        _copy_files(source, temporary)
        registered = {"name": name or source.name, "version": str(version), "metrics": metrics}
        write_metadata(temporary, source.to_metadata() | registered)
    return Bundle.load(target_dir)


def _copy_files(source: Bundle, directory: Path) -> None:
    for file in source.files:
        if (source.directory / file).exists():
            # copyfile, not copy: files that DVC linked from its cache are read-only, the copies must not be.
            shutil.copyfile(source.directory / file, directory / file)
