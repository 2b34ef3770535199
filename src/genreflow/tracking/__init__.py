"""MLflow runs: where they are kept, one run, a study with its trials, lineage and system metrics."""
