"""Champion pointer -> models/champion and the bento."""

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from genreflow.errors import GenreflowError
from genreflow.files import atomic_directory, write_json
from genreflow.registry.model_registry import Registry
from genreflow.registry.pointer import read_pointer
from genreflow.stages import CHAMPION, PACKAGE, POINTER, PROJECT

if TYPE_CHECKING:
    from bentoml import Bento

logger = logging.getLogger(__name__)

BENTOFILE = "bentofile.yaml"
LOCK = "requirements-service.lock"


def main() -> None:
    write_json(PACKAGE, package())


def package() -> dict[str, str | None]:
    """Write the champion's bundle and build the bento.

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
    bundle = Registry.open(PROJECT).fetch_champion(pointer, CHAMPION, packaged=CHAMPION)
    bento = build_bento()
    logger.info(f"version {bundle.version} of {bundle.name} is in {CHAMPION} and in the bento {bento.tag}")
    return {"version": bundle.version, "bundle_hash": bundle.hash, "bento": str(bento.tag)}


def build_bento() -> "Bento":
    """Build the bento in a copy: BentoML ignores files below a hidden folder, and DVC's experiments run in one."""
    import bentoml

    with tempfile.TemporaryDirectory(prefix="genreflow-") as folder:
        for name in ("src/genreflow", CHAMPION):
            shutil.copytree(PROJECT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in (BENTOFILE, LOCK):
            shutil.copyfile(PROJECT / name, Path(folder, name))
        with contextlib.chdir(folder):
            return bentoml.bentos.build_bentofile(BENTOFILE, build_ctx=folder)
