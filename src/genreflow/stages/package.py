"""champion pointer -> models/champion and the bento."""

from genreflow.errors import GenreflowError
from genreflow.files import replace_directory, write_json
from genreflow.stages import CHAMPION, PACKAGE, POINTER, run_stage, say
from genreflow.stages.inputs import PROJECT
from genreflow.tracking.pointer import read_pointer
from genreflow.tracking.registry import Registry


def main() -> None:
    pointer = read_pointer(POINTER)
    if pointer is None and POINTER.exists():  # only a leaking model was ever registered: a comparison, nothing to serve
        replace_directory(CHAMPION, lambda directory: None)
        write_json(PACKAGE, {"version": None, "bundle_hash": None, "bento": None})
        say(f"there is no champion yet, so {CHAMPION} is empty and no bento is built")
        return
    if pointer is None:
        raise GenreflowError(f"There is no champion to package: {POINTER} is missing; `dvc repro` writes it.")
    bundle = Registry.open(PROJECT).fetch_champion(pointer, CHAMPION)
    import bentoml

    bento = bentoml.bentos.build_bentofile("bentofile.yaml", build_ctx=str(PROJECT.resolve()))
    write_json(PACKAGE, {"version": bundle.version, "bundle_hash": bundle.hash, "bento": str(bento.tag)})
    say(f"version {bundle.version} of {bundle.name} is in {CHAMPION} and in the bento {bento.tag}")


if __name__ == "__main__":
    run_stage(main)
