"""MLflow runs: store, run, writer, study and trials, lineage, datasets, system metrics."""
