"""The audit of music, or of spectrograms, where they lie; nothing of the project is read or written."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from genreflow.audit.checks import audit
from genreflow.audit.faults import Audit
from genreflow.datasets import folder as folders
from genreflow.datasets.featurize import update_features
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.datasets.importing import existing_folder
from genreflow.datasets.layout import walk
from genreflow.datasets.request import Request
from genreflow.datasets.spectrograms import spectrograms
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest


def audit_directory(
    path: Path,
    *,
    min_seconds: float = 1.0,
    silence_db: float = -60.0,
    clipped_share: float = 0.001,
    near_duplicates: bool = True,
    tracks_csv: Path | None = None,
    draw: Callable[[Audit, Manifest, FeatureStore], None] | None = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> Audit:
    """Audit a folder of music, a folder of spectrograms, or an ``.npz`` of them, where it lies.

    Features are computed into a temporary folder that is deleted at the end. Unlike `ingest` it takes a folder of
    music with a single genre too, since more may be on the way.

    Parameters
    ----------
    path : Path
    min_seconds, silence_db, clipped_share, near_duplicates
        As `audit` takes them.
    tracks_csv : Path or None
        Table of genres and artists; see `genreflow.datasets.track_table`.
    draw : callable, optional
        Called with the audit, the manifest and the feature store while the store is still there, to draw a page.
    n_jobs : int
        As joblib takes it: -1 is all cores.
    progress : bool
        Show bars on stderr.

    Raises
    ------
    ParameterError
        There is no such folder, nothing in it to audit, or nothing that can be read.
    """
    path = Path(path)
    request = Request.with_table(tracks_csv, n_jobs=n_jobs, progress=progress)
    with tempfile.TemporaryDirectory(prefix="genreflow-audit-") as temporary:
        raw, features = Path(temporary, "raw"), Path(temporary, "features")
        if _holds_spectrograms(path):
            raw.mkdir()
            manifest = spectrograms(path, raw, request)
        else:
            raw = existing_folder(path, layout=folders.LAYOUT)
            tracks, notes = folders.placed(raw, request)
            manifest = Manifest.from_tracks("folder", folders.measure(tracks, raw, None, request), notes=notes)
        store = None
        if near_duplicates or draw is not None or manifest.source == "spectrograms":
            spec = dataclasses.replace(FeatureSpec(), **manifest.spec_hints)
            update_features(features, manifest, raw, spec, make_filter_bank(spec), n_jobs=n_jobs, progress=progress)
            store = FeatureStore.open(features)
        report = audit(
            manifest,
            store,
            min_seconds=min_seconds,
            silence_db=silence_db,
            clipped_share=clipped_share,
            near_duplicates=near_duplicates,
            progress=progress,
        )
        if draw is not None:
            draw(report, manifest, store)
        return report


def _holds_spectrograms(path: Path) -> bool:
    if not path.is_dir():
        return path.is_file()
    if walk(path, folders.AUDIO_SUFFIXES)[0]:
        return False
    return bool(any(path.glob("*.npz")) or walk(path, {".png"})[0])
