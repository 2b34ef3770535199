"""The registry: bundles as versions of one MLflow model, and which of them is the champion."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from genreflow.bundle import Bundle, stamp
from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.flavour import find_bundle, log_bundle
from genreflow.registry.gate import GateReport
from genreflow.registry.model_card import DESCRIPTION, model_card
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer
from genreflow.registry.version import GATED, HASH, LINEAGE, METRIC, WITHDRAWN, Version, read_version
from genreflow.tracking.store import ensure_experiment, open_client

NAME = "genre-classifier"
CANDIDATE, CHAMPION = "candidate", "champion"


class Registry:
    """The versions of the genre classifier in a project's MLflow store.

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
        return cls(open_client(root), root)

    def register(self, bundle_dir: Path | str, *, metrics: Mapping[str, float]) -> str:
        """Put a bundle into the registry as its ``candidate``.

        The same bundle is registered once: a second time its version gets the new figures and no copy is made.

        Parameters
        ----------
        bundle_dir : Path
        metrics : mapping of str to float
            Figures of its evaluation, those that exist (no NaN).

        Returns
        -------
        str
            Its version.

        Raises
        ------
        GenreflowError
            `bundle_dir` holds no sound bundle.
        """
        bundle = Bundle.load(bundle_dir)
        tags = {f"{METRIC}{name}": f"{value:.6g}" for name, value in metrics.items() if math.isfinite(value)}
        if (version := self.find(bundle.hash)) is None:
            tags |= {HASH: bundle.hash, "architecture": bundle.architecture, "labels": ", ".join(bundle.labels)}
            lineage = {name: value for name, value in bundle.lineage.items() if isinstance(value, str | int | float)}
            tags |= {f"{LINEAGE}{name}": str(value) for name, value in lineage.items()}
            version = self._create(bundle, tags, model_card(bundle, metrics))
        else:
            for key, value in tags.items():
                self.client.set_model_version_tag(NAME, version, key, value)
            self.client.update_model_version(NAME, version, model_card(bundle, metrics))
        self.client.set_registered_model_alias(NAME, CANDIDATE, version)
        return version

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        models = self.client.search_registered_models(f"name = '{NAME}'")
        aliases = {alias: str(version) for model in models for alias, version in model.aliases.items()}
        found = self.client.search_model_versions(f"name = '{NAME}'", max_results=10_000)
        versions = [read_version(entry, aliases) for entry in found]
        return sorted(versions, key=lambda version: -int(version.version))

    def find(self, bundle_hash: str) -> str | None:
        """The version that holds the bundle with this hash, the newest should there be two."""
        found = self.client.search_model_versions(f"name = '{NAME}' and tags.{HASH} = '{bundle_hash}'")
        return max((str(entry.version) for entry in found), key=int, default=None)

    def fetch(self, version: str, target_dir: Path | str) -> Bundle:
        """Write the bundle of `version` to `target_dir`, stamped with version and metrics, whole or not at all.

        Raises
        ------
        GenreflowError
            There is no such version, its files are gone, or they are not the ones that were registered.
        """
        entry = self._get(version)
        target = Path(target_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            try:
                model = download_artifacts(
                    artifact_uri=self.client.get_model_version_download_uri(NAME, version),
                    dst_path=temporary,
                    tracking_uri=self.client.tracking_uri,
                )
            except (MlflowException, OSError) as error:
                raise GenreflowError(
                    f"The files of version {version} of {NAME} cannot be read from {entry.source} "
                    f"({' '.join(str(error).split())}); register the bundle again, or restore that folder."
                ) from error
            directory = find_bundle(model)
            if (was := Bundle.load(directory).hash) != entry.tags.get(HASH):
                raise GenreflowError(
                    f"Version {version} of {NAME} holds a bundle with the hash {was[:12]}, where "
                    f"{entry.tags.get(HASH, 'none')[:12]} was registered; the registry's files were changed."
                )
            return stamp(directory, target, version=version, metrics=read_version(entry).metrics)

    def fetch_champion(self, pointer: Pointer, target_dir: Path | str) -> Bundle:
        """Write the champion's bundle to `target_dir`, as `fetch` does.

        Raises
        ------
        GenreflowError
            This registry does not hold it.
        """
        return self.fetch(self._find_champion(pointer.champion), target_dir)

    def promote(self, version: str, pointer_path: Path | str, *, reason: str = "promoted by hand") -> Pointer:
        """Make `version` the champion: the pointer and the registry's alias.

        Returns
        -------
        Pointer
            As it now stands in `pointer_path`; the file is not touched where the bundle is the champion already.

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
        if WITHDRAWN in entry.tags:
            self.client.delete_model_version_tag(NAME, version, WITHDRAWN)
        return self._install(pointer, pointer_path, version)

    def rollback(self, pointer_path: Path | str) -> Pointer:
        """Make the champion before this one champion again; several in a row go further back.

        The gate does not promote the version left behind again by itself.

        Raises
        ------
        GenreflowError
            There is no earlier champion, or this registry does not hold it.
        """
        present = read_pointer(pointer_path)
        if present is None and Path(pointer_path).exists():
            raise GenreflowError(
                f"There is no champion yet to go back from ({pointer_path} names none: the gate has let none pass); "
                "`genreflow registry promote VERSION` makes one."
            )
        if present is None:
            raise GenreflowError(f"There is no champion yet ({pointer_path} is missing); `dvc repro` makes the first.")
        pointer = present.go_back()
        version = self._find_champion(pointer.champion)
        if left := self.find(present.champion.bundle_hash):
            self.client.set_model_version_tag(NAME, left, WITHDRAWN, "true")
        return self._install(pointer, pointer_path, version)

    def was_rolled_back(self, version: str) -> bool:
        """Whether someone went back from `version` (and nobody promoted it by hand since)."""
        return WITHDRAWN in self._get(version).tags

    def times_split_used(self, test_split_hash: str, version: str) -> int:
        """How many versions the gate has judged on this test split, `version` included."""
        judged = {entry.version for entry in self.versions() if test_split_hash in entry.gated}
        return len(judged | {str(version)})

    def record_gate(self, version: str, test_split_hash: str, report: GateReport) -> None:
        """Note on `version` that the gate has judged it on this test split, and how."""
        verdict = "promoted" if report.promote else "kept out"
        if report.rule != "unchanged":
            self.client.set_model_version_tag(NAME, version, f"{GATED}{test_split_hash}", verdict)
            self.client.set_model_version_tag(NAME, version, "gate", report.reason)

    def _install(self, pointer: Pointer, path: Path | str, version: str) -> Pointer:
        # The file last: it is what counts, and whoever repeats an interrupted call finds the work undone.
        self.client.set_registered_model_alias(NAME, CHAMPION, version)
        if read_pointer(path) != pointer:
            write_pointer(pointer, path)
        return pointer

    def _find_champion(self, champion: Champion) -> str:
        if (version := self.find(champion.bundle_hash)) is None:
            raise GenreflowError(
                f"The registry at {self.client.tracking_uri} has no bundle with the hash {champion.bundle_hash[:12]} "
                f"(version {champion.version} of {NAME}); MLFLOW_TRACKING_URI must name the one that has."
            )
        return version

    def _create(self, bundle: Bundle, tags: dict[str, str], description: str) -> str:
        if not self.client.search_registered_models(f"name = '{NAME}'"):
            self.client.create_registered_model(NAME, description=DESCRIPTION)
        experiment = ensure_experiment(self.client, self.root)
        logged = log_bundle(self.client, experiment.experiment_id, bundle)
        created = self.client.create_model_version(
            NAME,
            # not "models:/<id>": MLflow looks that up in the store of the process, not in the one of this client
            source=logged.artifact_location,
            run_id=logged.source_run_id,
            tags=tags,
            description=description,
            model_id=logged.model_id,
        )
        return str(created.version)

    def _get(self, version: str) -> ModelVersion:
        known = [entry.version for entry in self.versions()]
        if str(version) not in known:
            there = ", ".join(known) if known else "none yet"
            raise ParameterError(f"{NAME} has no version {version} at {self.client.tracking_uri}; there is {there}.")
        return self.client.get_model_version(NAME, str(version))
