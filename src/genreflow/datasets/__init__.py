"""Where tracks come from: sources, the manifest, the audit of its faults, and splits that do not leak."""
