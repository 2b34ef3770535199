"""The registry: bundles as versions of one registered MLflow model, one of them the champion."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion

from genreflow.bundle import MODEL_NAME, Bundle, BundleError, stamp
from genreflow.errors import GenreflowError, ParameterError
from genreflow.files import temporary_path
from genreflow.registry.flavour import find_bundle, keep_model, log_bundle
from genreflow.registry.gate import GateReport
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer
from genreflow.registry.track_accuracy import read_track_accuracy
from genreflow.registry.version import GATED, HASH, RECORD, ROLLED_BACK, Version, read_version, write_record
from genreflow.registry.version_description import DESCRIPTION, describe_version
from genreflow.tracking.artifacts import artifact_errors
from genreflow.tracking.store import ensure_experiment, local_path, open_client, without_credentials
from genreflow.tracking.summary import CHAMPION as CHAMPION_PARAGRAPH
from genreflow.tracking.summary import add_metrics, describe_experiment, link_to_run

logger = logging.getLogger(__name__)

NAME = MODEL_NAME
CANDIDATE, CHAMPION = "candidate", "champion"
MAX_DESCRIPTION = 5000  # MLflow's [characters]


class Registry:
    """The versions of the genre classifier in a project's MLflow model registry.

    Parameters
    ----------
    client : MlflowClient
    root : Path
        Project folder.
    """

    def __init__(self, client: MlflowClient, root: Path | str = ".") -> None:
        self.client, self.root = client, Path(root)

    @classmethod
    def open(cls, root: Path | str = ".") -> "Registry":
        """Open the registry of the project in `root`.

        Raises
        ------
        GenreflowError
            The MLflow server does not respond.
        """
        return cls(open_client(root), root)

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
            first = read_version(self.client.get_model_version(NAME, version))
            record = write_record(
                content_hash=first.content_hash, model_id=first.model_id, metrics=metrics, lineage=first.lineage
            )
            self.client.set_model_version_tag(NAME, version, RECORD, record)
            self.client.update_model_version(NAME, version, description)
        self.client.set_registered_model_alias(NAME, CANDIDATE, version)
        entry = self.client.get_model_version(NAME, version)
        add_metrics(self.client, entry.run_id, metrics, model_id=read_version(entry).model_id)
        run_id = bundle.lineage.get("mlflow_run")
        if run_id not in (None, entry.run_id):  # of another fit with the same weights
            add_metrics(self.client, str(run_id), metrics)
        return version

    def versions(self) -> list[Version]:
        """Return all versions, the newest first."""
        models = self.client.search_registered_models(f"name = '{NAME}'")
        aliases = {alias: str(version) for model in models for alias, version in model.aliases.items()}
        found = self.client.search_model_versions(f"name = '{NAME}'", max_results=10_000)
        versions = [read_version(entry, aliases) for entry in found]
        return sorted(versions, key=lambda version: -int(version.version))

    def find(self, bundle_hash: str) -> str | None:
        """Return the version of the bundle with a hash; the newest if there are several, None if there is none."""
        found = self.client.search_model_versions(f"name = '{NAME}' and tags.{HASH} = '{bundle_hash}'")
        return max((str(entry.version) for entry in found), key=int, default=None)

    def fetch(self, version: str, target_dir: Path | str) -> Bundle:
        """Download the bundle of a version, with version and metrics added to its ``bundle.json``.

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
        entry = self._get(version)
        target = Path(target_dir)
        with temporary_path(target) as temporary:
            temporary.mkdir()
            directory = self._download(entry, temporary)
            return stamp(directory, target, version=version, metrics=read_version(entry).metrics)

    def fetch_champion(self, pointer: Pointer, target_dir: Path | str, *, packaged: Path | str | None = None) -> Bundle:
        """Download the champion's bundle, as `fetch` does.

        Parameters
        ----------
        pointer : Pointer
        target_dir : Path
        packaged : Path, optional
            Directory that may hold the champion already. If it does, it is copied where the registry's copy is damaged
            or missing.

        Raises
        ------
        GenreflowError
            This registry does not have it, or its copy is damaged.
        """
        try:
            return self.fetch(self._find_champion(pointer.champion), target_dir)
        except GenreflowError as error:
            bundle = None if packaged is None else _load_sound(packaged)
            if bundle is None or bundle.hash != pointer.champion.bundle_hash:
                raise
            logger.warning("%s The sound copy in %s is used instead.", error, packaged)
            return stamp(
                bundle.directory, target_dir, version=bundle.version or pointer.champion.version, metrics=bundle.metrics
            )

    def promote(self, version: str, pointer_path: Path | str, *, reason: str = "promoted by hand") -> Pointer:
        """Make a version the champion, in the pointer file and by the registry's alias ``champion``.

        Returns
        -------
        Pointer
            The content of `pointer_path`, which is not written if the bundle is the champion already.

        Raises
        ------
        ParameterError
            There is no such version.
        """
        entry = self._get(version)
        champion = Champion(version=str(entry.version), bundle_hash=entry.tags[HASH], reason=reason)
        pointer = read_pointer(pointer_path)
        if pointer is None or pointer.champion.bundle_hash != champion.bundle_hash:
            pointer = pointer.advance(champion) if pointer else Pointer(name=NAME, champion=champion)
        if ROLLED_BACK in entry.tags:
            self.client.delete_model_version_tag(NAME, version, ROLLED_BACK)
        return self._install(pointer, pointer_path, version)

    def rollback(self, pointer_path: Path | str) -> Pointer:
        """Make the previous champion the champion again; repeated calls go further back.

        The gate does not promote the version that was rolled back again.

        Raises
        ------
        GenreflowError
            There is no previous champion, or this registry does not have it.
        """
        present = read_pointer(pointer_path)
        if present is None and Path(pointer_path).exists():
            raise GenreflowError(
                f"{pointer_path}: a rollback needs a champion; the gate has promoted none. "
                "`genreflow registry promote VERSION` makes one."
            )
        if present is None:
            raise GenreflowError(f"{pointer_path}: must exist for a rollback; `dvc repro` makes the first champion.")
        pointer = present.roll_back()
        version = self._find_champion(pointer.champion)
        if former := self.find(present.champion.bundle_hash):
            self.client.set_model_version_tag(NAME, former, ROLLED_BACK, "true")
        return self._install(pointer, pointer_path, version)

    def was_rolled_back(self, version: str) -> bool:
        """Return whether a version was rolled back and not promoted by hand since."""
        return ROLLED_BACK in self._get(version).tags

    def times_split_used(self, test_split_hash: str, version: str) -> int:
        """Return how many versions the gate has evaluated on a test split, `version` included."""
        gated = {entry.version for entry in self.versions() if test_split_hash in entry.gated}
        return len(gated | {str(version)})

    def record_gate(self, version: str, test_split_hash: str, report: GateReport) -> None:
        """Tag a version with the gate's decision on a test split, and add the reason to its description."""
        decision = "promoted" if report.promote else "not promoted"
        if report.rule != "unchanged":
            self.client.set_model_version_tag(NAME, version, f"{GATED}{test_split_hash}", decision)
            description = self.client.get_model_version(NAME, version).description
            self.client.update_model_version(NAME, version, f"{description} {report.reason}"[:MAX_DESCRIPTION])
        else:
            self._describe_champion(version)  # its metrics may be new

    def _install(self, pointer: Pointer, path: Path | str, version: str) -> Pointer:
        # The file last, since it decides: an interrupted call can be repeated.
        self.client.set_registered_model_alias(NAME, CHAMPION, version)
        self._describe_champion(version)
        if read_pointer(path) != pointer:
            write_pointer(pointer, path)
        return pointer

    def _describe_champion(self, version: str) -> None:
        """Write the first paragraph of the experiment's description."""
        entry = self.client.get_model_version(NAME, version)
        measured = read_track_accuracy(read_version(entry).metrics)
        experiment_id = ensure_experiment(self.client, self.root).experiment_id
        link = link_to_run(experiment_id, entry.run_id, f"version {version}")
        text = f"{link}, {measured.headline}. {measured.comparison}" if measured else link
        describe_experiment(self.client, experiment_id, CHAMPION_PARAGRAPH, text.rstrip())

    def _find_champion(self, champion: Champion) -> str:
        if (version := self.find(champion.bundle_hash)) is None:
            raise GenreflowError(
                f"{without_credentials(self.client.tracking_uri)}: must have version {champion.version} of {NAME} with "
                f"the bundle {champion.bundle_hash[:12]}; set MLFLOW_TRACKING_URI to the registry that has it."
            )
        return version

    def _download(self, entry: ModelVersion, target: Path) -> Path:
        """Copy the files of a version to `target`, and return the directory of its bundle, which is verified."""
        place = str(local_path(entry.source) or entry.source)
        advice = (
            "restore that folder from a backup, or make another version the champion with `genreflow registry promote`"
        )
        with artifact_errors(
            entry.source, what=f"readable to download version {entry.version} of {NAME}", advice=advice
        ):
            model = download_artifacts(
                artifact_uri=entry.source, dst_path=str(target), tracking_uri=self.client.tracking_uri
            )
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
                f"{NAME}; got {found[0][:12]}: the files were changed; {advice}."
            )
        return directory

    def _create(self, bundle: Bundle, metrics: Mapping[str, float], description: str) -> str:
        if not self.client.search_registered_models(f"name = '{NAME}'"):
            self.client.create_registered_model(NAME, description=DESCRIPTION)
        experiment = ensure_experiment(self.client, self.root)
        logged = log_bundle(self.client, experiment.experiment_id, bundle)
        record = write_record(
            content_hash=bundle.content_hash,
            model_id=logged.model_id,
            metrics=metrics,
            lineage=bundle.scalar_lineage,
        )
        created = self.client.create_model_version(
            NAME,
            # not "models:/<id>": MLflow looks that up in the store of the process, not in the one of this client
            source=logged.artifact_location,
            run_id=logged.source_run_id,
            tags={HASH: bundle.hash, RECORD: record},
            description=description,
            model_id=logged.model_id,
        )
        keep_model(self.client, logged)
        return str(created.version)

    def _get(self, version: str) -> ModelVersion:
        known = [entry.version for entry in self.versions()]
        if str(version) not in known:
            raise ParameterError(
                f"{without_credentials(self.client.tracking_uri)}: the version of {NAME} must be one of "
                f"{', '.join(known) or '(none)'}; got {version}."
            )
        return self.client.get_model_version(NAME, str(version))


def _load_sound(directory: Path | str) -> Bundle | None:
    try:
        return Bundle.load(directory)
    except GenreflowError:
        return None
