"""Base log-mel of a manifest's tracks, from audio or from imported spectrograms, into a feature store."""

import os
from functools import partial
from pathlib import Path

from genreflow.datasets.spectrograms import spectrogram_pieces
from genreflow.features.logmel import LogMel, logmel_pieces
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.features.store import StoreReport, update
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
    progress: bool = True,
) -> StoreReport:
    """Bring the feature store at `directory` in line with the tracks of `manifest` that can be read.

    Parameters
    ----------
    directory : path
        As `features.store.update` takes it; so are `n_jobs`, `scheduler` and `progress`.
    manifest : Manifest
    raw_dir : Path
        What the tracks' paths are below.
    spec : FeatureSpec
        With the manifest's `spec_hints` in it.
    bank : FilterBank
        Of `spec`.
    """
    tracks = (track for track in manifest.tracks if track.error is None)
    raw_dir = Path(raw_dir).absolute() if scheduler else Path(raw_dir)  # a cluster's workers were started elsewhere
    if manifest.source == "spectrograms":
        items = ((track.hash, track) for track in tracks)
        compute = partial(spectrogram_pieces, raw_dir=raw_dir)
    else:
        # Neither tracks nor this module: a worker that loads just the features is ready in half the time.
        items = ((track.hash, raw_dir / track.path) for track in tracks)
        compute = partial(logmel_pieces, logmel=LogMel(spec, bank))
    return update(directory, spec, items, compute, n_jobs=n_jobs, scheduler=scheduler, progress=progress)
