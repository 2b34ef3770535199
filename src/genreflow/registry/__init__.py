"""The MLflow model registry: versions, the gate, and the champion pointer."""
