"""The BentoML service: a predictor behind HTTP routes.

BentoML imports this module in its supervisor too, so heavy imports are inside ``__init__``.
"""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from genreflow.bundle_files import MODEL_NAME
from genreflow.errors import AudioError
from genreflow.inference.environment import ENVIRONMENT
from genreflow.serving.application import GuardedService, load_predictor, make_predictor
from genreflow.serving.feedback_recording import feedback_recorder
from genreflow.serving.metrics import FAILURES, LAST_CHECK, count_prediction
from genreflow.serving.open_files import raise_open_file_limit
from genreflow.serving.prediction_log import log_prediction
from genreflow.serving.prediction_record import PredictionRecord
from genreflow.serving.progress import progress_report
from genreflow.serving.reload import BundleWatch
from genreflow.serving.responses import ErrorResponse, RequestError
from genreflow.serving.schema import (
    BatchClassification,
    Classification,
    ClassifyBatchInput,
    ClassifyInput,
    EmptyInput,
    ModelInfo,
    describe_model,
)
from genreflow.serving.settings import settings
from genreflow.serving.upload import MAX_REQUEST_SECONDS

if TYPE_CHECKING:
    from genreflow.inference.predictor import Predictor


@bentoml.service(
    name=MODEL_NAME,
    description="Classifies the genre of music, as a whole and over time.",
    service_class=GuardedService,
    threads=1,  # more wait for each other, and for the event loop, at the Python lock
    traffic={"timeout": MAX_REQUEST_SECONDS},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},  # it costs 0.3 ms a request, also without an exporter
    envs=[{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
)
class GenreClassifier:
    """Classifies the genre of music, as a whole and over time."""

    def __init__(self) -> None:
        raise_open_file_limit()
        self.settings = settings()
        source = (self.settings.bundle, self.settings.threads)
        self._use(load_predictor(*source))
        if self.settings.reload_seconds:
            watch = BundleWatch(self.predictor, load=partial(make_predictor, *source), use=self._use)
            watch.start(self.settings.reload_seconds)
        self.feedback = feedback_recorder(self.settings)

    @bentoml.api(input_spec=ClassifyInput, output_spec=Classification)
    def classify(self, audio: UploadFile, ctx: bentoml.Context) -> Response:
        """Classify one audio file."""
        try:
            return JSONResponse(self._classify(audio, ctx))
        except RequestError as error:
            ctx.response.status_code = error.status  # BentoML puts it in place of the response's own
            return ErrorResponse(error)

    @bentoml.api(input_spec=ClassifyBatchInput, output_spec=BatchClassification)
    def classify_batch(self, audios: list[UploadFile], ctx: bentoml.Context) -> Response:
        """Classify several audio files; a file that fails does not affect the others."""
        results: list[dict[str, Any]] = []
        deadline = time.thread_time() + self.settings.max_work_seconds
        for audio in audios:
            try:
                if results and time.thread_time() > deadline:
                    raise RequestError(
                        413, "too_much_work", "The files before used up the time of a batch; send again."
                    )
                result = self._classify(audio, ctx)
            except RequestError as error:
                result = error.to_dict()
            results.append({"file": audio.filename, **result})
        return JSONResponse({"results": results})

    @bentoml.api(input_spec=EmptyInput, output_spec=ModelInfo)
    def model(self) -> Response:
        """Describe the model that is served: its labels, metrics and lineage."""
        return JSONResponse(describe_model(self.predictor))

    def _use(self, predictor: "Predictor") -> None:
        self.predictor = predictor
        LAST_CHECK.bundle_hash = predictor.bundle_hash

    def _classify(self, audio: UploadFile, ctx: bentoml.Context) -> dict[str, Any]:
        predictor = self.predictor  # one for the whole request
        started = time.perf_counter()
        try:
            analysis = predictor.analyse(
                audio.file, name=audio.filename, max_seconds=self.settings.max_seconds, on_progress=progress_report()
            )
        except AudioError as error:
            FAILURES.labels(error.code).inc()
            raise RequestError.from_audio_error(error) from error
        except (OSError, MemoryError) as error:
            if refusal := RequestError.from_lack_of_resources(error):
                raise refusal from error
            raise
        seconds = time.perf_counter() - started
        record = PredictionRecord(analysis=analysis, request_id=ctx.request.state.request_id, seconds=seconds)
        self._write_records(record, predictor)
        result = record.to_dict(predictor.model)
        if self.feedback is not None and record.request_id is not None:
            self.feedback.record(result, audio.file, size=audio.size or 0, name=audio.filename)
        return result

    def _write_records(self, record: PredictionRecord, predictor: "Predictor") -> None:
        """Write what is kept of a prediction; nothing here may fail, or wait, since the response is sent after it."""
        count_prediction(record.analysis.prediction)
        if self.settings.prediction_log and record.request_id is not None:
            log_prediction(record, predictor)
