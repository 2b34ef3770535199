"""manifest and audit -> train, valid and test."""

from genreflow.datasets.audit import Audit
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.split import make_split
from genreflow.params import load_params
from genreflow.stages import AUDIT, MANIFEST, SPLIT, run_stage, say


def main() -> None:
    params = load_params().split
    split = make_split(
        Manifest.load(MANIFEST),
        Audit.load(AUDIT),
        method=params.method,
        fractions=(1 - params.valid - params.test, params.valid, params.test),
        seed=params.seed,
    )
    split.save(SPLIT)
    say(f"{len(split.train)} tracks to train, {len(split.valid)} to validate, {len(split.test)} to test")
    for note in split.notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
