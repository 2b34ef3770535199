"""From an audio file to a prediction: the service, the command line and the evaluation share this code."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnxruntime

from genreflow.audio.decode import decode_mono
from genreflow.audio.input_file import source_name
from genreflow.audio.levels import Levels
from genreflow.bundle import Bundle
from genreflow.errors import AudioError, GenreflowError
from genreflow.evaluation.calibration import softmax
from genreflow.features.logmel import LogMel
from genreflow.features.segments import iter_segments

# Segments per run of the model. Larger batches are no faster on one core and take more memory. Models from LARGE_BYTES
# on are as fast with smaller ones (`vgg_large` takes 60 MiB less with two threads, musicnn 40 MiB less with one).
BATCH, LARGE_BATCH, LARGE_BYTES = 8, 4, 20_000_000
# How often a bundle is read that is replaced again and again.
LOAD_ATTEMPTS = 5
# Largest peak that counts as silence: -80 dBFS, above the dither of 16 bits.
SILENCE_PEAK = 1e-4


@dataclass(frozen=True)
class Segment:
    """The prediction for one segment of a track.

    Parameters
    ----------
    start, end : float >= 0 [s]
    genre : str
        The most probable genre.
    confidence : float in [0, 1]
        Its probability.
    """

    start: float
    end: float
    genre: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one track.

    Parameters
    ----------
    genre : str or None
        The most probable genre; None if the classifier abstains.
    confidence : float in [0, 1]
        The highest probability, also if the classifier abstains.
    probabilities : dict of str to float in [0, 1]
        Probability of each genre, in descending order; they sum to 1. The mean over the segments.
    segments : list of Segment
        In temporal order. They overlap if the hop is shorter than a segment.
    duration : float > 0 [s]
    short : bool
        Whether the track is shorter than a segment and was padded with silence.
    """

    genre: str | None
    confidence: float
    probabilities: dict[str, float]
    segments: list[Segment]
    duration: float
    short: bool

    def to_dict(self, model: dict[str, Any]) -> dict[str, Any]:
        """Return the prediction ready for JSON, with the model that made it (`Predictor.model`)."""
        return asdict(self) | {"model": model}


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

    Raises
    ------
    GenreflowError
        The bundle is missing or damaged, ONNX Runtime cannot run its model, or the output of the model does not match
        the labels.

    Examples
    --------
    >>> Predictor("models/champion").classify("song.mp3").genre  # doctest: +SKIP
    'jazz'
    """

    def __init__(self, directory: Path | str, *, threads: int = 1) -> None:
        self.bundle, self._session = _load(Path(directory), threads)
        self.model: dict[str, Any] = {"name": self.bundle.name, "version": self.bundle.version}
        if self.bundle.leaking:
            self.model["leaking"] = True
        self._logmel = LogMel(self.bundle.spec, self.bundle.bank)
        large = self.bundle.embedder is not None or self.bundle.onnx_path.stat().st_size >= LARGE_BYTES
        self._batch = LARGE_BATCH if large else BATCH
        self._input = self._session.get_inputs()[0].name
        silence = np.zeros((1, self.bundle.segment_frames, self.bundle.spec.n_mels), np.float32)
        expected, found = (1, len(self.bundle.labels)), self.logits(silence).shape
        if found != expected:
            raise GenreflowError(
                f"{self.bundle.onnx_path}: the logits of one segment must have shape {expected}, one for each of the "
                f"bundle's labels; got {found}."
            )

    def logits(self, segments: np.ndarray) -> np.ndarray:
        """Run the model.

        Parameters
        ----------
        segments : np.ndarray [shape=(n, segment_frames, n_mels), dtype=float32], in [0, 1]

        Returns
        -------
        np.ndarray [shape=(n, n_classes), dtype=float32]
        """
        return self._session.run(None, {self._input: segments})[0]

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
        spec, length = self.bundle.spec, self.bundle.segment_frames

        def predict(blocks: Iterator[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], int, bool]:
            starts, probabilities, short = [], [], False
            counter = _Counter()
            frames = self._logmel.frames(counter.count(blocks))
            for start, segments, is_short in iter_segments(
                frames, length=length, hop=self.bundle.segment_hop, batch=self._batch
            ):
                starts.append(start)
                probabilities.append(softmax(self.logits(segments), self.bundle.temperature))
                short |= is_short
            return starts, probabilities, counter.samples, short

        name = name or source_name(source)
        (starts, probabilities, samples, short), levels = decode_mono(
            source,
            predict,
            sample_rate=spec.sample_rate,
            block_seconds=spec.clip_seconds,
            max_seconds=max_seconds,
            name=name,
        )
        _require_sound(levels, name)
        by_segment = np.concatenate(probabilities)
        duration = samples / spec.sample_rate
        return self._summarise(np.concatenate(starts), by_segment, duration=duration, short=short)

    def _summarise(self, starts: np.ndarray, by_segment: np.ndarray, *, duration: float, short: bool) -> Prediction:
        labels, spec = self.bundle.labels, self.bundle.spec
        mean = by_segment.mean(axis=0, dtype=np.float64)
        order = np.argsort(-mean, kind="stable")
        confidence = float(mean[order[0]])
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
            genre=labels[order[0]] if confidence >= self.bundle.abstain_below else None,
            confidence=confidence,
            probabilities={labels[index]: float(mean[index]) for index in order},
            segments=segments,
            duration=round(duration, 3),
            short=short,
        )


class _Counter:
    """Counts the samples of a stream of blocks."""

    def __init__(self) -> None:
        self.samples = 0

    def count(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            yield block


def _require_sound(levels: Levels, name: str) -> None:
    """Refuse what has no sound, whose features would be those of rounding noise."""
    if levels.constant_offset is not None:
        found = f"a constant offset of {levels.constant_offset:.3g}"
    elif levels.sound_peak < SILENCE_PEAK:
        found = "silence"
    else:
        return
    raise AudioError("unusable", f"{name}: must contain sound; got {found}.")


@cache
def _register_arena() -> None:
    """Register one memory arena for all sessions of the process, which grows by the sizes that are requested."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = onnxruntime.OrtArenaCfg(0, 1, -1, -1)  # no limit, growth as requested, default chunk sizes
    onnxruntime.create_and_register_allocator(info, as_requested)


def _load(directory: Path, threads: int) -> tuple[Bundle, onnxruntime.InferenceSession]:
    """Load bundle and model; both again if the directory was replaced meanwhile, as the stage `package` does."""
    for _ in range(LOAD_ATTEMPTS):
        before = _identity(directory)
        try:
            bundle = Bundle.load(directory)
            session = _open_session(bundle.onnx_path, threads)
        except GenreflowError:
            if _identity(directory) == before:
                raise
        else:
            if _identity(directory) == before:
                return bundle, session
    raise GenreflowError(f"{directory}: must not change while it is loaded; got another bundle {LOAD_ATTEMPTS} times.")


def _identity(directory: Path) -> tuple[int, ...] | None:
    """Return what is another one when the directory is replaced, or a file in it."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A shared arena makes a large model a seventh faster than the system's allocator. The arena of a session would
    # double its size each time it grows, and memory patterns would keep more beside it.
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        message = " ".join(str(error).split()).rstrip(".")
        raise GenreflowError(f"{path}: must be a model that ONNX Runtime can run; got {message}.") from error
