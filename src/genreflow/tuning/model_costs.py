"""What a model will cost where it is served, known before it is fitted."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras

from genreflow.bundle import write_bundle
from genreflow.costs.measure import latency_ms, memory_mib
from genreflow.export.keras_to_onnx import export_onnx
from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.training.data import TrainingData


@dataclass(frozen=True)
class Footprint:
    """What a model costs.

    Parameters
    ----------
    parameters : int
        Trainable and not, those of the front end included.
    latency_ms : float > 0 [ms] or None
        See `genreflow.costs.measure.latency_ms`; None where it was not asked for.
    memory_mib : float > 0 [MiB] or None
        See `genreflow.costs.measure.memory_mib`; None where it was not asked for.
    """

    parameters: int
    latency_ms: float | None
    memory_mib: float | None


def measure(
    model: keras.Model, data: TrainingData, *, spec: FeatureSpec, bank: FilterBank, latency: bool, memory: bool
) -> Footprint:
    """Export a model, fitted or not, to a bundle that is thrown away, and measure what is asked for.

    Neither figure depends on the weights, so that a configuration that is too large need not be fitted. The model is
    left as it was, and so is all chance: a fit afterwards takes the course it would have taken.

    Parameters
    ----------
    model : keras.Model
        Built for `data`.
    data : TrainingData
    spec : FeatureSpec
    bank : FilterBank
    latency, memory : bool
        Which to measure, in seconds and in some ten seconds; the model is exported only for these.

    Raises
    ------
    GenreflowError
        The exported model cannot be run or served.
    """
    parameters = model.count_params()
    if not (latency or memory):
        return Footprint(parameters, None, None)
    with tempfile.TemporaryDirectory(prefix="genreflow-") as folder:
        directory, onnx_path = Path(folder, "bundle"), Path(folder, "model.onnx")
        export_onnx(model, onnx_path)
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
            lineage={},
        )
        return Footprint(
            parameters,
            latency_ms=latency_ms(directory) if latency else None,
            memory_mib=memory_mib(directory) if memory else None,
        )
