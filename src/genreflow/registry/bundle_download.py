"""Download the bundle of a registered version, and verify it."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion

from genreflow.bundle import Bundle, BundleError
from genreflow.errors import GenreflowError
from genreflow.registry.flavour import find_bundle
from genreflow.registry.version import read_version
from genreflow.tracking.artifacts import artifact_errors
from genreflow.tracking.store import local_path


def download_bundle(client: MlflowClient, entry: ModelVersion, target: Path) -> Path:
    """Copy the files of a version.

    Parameters
    ----------
    client : MlflowClient
    entry : mlflow.entities.model_registry.ModelVersion
    target : Path
        An existing folder.

    Returns
    -------
    Path
        The directory of its bundle.

    Raises
    ------
    GenreflowError
        The files are missing, or differ from those that were registered.
    """
    place = str(local_path(entry.source) or entry.source)
    advice = "restore that folder from a backup, or make another version the champion with `genreflow registry promote`"
    with artifact_errors(
        entry.source, what=f"readable to download version {entry.version} of {entry.name}", advice=advice
    ):
        model = download_artifacts(artifact_uri=entry.source, dst_path=str(target), tracking_uri=client.tracking_uri)
    directory = find_bundle(model)
    try:
        bundle = Bundle.load(directory)
    except BundleError as error:
        file = Path(error.path).relative_to(model)
        raise BundleError(f"{place}/{file}", f"{error.problem} (version {entry.version})", advice) from error
    registered = read_version(entry)
    expected, found = (registered.bundle_hash, registered.content_hash), (bundle.hash, bundle.content_hash)
    if found != expected:
        raise GenreflowError(
            f"{place}: must hold the registered bundle {expected[0][:12]} for version {entry.version} of "
            f"{entry.name}; got {found[0][:12]}: the files were changed; {advice}."
        )
    return directory
