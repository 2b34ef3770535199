"""Logged predictions and a reference of made-up tracks, for tests of monitoring."""

import time
import uuid
from pathlib import Path

import numpy as np

from genreflow.bundle import Bundle, DriftReference, add_reference
from genreflow.inference.input_summary import BAND_GROUPS, InputSummary
from genreflow.monitoring.log_files import LogWriter
from genreflow.monitoring.logged_prediction import LoggedPrediction, to_line
from serving_toy import LABELS

SIZE = 8


def tracks(
    rng: np.random.Generator, artists: int, *, each: int = 3, level: float = -20.0, shift: float = 0.0
) -> list[tuple[int, LoggedPrediction]]:
    """Return predictions for tracks, with the number of their artist, on whom they depend."""
    found = []
    for artist in range(artists):
        own = rng.standard_normal(SIZE)
        for _ in range(each):
            values = own + 0.5 * rng.standard_normal(SIZE) + shift
            shares = np.exp(values[: len(LABELS)])
            probabilities = dict(zip(LABELS, (shares / shares.sum()).tolist(), strict=True))
            means = tuple((0.5 + 0.05 * values[:BAND_GROUPS]).tolist())
            summary = InputSummary(level + float(values[0] + rng.standard_normal()), means, (0.1,) * BAND_GROUPS)
            found.append((artist, prediction(probabilities, summary, (values + 2).astype(np.float16))))
    return found


def prediction(
    probabilities: dict[str, float], inputs: InputSummary, embedding: np.ndarray | None, **fields
) -> LoggedPrediction:
    genre = max(probabilities, key=probabilities.__getitem__)
    defaults = {
        "time": time.time(),
        "prediction_id": uuid.uuid4().hex,
        "request_id": "r",
        "version": "3",
        "bundle": "ab" * 32,
        "duration": 30.0,
        "genre": genre,
        "reason": None,
        "confidence": probabilities[genre],
        "unfamiliarity": 0.2,
        "seconds": 0.05,
    }
    return LoggedPrediction(inputs=inputs, embedding=embedding, probabilities=probabilities, **(defaults | fields))


def reference(found: list[tuple[int, LoggedPrediction]]) -> DriftReference:
    rows = [each.to_features() for _, each in found]
    return DriftReference(
        names=tuple(rows[0]),
        values=np.array([list(row.values()) for row in rows], np.float32),
        probabilities=np.array([[each.probabilities[label] for label in LABELS] for _, each in found], np.float32),
        embeddings=np.stack([each.embedding for _, each in found]),
        groups=np.array([artist for artist, _ in found], np.int32),
        part="valid",
    )


def with_reference(bundle: Bundle, *, artists: int = 30) -> Bundle:
    return add_reference(bundle.directory, bundle.directory, reference(tracks(np.random.default_rng(0), artists)))


def write_log(directory: Path, found: list[tuple[int, LoggedPrediction]], bundle_hash: str | None = None) -> Path:
    """Write the log of a service; return its file."""
    lines = [each.to_fields() | ({"bundle": bundle_hash} if bundle_hash else {}) for _, each in found]
    LogWriter(directory, days=30, max_bytes=10**9).append(b"".join(map(to_line, lines)))
    return max(directory.glob("predictions.*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
