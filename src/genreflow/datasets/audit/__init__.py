"""The audit: which tracks are faulty, which of them are left out, and which are one recording."""

from genreflow.datasets.audit.checks import audit
from genreflow.datasets.audit.directory import audit_directory
from genreflow.datasets.audit.faults import Audit, Fault
from genreflow.datasets.audit.kinds import KINDS, Kind

__all__ = ["KINDS", "Audit", "Fault", "Kind", "audit", "audit_directory"]
