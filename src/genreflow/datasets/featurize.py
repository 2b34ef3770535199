"""Compute the base log-mel of a manifest's tracks, from audio or imported spectrograms, into a feature store."""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from genreflow.datasets.spectrograms import spectrogram_pieces
from genreflow.features.kept import KeptStates
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.update import StoreReport, update
from genreflow.manifest.manifest import Manifest


def update_features(
    directory: str | os.PathLike,
    manifest: Manifest,
    raw_dir: Path,
    spec: FeatureSpec,
    bank: FilterBank,
    *,
    n_jobs: int = -1,
    scheduler: str | None = None,
    kept: KeptStates | None = None,
    progress: bool = True,
) -> StoreReport:
    """Update the feature store at `directory` to the readable tracks of `manifest`.

    Parameters
    ----------
    directory, n_jobs, scheduler, kept, progress
        See `genreflow.features.update.update`.
    manifest : Manifest
    raw_dir : Path
        Folder that the paths of the tracks are relative to.
    spec : FeatureSpec
        Includes the manifest's `spec_hints`.
    bank : FilterBank
        Filter bank of `spec`.
    """
    tracks = [(track.hash, track) for track in manifest.tracks if track.error is None and track.hash is not None]
    raw_dir = Path(raw_dir).absolute() if scheduler else Path(raw_dir)  # workers have other working directories
    items: Iterable[tuple[str, Any]]
    compute: Callable[[Any], Any]
    if manifest.source == "spectrograms":
        items = tracks
        compute = partial(spectrogram_pieces, raw_dir=raw_dir)
    else:
        # Paths instead of tracks: workers then import only the feature code, in half the time.
        items = ((key, raw_dir / track.path) for key, track in tracks)
        compute = partial(logmel_pieces, logmel=LogMel(spec, bank))
    return update(directory, spec, items, compute, n_jobs=n_jobs, scheduler=scheduler, kept=kept, progress=progress)
