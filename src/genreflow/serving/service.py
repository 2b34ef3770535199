"""The BentoML service: a predictor wired to routes.

BentoML imports this module in its supervising process too, so what is heavy is imported in ``__init__``.
"""

from typing import Any

import bentoml
from starlette.responses import JSONResponse

from genreflow.errors import AudioError
from genreflow.serving.schema import Answer, AudioUpload, AudioUploads, BatchAnswer, ModelCard, NoInput, settings
from genreflow.serving.upload import Refusal

# Requests run side by side on a core each; pools of threads inside the libraries would fight each other.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@bentoml.service(
    name="genre-classifier",
    description="Says what genre music is, as a whole and over time.",
    workers=1,
    threads=2,
    traffic={"timeout": 300, "max_concurrency": 64},
    # BentoML's access log takes a content type for UTF-8, and answers 500 where it is not.
    logging={"access": {"request_content_type": False}},
    envs=[{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
)
class GenreClassifier:
    """Says what genre music is, as a whole and over time."""

    def __init__(self) -> None:
        from genreflow.serving.predictor import Predictor

        self.limits = settings()
        self.predictor = Predictor(self.limits.bundle)

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
        results = []
        for audio in audios:
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
        with audio.file as file:
            prediction = self.predictor.classify(file, name=audio.filename, max_seconds=self.limits.max_seconds)
        return prediction.to_dict(self.predictor.model)
