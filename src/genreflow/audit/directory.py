"""The audit of a folder of music, or of spectrograms, outside of a project; nothing in it is changed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from genreflow.audio.formats import AUDIO_SUFFIXES
from genreflow.audit.faults import Audit
from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.datasets import folder as folders
from genreflow.datasets.featurize import update_features
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.datasets.importing import require_folder
from genreflow.datasets.layout import find_files
from genreflow.datasets.options import IngestOptions, read_table
from genreflow.datasets.spectrograms import spectrograms
from genreflow.errors import ParameterError
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest


def audit_directory(
    path: Path,
    params: AuditParams,
    *,
    tracks_csv: Path | None = None,
    use_features: Callable[[Audit, Manifest, FeatureStore], None] | None = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> Audit:
    """Audit a folder of music, a folder of spectrograms, or an ``.npz`` of spectrograms.

    Features are computed in a temporary folder. Unlike `ingest`, a folder of music may have a single genre.

    Parameters
    ----------
    path : Path
    params : AuditParams
    tracks_csv : Path or None
        Table of genres and artists; see `genreflow.datasets.track_table`.
    use_features : callable, optional
        Called with audit, manifest and feature store while the store exists, for example to draw a page.
    n_jobs : int
        Number of parallel jobs, as in joblib: -1 means one per core.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    ParameterError
        `path` does not exist, or holds nothing that can be audited.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() != ".npz":
        raise ParameterError(
            f"{path}: must be a folder of music, a folder of spectrograms, or an .npz of them; got another file. "
            "`genreflow classify` takes single tracks."
        )
    with tempfile.TemporaryDirectory(prefix="genreflow-audit-") as temporary:
        manifest, raw = _read_manifest(path, Path(temporary, "raw"), tracks_csv, n_jobs=n_jobs, progress=progress)
        if not (params.near_duplicates or use_features is not None or manifest.source == "spectrograms"):
            return audit_manifest(manifest, None, params, progress=progress)
        spec = FeatureSpec().replace(**manifest.spec_hints)
        features = Path(temporary, "features")
        update_features(features, manifest, raw, spec, make_filter_bank(spec), n_jobs=n_jobs, progress=progress)
        store = FeatureStore.open(features)
        audit = audit_manifest(manifest, store, params, progress=progress)
        if use_features is not None:
            use_features(audit, manifest, store)
        return audit


def _read_manifest(
    path: Path, raw: Path, tracks_csv: Path | None, *, n_jobs: int, progress: bool
) -> tuple[Manifest, Path]:
    """Return the manifest of a folder or ``.npz``, and the folder of its raw data: `raw`, or `path` itself."""
    options = IngestOptions(n_jobs=n_jobs, progress=progress, table=read_table(tracks_csv))
    if _is_spectrograms(path):
        raw.mkdir()
        return spectrograms(path, raw, options), raw
    path = require_folder(path, layout=folders.LAYOUT)
    tracks, notes = folders.list_tracks(path, options)
    measured = folders.measure_tracks(tracks, path, options)
    return Manifest.from_tracks("folder", measured, notes=notes), path


def _is_spectrograms(path: Path) -> bool:
    if not path.is_dir():
        return path.is_file()
    if find_files(path, AUDIO_SUFFIXES).names:
        return False
    return bool(any(path.glob("*.npz")) or find_files(path, {".png"}).names)
