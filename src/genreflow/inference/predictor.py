"""From a file to a genre: the one path that the service, the command line and the tests take."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnxruntime

from genreflow.audio.decode import iter_mono
from genreflow.audio.readers import describe
from genreflow.bundle import Bundle
from genreflow.errors import AudioError, GenreflowError
from genreflow.evaluation.calibration import softmax
from genreflow.features.logmel import LogMel
from genreflow.features.segments import iter_segments

# Segments in one run of the net. Larger is no faster on a core, and the memory at work grows with it; a large net is as
# fast with fewer (`vgg_large` takes 60 MiB less in two threads).
BATCH, LARGE_BATCH, LARGE_BYTES = 8, 4, 20_000_000
# A peak below -100 dBFS, a third of the smallest step of 16 bits: no sample of any recording that was ever audible.
SILENCE = 1e-5


@dataclass(frozen=True)
class Segment:
    """One stretch of a track: `start` and `end` in seconds, the likeliest genre and its probability."""

    start: float
    end: float
    genre: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What the classifier says about one track.

    Parameters
    ----------
    genre : str or None
        None when the classifier abstains.
    confidence : float in [0, 1]
        The highest probability, also when it abstains.
    probabilities : dict of str to float
        Every genre, the likeliest first; they sum to 1.
    segments : list of Segment
        In the order of time; neighbours overlap where the hop is shorter than the segment.
    duration : float [s]
    short : bool
        The track is shorter than a segment and was padded with silence.
    """

    genre: str | None
    confidence: float
    probabilities: dict[str, float]
    segments: list[Segment]
    duration: float
    short: bool

    def to_dict(self, model: dict) -> dict:
        """The answer as JSON, with `model` (`Predictor.model`) saying who gave it."""
        return asdict(self) | {"model": model}


class Predictor:
    """A bundle, loaded and ready; one may be shared by any number of threads.

    Parameters
    ----------
    directory : Path
        The bundle.
    threads : int > 0
        Cores one call may use inside the net. One is best where calls run side by side.

    Raises
    ------
    GenreflowError
        The bundle is missing, damaged, or its net is not one that ONNX Runtime can run.
    """

    def __init__(self, directory: Path | str, *, threads: int = 1) -> None:
        self.bundle = Bundle.load(directory)
        self.model = {"name": self.bundle.name, "version": self.bundle.version}
        if self.bundle.leaking:
            self.model["leaking"] = True
        self._logmel = LogMel(self.bundle.spec, self.bundle.bank)
        self._session = _open_session(self.bundle.onnx_path, threads)
        self._batch = BATCH if self.bundle.onnx_path.stat().st_size < LARGE_BYTES else LARGE_BATCH
        self._input = self._session.get_inputs()[0].name
        silence = np.zeros((1, self.bundle.segment_frames, self.bundle.spec.n_mels), np.float32)
        if self.logits(silence).shape != (1, len(self.bundle.labels)):
            raise GenreflowError(
                f"{self.bundle.onnx_path} answers with shape {self.logits(silence).shape} to one segment; "
                f"(1, {len(self.bundle.labels)}) is needed for the labels of its bundle."
            )

    def logits(self, segments: np.ndarray) -> np.ndarray:
        """The net's answer.

        Parameters
        ----------
        segments : np.ndarray [shape=(n, segment_frames, n_mels), dtype=float32], in [0, 1]

        Returns
        -------
        np.ndarray [shape=(n, len(labels)), dtype=float32]
        """
        return self._session.run(None, {self._input: segments})[0]

    def classify(
        self, source: Path | str | BinaryIO, *, name: str | None = None, max_seconds: float | None = None
    ) -> Prediction:
        """Classify one track in flat memory, whatever its length.

        Parameters
        ----------
        source : path or binary file object
        name : str, optional
            What messages call it; by default its path, where it has one.
        max_seconds : float > 0 [s], optional
            Refuse what is longer.

        Raises
        ------
        AudioError
            ``undecodable``, ``unusable`` (no samples, NaN, silence) or ``too_long``.
        """
        spec, length = self.bundle.spec, self.bundle.segment_frames
        meter = _Meter(name or describe(source))
        blocks = iter_mono(
            source, sample_rate=spec.sample_rate, block_seconds=spec.clip_seconds, max_seconds=max_seconds
        )
        starts, probabilities, short = [], [], False
        for start, segments, is_short in iter_segments(
            self._logmel.frames(meter.through(blocks)), length=length, hop=self.bundle.segment_hop, batch=self._batch
        ):
            starts.append(start)
            probabilities.append(softmax(self.logits(segments), self.bundle.temperature))
            short |= is_short
        by_segment = np.concatenate(probabilities)
        duration = meter.samples / spec.sample_rate
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


@cache
def load(directory: Path | str) -> Predictor:
    """The `Predictor` of a bundle, one for all of this process and of those forked from it."""
    return Predictor(directory)


class _Meter:
    """Counts the samples that pass, so that one reading of the file both measures and classifies it."""

    def __init__(self, name: str) -> None:
        self.name, self.samples, self.peak = name, 0, 0.0

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            self.peak = max(self.peak, float(block.max()), -float(block.min()))
            yield block
        if self.peak < SILENCE:
            raise AudioError("unusable", f"{self.name} is silent from beginning to end; sound is needed.")


@cache
def _register_arena() -> None:
    kind = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = onnxruntime.OrtArenaCfg(0, 1, -1, -1)  # no limit, growth by what is asked for, chunks as usual
    onnxruntime.create_and_register_allocator(kind, as_requested)


def _open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # One arena for all threads, which grows by what is needed: a seventh faster than the system's allocator for a large
    # net. A session's own doubles each time, and what its runs plan ahead is kept beside it.
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise GenreflowError(f"{path} is not a model that ONNX Runtime can run ({error}).") from error
