"""The BentoML service: a predictor wired to routes.

BentoML imports this module in its supervising process too, so what is heavy is imported in ``__init__``.
"""

import time
from typing import Any

import bentoml
from starlette.responses import JSONResponse

from genreflow.errors import AudioError
from genreflow.inference.environment import ENVIRONMENT
from genreflow.serving.asgi import FrontedService
from genreflow.serving.front import ANSWER_SECONDS
from genreflow.serving.metrics import metrics
from genreflow.serving.prefork import CAN_FORK
from genreflow.serving.schema import Answer, AudioUpload, AudioUploads, BatchAnswer, ModelCard, NoInput, settings
from genreflow.serving.ui import page
from genreflow.serving.upload import TOO_MUCH, Refusal


@bentoml.service(
    name="genre-classifier",
    description="Says what genre music is, as a whole and over time.",
    workers=1,
    # `genreflow.serving.prefork` makes it as many processes as there are cores to use.
    threads=1 if CAN_FORK else 2,
    # How many requests are taken on, and the access log, are the front's business.
    service_class=FrontedService,
    traffic={"timeout": ANSWER_SECONDS},
    logging={"access": {"enabled": False}},
    envs=[{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
)
@bentoml.asgi_app(page, path="/", name="ui")
class GenreClassifier:
    """Says what genre music is, as a whole and over time."""

    def __init__(self) -> None:
        from genreflow.inference.predictor import load_predictor

        self.limits = settings()
        self.predictor = load_predictor(self.limits.bundle)

    @bentoml.api(input_spec=AudioUpload, output_spec=Answer)
    def classify(self, audio: Any) -> JSONResponse:
        """Classify one audio file: wav, flac, mp3, ogg, opus, aiff and what else libsndfile reads."""
        if isinstance(audio, Refusal):
            return audio.response()
        try:
            return JSONResponse(self._answer(audio[0]))
        except AudioError as error:
            return Refusal.of(error).response()

    @bentoml.api(input_spec=AudioUploads, output_spec=BatchAnswer)
    def classify_batch(self, audios: Any) -> JSONResponse:
        """Classify several audio files; one that fails does not stop the others."""
        if isinstance(audios, Refusal):
            return audios.response()
        results, end = [], time.thread_time() + self.limits.max_work_seconds
        for audio in audios:
            if results and time.thread_time() > end:
                results.append({"file": audio.filename, **TOO_MUCH.to_dict()})
                continue
            try:
                results.append({"file": audio.filename, **self._answer(audio)})
            except AudioError as error:
                results.append({"file": audio.filename, **Refusal.of(error).to_dict()})
        return JSONResponse({"results": results})

    @bentoml.api(input_spec=NoInput, output_spec=ModelCard)
    def model(self) -> JSONResponse:
        """What is served: the model, its labels, its figures and where it came from."""
        bundle = self.predictor.bundle
        named = [name for name in ModelCard.model_fields if name != "leaking"]
        card = {name: getattr(bundle, name) for name in named if hasattr(bundle, name)}
        card |= {
            **self.predictor.model,
            "segment_seconds": round(bundle.spec.seconds(bundle.segment_frames), 3),
            "sample_rate": bundle.spec.sample_rate,
        }
        return JSONResponse(card)

    def _answer(self, audio: Any) -> dict:
        try:
            with audio.file as file:
                prediction = self.predictor.classify(file, name=audio.filename, max_seconds=self.limits.max_seconds)
        except AudioError as error:
            metrics().failures.labels(error.code).inc()
            raise
        answer = prediction.to_dict(self.predictor.model)
        metrics().count(answer)
        return answer
