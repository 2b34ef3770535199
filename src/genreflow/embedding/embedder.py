"""Embeddings of segments, computed with ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

from genreflow.errors import GenreflowError, ParameterError

# Segments per run of the network. Larger batches are no faster on one core, and 8 take 40 MiB more.
BATCH = 4


class Embedder:
    """Computes embeddings. Calls keep no state: threads may share an instance.

    Parameters
    ----------
    path : Path
        Written by `genreflow.export.export_embedder.export_embedder`, or by
        `genreflow.export.embedder_graph.import_embedder` for a network other than musicnn.
    values : {"penultimate", "max", "mean", "both"}
        Which values of the network: those that its last layer takes, the maximum over time of all layers before, their
        mean, or maximum and mean. Another network has ``penultimate`` only.
    threads : int > 0
        Cores that one call may use.

    Attributes
    ----------
    columns : slice
        The values among all that the file gives.
    size : int > 0
        Values per segment.
    description : dict
        Name, licence and source of the network.

    Raises
    ------
    ParameterError
        The network has no such values.
    GenreflowError
        The file is not such a network.

    Examples
    --------
    >>> Embedder("embedder.onnx").embed(np.zeros((2, 187, 96), np.float32)).shape  # doctest: +SKIP
    (2, 200)
    """

    def __init__(self, path: Path | str, *, values: str = "penultimate", threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.description = json.loads(self._session.get_modelmeta().custom_metadata_map["embedder"])
            columns = {name: slice(*bounds) for name, bounds in self.description["columns"].items()}
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            message = " ".join(str(error).split()).rstrip(".")
            raise GenreflowError(f"{path}: must be an embedder that ONNX Runtime can run; got {message}.") from error
        if values not in columns:
            raise ParameterError(f"embedding.values must be one of {', '.join(columns)} of {path}; got {values}.")
        self.columns = columns[values]
        self._input = self._session.get_inputs()[0].name
        self.size: int = self.columns.stop - self.columns.start

    def embed(self, segments: np.ndarray) -> np.ndarray:
        """Compute the embeddings of segments.

        Parameters
        ----------
        segments : np.ndarray [shape=(n, frames, n_mels), range=[0, 1]]

        Returns
        -------
        np.ndarray [shape=(n, size), dtype=float32]
        """
        embeddings = np.empty((len(segments), self.size), np.float32)
        for first in range(0, len(segments), BATCH):
            batch = np.asarray(segments[first : first + BATCH], np.float32)
            (values,) = self._session.run(None, {self._input: batch})
            embeddings[first : first + BATCH] = values[:, self.columns]
        return embeddings
