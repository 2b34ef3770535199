"""The OpenAPI document: routes, answers and errors, with an example of each.

BentoML's own loses that a genre may be null, and knows only errors that this service does not give.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import genreflow
from genreflow.serving.schema import Answer, BatchAnswer, ErrorAnswer, ModelCard, settings

REQUEST_ID = "X-Request-ID"
_REF = "#/components/schemas/{model}"
_MODEL = {"name": "genre-classifier", "version": "3"}
_ANSWER = {
    "genre": "jazz",
    "confidence": 0.71,
    "probabilities": {"jazz": 0.71, "blues": 0.2, "rock": 0.09},
    "segments": [
        {"start": 0.0, "end": 3.0, "genre": "jazz", "confidence": 0.66},
        {"start": 1.5, "end": 4.5, "genre": "jazz", "confidence": 0.76},
    ],
    "duration": 4.5,
    "short": False,
    "model": _MODEL,
}
_ABSTAINED = _ANSWER | {"genre": None, "confidence": 0.36, "probabilities": {"rock": 0.36, "jazz": 0.33, "blues": 0.31}}
_UNDECODABLE = ("undecodable", "song.mp3 cannot be decoded as audio; wav, flac, ogg, opus and mp3 are read.")
_BATCH = {
    "results": [
        {"file": "song.wav", **_ANSWER},
        {"file": "song.mp3", "error": dict(zip(("code", "message"), _UNDECODABLE, strict=True))},
    ]
}
_CARD = {
    **_MODEL,
    "architecture": "efficient",
    "labels": ["blues", "jazz", "rock"],
    "segment_seconds": 3.0,
    "sample_rate": 22050,
    "abstain_below": 0.4,
    "metrics": {"test_track_accuracy": 0.81},
    "lineage": {"git": "0f3c2d1"},
    "hash": "5b1f0c",
}

# By status: when it is given, and an example.
_ERRORS = {
    400: ("No such form.", ("malformed_request", "The form has no field 'audio'; send the audio there, as a file.")),
    401: ("A token is set, and was not sent.", ("unauthorised", "A token is needed here.")),
    408: ("The client stalled.", ("timeout", "The body stopped coming, or came slower than 10 kB a second.")),
    413: ("Too large, too long or too many.", ("too_long", "song.wav is longer than 900 s.")),
    415: ("No decoder reads it.", _UNDECODABLE),
    422: ("It decodes, but to nothing that could be classified.", ("unusable", "song.wav is silent; sound is needed.")),
    429: ("As many requests as are taken on are under way.", ("overloaded", "32 requests are under way.")),
    500: ("A fault of the service.", ("internal", "The service failed; its log says more.")),
    504: ("It took too long.", ("too_slow", "The request could not be answered in time.")),
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}
_ID_HEADER = {REQUEST_ID: {"schema": {"type": "string"}, "description": "As it was sent, or made up; the log has it."}}


def describe(service: Any) -> dict:
    """Describe the service.

    Parameters
    ----------
    service : bentoml.Service
        Its name and routes are told; its docstrings are the descriptions.

    Returns
    -------
    dict
        An OpenAPI 3.1 document.
    """
    shown = {"answer": _ANSWER, "not sure": _ABSTAINED}
    classify = _route(service, "classify", Answer, shown, _form("audio", _FILE), *_ERRORS)
    one_form = (status for status in _ERRORS if status not in (415, 422))  # a file's error is in its place
    files = {"type": "array", "items": _FILE, "minItems": 1, "maxItems": settings().max_files}
    batch = _route(service, "classify_batch", BatchAnswer, {"answer": _BATCH}, _form("audios", files), *one_form)
    model = _route(service, "model", ModelCard, {"answer": _CARD}, None, 401, 429, 500)
    _, schemas = models_json_schema(
        [(each, "serialization") for each in (Answer, BatchAnswer, ModelCard, ErrorAnswer)], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "description": service.description or "", "version": genreflow.__version__},
        "servers": [{"url": "."}],
        "paths": {"/classify": classify, "/classify_batch": batch, "/model": model, **_infrastructure()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


def _form(field: str, schema: dict) -> dict:
    content = {"type": "object", "properties": {field: schema}, "required": [field], "additionalProperties": False}
    described = f"For example: curl -F {field}=@song.mp3 http://127.0.0.1:3000/classify"
    return {"required": True, "description": described, "content": {"multipart/form-data": {"schema": content}}}


def _route(
    service: Any, name: str, answer: type[BaseModel], examples: dict, body: dict | None, *errors: int
) -> dict[str, dict]:
    responses = {
        "200": {
            "description": "The answer.",
            "headers": _ID_HEADER,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(model=answer.__name__)},
                    "examples": {title: {"value": value} for title, value in examples.items()},
                }
            },
        }
    }
    for status in errors:
        when, (code, message) = _ERRORS[status]
        responses[str(status)] = {
            "description": when,
            "headers": _ID_HEADER | _HEADERS.get(status, {}),
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(model=ErrorAnswer.__name__)},
                    "examples": {code: {"value": {"error": {"code": code, "message": message}}}},
                }
            },
        }
    operation = {
        "operationId": name,
        "summary": service.apis[name].doc or "",
        "parameters": [
            {"name": REQUEST_ID, "in": "header", "schema": {"type": "string"}, "example": "my-request-1"},
        ],
        "responses": responses,
        "security": [{"token": []}] if settings().token else [],
    }
    return {"post": operation | ({"requestBody": body} if body else {})}


def _infrastructure() -> dict:
    told = {
        "/livez": "Answers while the process lives.",
        "/healthz": "The same, under its older name.",
        "/readyz": "Answers when requests are taken.",
        "/metrics": "Figures for Prometheus.",
    }
    return {
        path: {"get": {"summary": summary, "responses": {"200": {"description": "Well."}}}}
        for path, summary in told.items()
    }
