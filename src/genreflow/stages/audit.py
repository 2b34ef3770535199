"""manifest -> the tracks that cannot or should not be used."""

from genreflow.datasets.audit import audit
from genreflow.datasets.manifest import Manifest
from genreflow.params import load_params
from genreflow.stages import AUDIT, MANIFEST, run_stage, say


def main() -> None:
    params = load_params().audit
    report = audit(Manifest.load(MANIFEST), min_seconds=params.min_seconds, silence_db=params.silence_db)
    report.save(AUDIT)
    for fault in report.faults:
        say(f"{'left out' if fault.leave_out else 'noticed'}: {fault.message}")


if __name__ == "__main__":
    run_stage(main)
