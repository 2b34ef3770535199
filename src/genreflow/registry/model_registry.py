"""The registry: versions of one registered MLflow model, one of them the champion."""

import logging
from pathlib import Path

from genreflow.bundle import MODEL_NAME, Bundle, stamp
from genreflow.errors import GenreflowError, ParameterError
from genreflow.registry.gate import REFUSALS, GateReport
from genreflow.registry.pointer import Champion, Pointer, read_pointer, write_pointer
from genreflow.registry.promotion import Promotion
from genreflow.registry.stored_versions import StoredVersions
from genreflow.registry.track_accuracy import read_track_accuracy
from genreflow.registry.version import GATE, GATED, HASH, PROMOTION, ROLLED_BACK, read_version, write_decision
from genreflow.tracking.store import ensure_experiment, open_client, without_credentials
from genreflow.tracking.summary import CHAMPION as CHAMPION_PARAGRAPH
from genreflow.tracking.summary import describe_experiment, link_to_run

logger = logging.getLogger(__name__)

NAME = MODEL_NAME
CHAMPION = "champion"
MAX_DESCRIPTION = 5000  # MLflow's [characters]


class Registry(StoredVersions):
    """The versions of a registered model, and its champion."""

    @classmethod
    def open(cls, root: Path | str = ".", name: str = NAME) -> "Registry":
        """Open a registered model of the project in `root`; it need not exist.

        Raises
        ------
        GenreflowError
            The MLflow server does not respond.
        """
        return cls(open_client(root), root, name)

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
            version = bundle.version or pointer.champion.version
            return stamp(bundle.directory, target_dir, name=self.name, version=version, metrics=bundle.metrics)

    def promote_by_hand(self, version: str, pointer_path: Path | str, *, why: str = "") -> Pointer:
        """Make a version the champion, whatever the gate decided; who, when and why is recorded with the version.

        Parameters
        ----------
        version : str
        pointer_path : Path
        why : str
            Must not be empty if the gate refused the version.

        Returns
        -------
        Pointer
            As of `promote`.

        Raises
        ------
        ParameterError
            There is no such version, or it was refused and there is no reason.
        """
        entry = self.get(version)
        decision = read_version(entry).gate or {}
        refused_by = decision["rule"] if not decision.get("promote", True) and decision["rule"] in REFUSALS else None
        if refused_by and not why:
            raise ParameterError(
                f"--reason: must say why version {version} of {self.name} becomes the champion, since the gate refused "
                f"it by its rule {refused_by} (reports/gate.json, tags of the version); got none."
            )
        promotion = Promotion.now(why, refused_by)
        pointer = self.promote(version, pointer_path, reason=f"promoted by hand: {why}" if why else "promoted by hand")
        self.client.set_model_version_tag(self.name, version, PROMOTION, promotion.to_tag())
        description = self.client.get_model_version(self.name, version).description or ""
        self.client.update_model_version(self.name, version, f"{description} {promotion.sentence}"[:MAX_DESCRIPTION])
        if refused_by:
            logger.warning("version %s of %s: %s", version, self.name, promotion.sentence)
        return pointer

    def promote(self, version: str, pointer_path: Path | str, *, reason: str = "promoted by hand") -> Pointer:
        """Make a version the champion, in the pointer file and by the registry's alias ``champion``.

        Champions of other registered models are kept in the pointer.

        Returns
        -------
        Pointer
            The content of `pointer_path`, which is not written if the bundle is the champion already.

        Raises
        ------
        ParameterError
            There is no such version.
        """
        entry = self.get(version)
        champion = Champion(version=str(entry.version), bundle_hash=entry.tags[HASH], reason=reason)
        served = read_pointer(pointer_path)
        pointer = served.of_model(self.name) if served else None
        if pointer is None:
            pointer = Pointer(name=self.name, champion=champion)
            pointer = pointer.beside(served) if served else pointer
        elif pointer.champion.bundle_hash != champion.bundle_hash:
            pointer = pointer.advance(champion)
        if ROLLED_BACK in entry.tags:
            self.client.delete_model_version_tag(self.name, version, ROLLED_BACK)
        return self._install(pointer, pointer_path, version)

    def serve(self, pointer: Pointer, pointer_path: Path | str) -> Pointer:
        """Make the champion of this registered model, which was another one's neighbour, the served one."""
        return self._install(pointer, pointer_path, self._find_champion(pointer.champion))

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
        if present.name != self.name:
            raise GenreflowError(f"{pointer_path}: must name {self.name} for a rollback of it; got {present.name}.")
        pointer = present.roll_back()
        version = self._find_champion(pointer.champion)
        if former := self.find(present.champion.bundle_hash):
            self.client.set_model_version_tag(self.name, former, ROLLED_BACK, "true")
        return self._install(pointer, pointer_path, version)

    def was_rolled_back(self, version: str) -> bool:
        """Return whether a version was rolled back and not promoted by hand since."""
        return ROLLED_BACK in self.get(version).tags

    def times_split_used(self, test_split_hash: str, version: str) -> int:
        """Return how many versions the gate has evaluated on a test split, `version` included."""
        gated = {entry.version for entry in self.versions() if test_split_hash in entry.gated}
        return len(gated | {str(version)})

    def record_gate(self, version: str, test_split_hash: str, report: GateReport) -> None:
        """Tag a version with the gate's decision and its figures, and add the reason to its description."""
        decision = "promoted" if report.promote else "not promoted"
        if report.rule != "unchanged":
            self.client.set_model_version_tag(self.name, version, GATE, write_decision(report.to_dict()))
            self.client.set_model_version_tag(self.name, version, f"{GATED}{test_split_hash}", decision)
            description = self.client.get_model_version(self.name, version).description
            self.client.update_model_version(self.name, version, f"{description} {report.reason}"[:MAX_DESCRIPTION])
        else:
            self._describe_champion(version)  # its metrics may be new

    def _install(self, pointer: Pointer, path: Path | str, version: str) -> Pointer:
        # The file last, since it decides: an interrupted call can be repeated.
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        self._describe_champion(version)
        if read_pointer(path) != pointer:
            write_pointer(pointer, path)
        return pointer

    def _describe_champion(self, version: str) -> None:
        """Write the first paragraph of the experiment's description."""
        entry = self.client.get_model_version(self.name, version)
        measured = read_track_accuracy(read_version(entry).metrics)
        experiment_id = ensure_experiment(self.client, self.root).experiment_id
        link = link_to_run(experiment_id, entry.run_id, f"version {version}")
        text = f"{link}, {measured.headline}. {measured.comparison}" if measured else link
        describe_experiment(self.client, experiment_id, CHAMPION_PARAGRAPH, text.rstrip())

    def _find_champion(self, champion: Champion) -> str:
        if (version := self.find(champion.bundle_hash)) is None:
            raise GenreflowError(
                f"{without_credentials(self.client.tracking_uri)}: must have version {champion.version} of {self.name} "
                f"with the bundle {champion.bundle_hash[:12]}; set MLFLOW_TRACKING_URI to the registry that has it."
            )
        return version


def _load_sound(directory: Path | str) -> Bundle | None:
    try:
        return Bundle.load(directory)
    except GenreflowError:
        return None
