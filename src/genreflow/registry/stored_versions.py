"""Bundles as versions of a registered MLflow model."""

import re
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from genreflow.bundle import MODEL_NAME, Bundle, stamp
from genreflow.errors import ParameterError
from genreflow.files import temporary_path
from genreflow.registry.bundle_download import download_bundle
from genreflow.registry.flavour import keep_model, log_bundle
from genreflow.registry.params import MAX_NAME, NAME_PATTERN
from genreflow.registry.version import HASH, RECORD, Version, read_version, write_record
from genreflow.registry.version_description import DESCRIPTION, describe_version
from genreflow.tracking.store import ensure_experiment, without_credentials
from genreflow.tracking.summary import add_metrics

CANDIDATE = "candidate"


class StoredVersions:
    """The versions of a registered model in a project's MLflow store.

    Parameters
    ----------
    client : MlflowClient
    root : Path
        Project folder.
    name : str
        Of the registered model.

    Raises
    ------
    ParameterError
        The name is none that a registered model can have here.
    """

    def __init__(self, client: MlflowClient, root: Path | str = ".", name: str = MODEL_NAME) -> None:
        if len(name) > MAX_NAME or not re.search(NAME_PATTERN, name):
            raise ParameterError(
                f"registered model: must be named by at most {MAX_NAME} letters, digits, spaces, dots, hyphens and "
                f"underscores; got {name!r}."
            )
        self.client, self.root, self.name = client, Path(root), name

    def register(self, bundle_dir: Path | str, *, metrics: Mapping[str, float]) -> str:
        """Register a bundle and give its version the alias ``candidate``.

        A model is registered once: registering it again, or another fit with the same weights, updates the metrics of
        its version.

        Parameters
        ----------
        bundle_dir : Path
        metrics : mapping of str to float
            Of its evaluation; NaN and infinite ones are left out. The run that trained it gets them, too.

        Returns
        -------
        version : str

        Raises
        ------
        GenreflowError
            `bundle_dir` holds no valid bundle.
        """
        bundle = Bundle.load(bundle_dir)
        description = describe_version(bundle, metrics)
        if (version := self.find(bundle.hash)) is None:
            version = self._create(bundle, metrics, description)
        else:
            # Of two fits with the same weights, the version documents the first one, whose files it has.
            first = read_version(self.client.get_model_version(self.name, version))
            record = write_record(
                content_hash=first.content_hash, model_id=first.model_id, metrics=metrics, lineage=first.lineage
            )
            self.client.set_model_version_tag(self.name, version, RECORD, record)
            self.client.update_model_version(self.name, version, description)
        self.client.set_registered_model_alias(self.name, CANDIDATE, version)
        entry = self.client.get_model_version(self.name, version)
        add_metrics(self.client, entry.run_id, metrics, model_id=read_version(entry).model_id)
        run_id = bundle.lineage.get("mlflow_run")
        if run_id not in (None, entry.run_id):  # of another fit with the same weights
            add_metrics(self.client, str(run_id), metrics)
        return version

    def versions(self) -> list[Version]:
        """Return all versions, the newest first."""
        models = self.client.search_registered_models(f"name = '{self.name}'")
        aliases = {alias: str(version) for model in models for alias, version in model.aliases.items()}
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        versions = [read_version(entry, aliases) for entry in found]
        return sorted(versions, key=lambda version: -int(version.version))

    def find(self, bundle_hash: str) -> str | None:
        """Return the version of the bundle with a hash; the newest if there are several, None if there is none."""
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.{HASH} = '{bundle_hash}'")
        return max((str(entry.version) for entry in found), key=int, default=None)

    def fetch(self, version: str, target_dir: Path | str) -> Bundle:
        """Download the bundle of a version, with its name, version and metrics added to ``bundle.json``.

        Parameters
        ----------
        version : str
        target_dir : Path
            Replaced as a whole, and only if the bundle could be downloaded.

        Raises
        ------
        GenreflowError
            There is no such version, its files are missing, or they differ from those that were registered.
        """
        entry = self.get(version)
        target = Path(target_dir)
        with temporary_path(target) as temporary:
            temporary.mkdir()
            directory = download_bundle(self.client, entry, temporary)
            return stamp(directory, target, name=self.name, version=version, metrics=read_version(entry).metrics)

    def _create(self, bundle: Bundle, metrics: Mapping[str, float], description: str) -> str:
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name, description=DESCRIPTION)
        experiment = ensure_experiment(self.client, self.root)
        logged = log_bundle(self.client, experiment.experiment_id, bundle, name=self.name)
        record = write_record(
            content_hash=bundle.content_hash,
            model_id=logged.model_id,
            metrics=metrics,
            lineage=bundle.scalar_lineage,
        )
        created = self.client.create_model_version(
            self.name,
            # not "models:/<id>": MLflow looks that up in the store of the process, not in the one of this client
            source=logged.artifact_location,
            run_id=logged.source_run_id,
            tags={HASH: bundle.hash, RECORD: record},
            description=description,
            model_id=logged.model_id,
        )
        keep_model(self.client, logged)
        return str(created.version)

    def get(self, version: str) -> ModelVersion:
        """Return a version as MLflow has it.

        Raises
        ------
        ParameterError
            There is no such version.
        """
        known = [entry.version for entry in self.versions()]
        if str(version) not in known:
            raise ParameterError(
                f"{without_credentials(self.client.tracking_uri)}: the version of {self.name} must be one of "
                f"{', '.join(known) or '(none)'}; got {version}."
            )
        return self.client.get_model_version(self.name, str(version))
