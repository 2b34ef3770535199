"""Embeddings of segments, computed with ONNX Runtime."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from genreflow.errors import GenreflowError

# Segments per run of the network. Larger batches are no faster on one core, and 8 take 40 MiB more.
BATCH = 4


class Embedder:
    """Computes embeddings. Calls keep no state: threads may share an instance.

    Parameters
    ----------
    path : Path
        A file that was written by `genreflow.export.export_embedder.export_embedder`, or by
        `genreflow.export.embedder_graph.import_embedder` for a network other than musicnn.
    threads : int > 0
        Cores that one call may use.

    Attributes
    ----------
    path : Path
    description : dict
        ``name``, ``licence``, ``sha256`` of the weights, and number of ``parameters``; ``copyright`` if it is known.
    columns : dict of str to tuple of two int
        First and last column of each choice of values. musicnn has ``penultimate`` (what its last layer takes), ``max``
        and ``mean`` (maximum and mean over time of all layers before) and ``both`` of these; another network has
        ``penultimate`` only.
    feature_key : str
        Of the feature spec whose conversion the file contains; empty if it does not say.
    length : int > 0 [frames]
        Of a segment.
    size : int > 0
        Values per segment.

    Raises
    ------
    GenreflowError
        The file is not such a network.

    Examples
    --------
    >>> Embedder("embedder.onnx").embed(np.zeros((2, 187, 96), np.float32)).shape  # doctest: +SKIP
    (2, 714)
    """

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        self.path, self._threads = Path(path), threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            description = json.loads(self._session.get_modelmeta().custom_metadata_map["embedder"])
            self.columns: dict[str, tuple[int, int]] = {
                name: (first, last) for name, (first, last) in description.pop("columns").items()
            }
            self.feature_key: str = description.pop("feature_key", "")
            self.description: dict[str, Any] = description
            source = self._session.get_inputs()[0]
            self._input, (_, self.length, _) = source.name, source.shape
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            message = " ".join(str(error).split()).rstrip(".")
            raise GenreflowError(f"{path}: must be an embedder that ONNX Runtime can run; got {message}.") from error
        self.size = max(last for _, last in self.columns.values())

    def __reduce__(self) -> tuple[type["Embedder"], tuple[Path, int]]:
        return type(self), (self.path, self._threads)

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
            (embeddings[first : first + BATCH],) = self._session.run(None, {self._input: batch})
        return embeddings
