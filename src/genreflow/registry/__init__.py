"""The MLflow model registry: bundles as model versions, the gate, and the champion pointer."""
