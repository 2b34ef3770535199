"""manifest and features -> the tracks that cannot or should not be used, and a page about them."""

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.summary import format_audit
from genreflow.features.store import FeatureStore
from genreflow.manifest.manifest import Manifest
from genreflow.params import load_params
from genreflow.reporting.audit.page import write_page
from genreflow.stages import AUDIT, AUDIT_PAGE, FEATURES, FINGERPRINTS, MANIFEST, run_stage, say


def main() -> None:
    params = load_params().audit
    manifest, store = Manifest.load(MANIFEST), FeatureStore.open(FEATURES)
    report = audit_manifest(manifest, store, params, fingerprints=FINGERPRINTS, progress=True)
    report.save(AUDIT)
    write_page(AUDIT_PAGE, report, manifest, store)
    say(format_audit(report, more=f"{AUDIT} has them all"))


if __name__ == "__main__":
    run_stage(main)
