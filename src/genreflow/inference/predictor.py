"""From an audio file to a prediction: the service, the command line and the evaluation share this code."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genreflow.audio.decode import decode_mono
from genreflow.audio.input_file import source_name
from genreflow.audio.levels import Levels
from genreflow.errors import AudioError, GenreflowError
from genreflow.evaluation.calibration import softmax
from genreflow.features.logmel import LogMel
from genreflow.features.segments import iter_segments
from genreflow.features.store import FeatureStore
from genreflow.inference.input_summary import InputSummary, SummarySums
from genreflow.inference.onnx_session import load_with_session
from genreflow.inference.prediction import Prediction, Segment, abstention_reason
from genreflow.inference.track_outputs import TrackOutputs

# Segments per run of the model. Larger batches are no faster on one core and take more memory. Models from LARGE_BYTES
# on are as fast with smaller ones (`vgg_large` takes 60 MiB less with two threads, musicnn 40 MiB less with one).
BATCH, LARGE_BATCH, LARGE_BYTES = 8, 4, 20_000_000
# Largest peak that counts as silence: -80 dBFS, above the dither of 16 bits.
SILENCE_PEAK = 1e-4


@dataclass(frozen=True)
class Analysis:
    """A prediction, and what monitoring compares with the tracks that a model knows.

    Parameters
    ----------
    prediction : Prediction
    inputs : InputSummary
    embedding : np.ndarray [shape=(size,), dtype=float16] or None
        Mean over the segments; None if the bundle has no prototypes, so that none is computed.
    """

    prediction: Prediction
    inputs: InputSummary
    embedding: np.ndarray | None


class Predictor:
    """Applies a bundle to audio. Threads may share an instance.

    Parameters
    ----------
    directory : Path
        Directory of the bundle.
    threads : int > 0
        Cores that one call may use inside the model. One is best if calls run concurrently.

    Attributes
    ----------
    bundle : Bundle
    model : dict
        ``name`` and ``version`` of the bundle, and ``leaking = True`` if it was trained with a split that has
        train/test leakage.
    bundle_hash : str
        `Bundle.hash`, which takes long to compute where there are many tracks.

    Raises
    ------
    GenreflowError
        The bundle is missing or damaged, ONNX Runtime cannot run its model, or the outputs of the model do not match
        the labels and prototypes.

    Examples
    --------
    >>> Predictor("models/champion").classify("song.mp3").genre  # doctest: +SKIP
    'jazz'
    """

    def __init__(self, directory: Path | str, *, threads: int = 1) -> None:
        self.bundle, self._session = load_with_session(Path(directory), threads)
        self.model: dict[str, Any] = {"name": self.bundle.name, "version": self.bundle.version}
        if self.bundle.leaking:
            self.model["leaking"] = True
        self.bundle_hash = self.bundle.hash
        self._logmel = LogMel(self.bundle.spec, self.bundle.bank)
        large = self.bundle.embedder is not None or self.bundle.onnx_path.stat().st_size >= LARGE_BYTES
        self._batch = LARGE_BATCH if large else BATCH
        self._input = self._session.get_inputs()[0].name
        self._outputs = ["logits"] if self.bundle.familiarity is None else ["logits", "embeddings"]
        self._check_outputs()

    def _check_outputs(self) -> None:
        bundle, path = self.bundle, self.bundle.onnx_path
        if missing := set(self._outputs) - {output.name for output in self._session.get_outputs()}:
            raise GenreflowError(f"{path}: must have the outputs {', '.join(self._outputs)}; got no {min(missing)}.")
        logits, embeddings = self.run(np.zeros((1, bundle.segment_frames, bundle.spec.n_mels), np.float32))
        found = [logits.shape, *([] if embeddings is None else [embeddings.shape])]
        expected = [(1, len(bundle.labels))]
        if bundle.familiarity is not None:
            expected.append((1, bundle.familiarity.prototypes.shape[1]))
        if found != expected:
            raise GenreflowError(
                f"{path}: the outputs {', '.join(self._outputs)} of one segment must have the sizes of the bundle's "
                f"labels and prototypes, {expected}; got {found}."
            )

    def run(self, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Run the model.

        Parameters
        ----------
        segments : np.ndarray [shape=(n, segment_frames, n_mels), dtype=float32], in [0, 1]

        Returns
        -------
        logits : np.ndarray [shape=(n, n_classes), dtype=float32]
        embeddings : np.ndarray [shape=(n, size), dtype=float32] or None
            None if the bundle has no prototypes to compare them with.
        """
        logits, *embeddings = self._session.run(self._outputs, {self._input: segments})
        return logits, embeddings[0] if embeddings else None

    def unfamiliarity(self, embeddings: np.ndarray | None) -> float | None:
        """Compute how unlike the training music a track is.

        Parameters
        ----------
        embeddings : np.ndarray [shape=(n, size)] or None
            Those of `run` for the segments of the track, or their mean.

        Returns
        -------
        float in [0, 2] or None
            See `genreflow.evaluation.familiarity.unfamiliarity`; None if the bundle has no prototypes.
        """
        if self.bundle.familiarity is None or embeddings is None:
            return None
        return float(self.bundle.familiarity.unfamiliarity(embeddings.mean(axis=0, dtype=np.float64)[None])[0])

    def classify(
        self, source: Path | str | BinaryIO, *, name: str | None = None, max_seconds: float | None = None
    ) -> Prediction:
        """Classify one track, in memory that hardly depends on its duration.

        Parameters
        ----------
        source : path or binary file object
        name : str, optional
            Name of the source in error messages; by default its path or the name of the file object.
        max_seconds : float > 0 [s], optional
            Maximum duration of the source.

        Returns
        -------
        Prediction

        Raises
        ------
        AudioError
            Code ``undecodable``, ``too_long``, or ``unusable``: no samples, samples out of range, silence, or nothing
            but a constant offset.
        OSError
            The source cannot be read.
        """
        outputs = self._decode(source, name, max_seconds, summarise=False)
        return self._summarise(outputs)

    def analyse(
        self,
        source: Path | str | BinaryIO,
        *,
        name: str | None = None,
        max_seconds: float | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Analysis:
        """Classify one track, and summarise its sound.

        Parameters
        ----------
        source, name, max_seconds
            As in `classify`.
        on_progress : callable, optional
            Called with the duration decoded so far [s], block by block. What it raises ends the work.

        Returns
        -------
        Analysis

        Raises
        ------
        AudioError, OSError
            As `classify`.
        """
        return self._analysis(self._decode(source, name, max_seconds, summarise=True, on_progress=on_progress))

    def analyse_stored(self, store: FeatureStore, key: str) -> Analysis:
        """Do the same as `analyse` for a track of a feature store, without its level.

        Parameters
        ----------
        store : FeatureStore
            With the bundle's feature spec.
        key : str
            Of the track.

        Returns
        -------
        Analysis

        Raises
        ------
        KeyError
            The store has no such track.
        """
        outputs = TrackOutputs(SummarySums())
        pieces = store.pieces(key)
        for piece in pieces:  # no segment spans two pieces
            self._predict(iter([piece]), outputs)
        outputs.samples = round(self.bundle.spec.seconds(sum(map(len, pieces))) * self.bundle.spec.sample_rate)
        return self._analysis(outputs)

    def _analysis(self, outputs: TrackOutputs) -> Analysis:
        assert outputs.summary is not None
        mean = outputs.mean_embedding
        embedding = None if mean is None else mean[0].astype(np.float16)
        return Analysis(self._summarise(outputs), outputs.summary.summary(), embedding)

    def _decode(
        self,
        source: Path | str | BinaryIO,
        name: str | None,
        max_seconds: float | None,
        *,
        summarise: bool,
        on_progress: Callable[[float], None] | None = None,
    ) -> TrackOutputs:
        spec = self.bundle.spec

        def predict(blocks: Iterator[np.ndarray]) -> TrackOutputs:  # a second time if the channels cancel each other
            outputs = TrackOutputs(SummarySums() if summarise else None)
            blocks = outputs.count(blocks)
            if on_progress:
                blocks = _reporting(blocks, spec.sample_rate, on_progress)
            self._predict(self._logmel.frames(blocks), outputs)
            return outputs

        name = name or source_name(source)
        outputs, levels = decode_mono(
            source,
            predict,
            sample_rate=spec.sample_rate,
            block_seconds=spec.clip_seconds,
            max_seconds=max_seconds,
            name=name,
        )
        _require_sound(levels, name)
        return outputs

    def _predict(self, clips: Iterator[np.ndarray], outputs: TrackOutputs) -> None:
        """Add what the model says of the segments of consecutive clips."""
        if outputs.summary is not None:
            clips = outputs.summary.frames(clips)
        for start, segments, is_short in iter_segments(
            clips, length=self.bundle.segment_frames, hop=self.bundle.segment_hop, batch=self._batch
        ):
            logits, embeddings = self.run(segments)
            outputs.add(start, softmax(logits, self.bundle.temperature), embeddings)
            outputs.short |= is_short

    def _summarise(self, outputs: TrackOutputs) -> Prediction:
        labels, spec = self.bundle.labels, self.bundle.spec
        starts, by_segment = np.concatenate(outputs.starts), np.concatenate(outputs.probabilities)
        duration = outputs.samples / spec.sample_rate
        mean = by_segment.mean(axis=0, dtype=np.float64)
        order = np.argsort(-mean, kind="stable")
        confidence = float(mean[order[0]])
        unfamiliarity = self.unfamiliarity(outputs.mean_embedding)
        reason = abstention_reason(self.bundle, confidence, unfamiliarity)
        best = by_segment.argmax(axis=1)
        segments = [
            Segment(
                start=round(spec.seconds(start), 3),
                end=round(min(spec.seconds(start + self.bundle.segment_frames), duration), 3),
                genre=labels[index],
                confidence=float(by_segment[row, index]),
            )
            for row, (start, index) in enumerate(zip(starts.tolist(), best.tolist(), strict=True))
        ]
        return Prediction(
            genre=labels[order[0]] if reason is None else None,
            reason=reason,
            confidence=confidence,
            unfamiliarity=unfamiliarity,
            probabilities={labels[index]: float(mean[index]) for index in order},
            segments=segments,
            duration=round(duration, 3),
            short=outputs.short,
        )


def _reporting(
    blocks: Iterator[np.ndarray], sample_rate: int, on_progress: Callable[[float], None]
) -> Iterator[np.ndarray]:
    samples = 0
    for block in blocks:
        yield block
        samples += len(block)
        on_progress(samples / sample_rate)


def _require_sound(levels: Levels, name: str) -> None:
    """Refuse what has no sound, whose features would be those of rounding noise."""
    if levels.constant_offset is not None:
        found = f"a constant offset of {levels.constant_offset:.3g}"
    elif levels.sound_peak < SILENCE_PEAK:
        found = "silence"
    else:
        return
    raise AudioError("unusable", f"{name}: must contain sound; got {found}.")
