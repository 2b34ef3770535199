"""Costs of serving a model, measured before it is fitted."""

import tempfile
from pathlib import Path

import keras

from genreflow.bundle import write_bundle
from genreflow.costs.latency import latency_ms
from genreflow.costs.memory import memory_mib
from genreflow.export.export_model import export_with_embeddings
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.training.data import TrainingData


def measure_costs(
    model: keras.Model, data: TrainingData, *, spec: FeatureSpec, bank: FilterBank, latency: bool, memory: bool
) -> dict[str, float]:
    """Count the parameters of a model, and measure latency and memory of a service with it.

    The model is exported to a temporary bundle, which the real service loads. Latency and memory do not depend on the
    values of the weights, so that a model need not be fitted. Neither the model nor the state of any random generator
    changes: a fit afterwards gives the same result as without the measurement.

    Parameters
    ----------
    model : keras.Model
        Built for `data`.
    data : TrainingData
    spec : FeatureSpec
    bank : FilterBank
    latency, memory : bool
        Whether to measure them. Latency takes seconds, memory some ten seconds.

    Returns
    -------
    costs : dict of str to float
        ``parameters``, trainable or not, those of the front end and of an embedder included; ``latency_ms`` [ms], see
        `genreflow.costs.latency.latency_ms`; ``memory_mb`` [MiB], see `genreflow.costs.memory.memory_mib`.

    Raises
    ------
    GenreflowError
        The exported model cannot be run or served.
    """
    embedder = data.embedder
    costs: dict[str, float] = {
        "parameters": model.count_params() + (embedder.description["parameters"] if embedder else 0)
    }
    if not (latency or memory):
        return costs
    with tempfile.TemporaryDirectory(prefix="genreflow-") as folder:
        directory, onnx_path = Path(folder, "bundle"), Path(folder, "model.onnx")
        export_with_embeddings(model, onnx_path, embedder.path if embedder else None)
        write_bundle(
            directory,
            onnx=onnx_path,
            labels=data.genres,
            spec=spec,
            bank=bank,
            segment_frames=data.length,
            segment_hop=data.hop,
            temperature=1.0,
            abstain_below=0.0,
            architecture=model.name,
            embedder=embedder.description if embedder else None,
            lineage={},
        )
        if latency:
            costs["latency_ms"] = latency_ms(directory)
        if memory:
            costs["memory_mb"] = memory_mib(directory)
    return costs
