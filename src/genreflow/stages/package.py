"""Champion pointer -> models/champion and the bento."""

import contextlib
import hashlib
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from genreflow.bundle import MODEL_NAME
from genreflow.errors import GenreflowError
from genreflow.files import atomic_directory, remove_leftovers, write_json
from genreflow.registry.model_registry import Registry
from genreflow.registry.pointer import read_pointer
from genreflow.stages import CHAMPION, PACKAGE, POINTER, PROJECT
from genreflow.tracking.store import project_root

if TYPE_CHECKING:
    from bentoml import Bento

logger = logging.getLogger(__name__)

BENTOFILE = "bentofile.yaml"
LOCK = "requirements-service.lock"
# Every package builds a bento of 1 to 100 MB. Some are kept: a server may still run an earlier one.
BENTOS_KEPT = 3
# BentoML writes the files of a bento without a pause: one without new files for this long is not being copied.
SECONDS_OF_COPYING = 5
PROJECT_LABEL = "genreflow.project"


def main() -> None:
    remove_leftovers(CHAMPION.parent, CHAMPION.name)
    packaged = package()
    write_json(PACKAGE, packaged)
    if packaged["bento"] is not None:
        try:
            prune_bentos(packaged["bento"], keep=BENTOS_KEPT)
        except Exception as error:  # what BentoML raises of a bento that another project writes, or that it cannot read
            logger.warning(f"earlier bentos were not deleted, which the next `package` does: {error}")


def package() -> dict[str, str | None]:
    """Write the champion's bundle and build the bento.

    Everything that can fail comes first: the previous champion is replaced in one step at the end.

    Returns
    -------
    dict
        ``version``, ``bundle_hash`` and ``bento`` (its tag); None for each if there is no champion.

    Raises
    ------
    GenreflowError
        The champion pointer is missing, or the registry does not have the champion.
    """
    pointer = read_pointer(POINTER)
    if pointer is None:
        if not POINTER.exists():
            raise GenreflowError(f"{POINTER}: must exist to package the champion; `dvc repro` writes it.")
        # Only leaking models were registered so far.
        with atomic_directory(CHAMPION):
            pass
        logger.info(f"there is no champion, so {CHAMPION} is empty and no bento is built")
        return {"version": None, "bundle_hash": None, "bento": None}
    with atomic_directory(CHAMPION) as directory:
        bundle = Registry.open(PROJECT, pointer.name).fetch_champion(pointer, directory, packaged=CHAMPION)
        bento = build_bento(directory)
    logger.info(f"version {bundle.version} of {bundle.name} is in {CHAMPION} and in the bento {bento.tag}")
    return {"version": bundle.version, "bundle_hash": bundle.hash, "bento": str(bento.tag)}


def build_bento(bundle: Path) -> "Bento":
    """Build the bento in a copy: BentoML ignores files below a hidden folder, and DVC's experiments run in one."""
    import bentoml

    with tempfile.TemporaryDirectory(prefix="genreflow-") as folder:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "src/genreflow", Path(folder, "src/genreflow"), ignore=ignore)
        shutil.copytree(bundle, Path(folder, CHAMPION))
        for name in (BENTOFILE, LOCK):
            shutil.copyfile(PROJECT / name, Path(folder, name))
        label = {PROJECT_LABEL: project_label()}
        with contextlib.chdir(folder):
            return bentoml.bentos.build_bentofile(BENTOFILE, build_ctx=folder, labels=label)


def prune_bentos(newest: str, *, keep: int) -> None:
    """Delete the bentos that this stage built for this project, except the newest ones.

    Others in the same store, such as those of `bentoml build`, stay. Those without a description are deleted: BentoML
    leaves one where it is killed while it copies a bento into its store, and then lists and deletes none of this name.
    """
    import bentoml

    store = Path(bentoml.bentos.get(newest).path).parent
    for folder in filter(Path.is_dir, store.iterdir()):
        description = folder / "bento.yaml"
        if description.exists() and description.stat().st_size:
            continue
        if time.time() - last_written(folder) < SECONDS_OF_COPYING:
            return  # another process may be copying it; the next package prunes
        shutil.rmtree(folder)
    found = [
        bento for bento in bentoml.bentos.list(MODEL_NAME) if bento.info.labels.get(PROJECT_LABEL) == project_label()
    ]
    for bento in sorted(found, key=lambda bento: bento.info.creation_time, reverse=True)[keep:]:
        bentoml.bentos.delete(bento.tag)


def last_written(folder: Path) -> float:
    """Return when a file in a folder was last written [seconds since the epoch]; of an empty one, when it was made."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(path.stat().st_mtime for path in files or [folder])


def project_label() -> str:
    """Return what identifies this project in a store of bentos that projects share; labels allow no slashes."""
    return hashlib.sha256(str(project_root(PROJECT)).encode(errors="surrogateescape")).hexdigest()[:16]
