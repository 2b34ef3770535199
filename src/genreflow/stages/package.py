"""champion pointer -> models/champion and the bento."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.files import atomic_directory, write_json
from genreflow.registry.model_registry import Registry
from genreflow.registry.pointer import read_pointer
from genreflow.stages import CHAMPION, PACKAGE, POINTER, run_stage, say
from genreflow.stages.inputs import PROJECT

BENTOFILE = "bentofile.yaml"


def main() -> None:
    pointer = read_pointer(POINTER)
    if pointer is None and POINTER.exists():  # only a leaking model was ever registered: a comparison, nothing to serve
        with atomic_directory(CHAMPION):
            pass  # an empty directory: DVC asks for the out
        write_json(PACKAGE, {"version": None, "bundle_hash": None, "bento": None})
        say(f"there is no champion yet, so {CHAMPION} is empty and no bento is built")
        return
    if pointer is None:
        raise GenreflowError(f"There is no champion to package: {POINTER} is missing; `dvc repro` writes it.")
    bundle = Registry.open(PROJECT).fetch_champion(pointer, CHAMPION)
    bento = _build()
    write_json(PACKAGE, {"version": bundle.version, "bundle_hash": bundle.hash, "bento": str(bento.tag)})
    say(f"version {bundle.version} of {bundle.name} is in {CHAMPION} and in the bento {bento.tag}")


def _build():
    """Build the bento from a copy: BentoML takes no file below a hidden folder, and DVC's experiments run in one."""
    import bentoml

    with tempfile.TemporaryDirectory(prefix="genreflow-") as folder:
        for name in ("src/genreflow", CHAMPION):
            shutil.copytree(PROJECT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in (BENTOFILE, "requirements-service.lock"):
            shutil.copyfile(PROJECT / name, Path(folder, name))
        with contextlib.chdir(folder):
            return bentoml.bentos.build_bentofile(BENTOFILE, build_ctx=folder)


if __name__ == "__main__":
    run_stage(main)
