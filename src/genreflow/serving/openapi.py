"""The OpenAPI document of the service: routes, responses and errors, each with an example.

BentoML's own document does not say that a genre may be null, and lists only errors that this service does not return.
"""

import json
from typing import Any

import bentoml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import genreflow
from genreflow.audio.refusals import unknown_format
from genreflow.bundle_files import MODEL_NAME
from genreflow.serving.feedback_route import PATH, FeedbackInput, FeedbackOutput
from genreflow.serving.schema import BatchClassification, Classification, ErrorBody, ModelInfo
from genreflow.serving.settings import Settings

_MODELS: tuple[type[BaseModel], ...] = (Classification, BatchClassification, ModelInfo, ErrorBody)
_SUMMARY = "Say what the genre is, where an answer is wrong."
_REF = "#/components/schemas/{model}"
_MODEL = {"name": MODEL_NAME, "version": "3"}
_CLASSIFICATION = {
    "prediction_id": "3f0c9b6d5e2a4c71b8d94a7e6f1c2d30",
    "genre": "jazz",
    "reason": None,
    "confidence": 0.71,
    "unfamiliarity": 0.12,
    "probabilities": {"jazz": 0.71, "blues": 0.2, "rock": 0.09},
    "segments": [
        {"start": 0.0, "end": 3.0, "genre": "jazz", "confidence": 0.66},
        {"start": 1.5, "end": 4.5, "genre": "jazz", "confidence": 0.76},
    ],
    "duration": 4.5,
    "short": False,
    "model": _MODEL,
}
_UNCERTAIN = _CLASSIFICATION | {
    "genre": None,
    "reason": "uncertain",
    "confidence": 0.36,
    "probabilities": {"rock": 0.36, "jazz": 0.33, "blues": 0.31},
}
_UNFAMILIAR = _CLASSIFICATION | {"genre": None, "reason": "unfamiliar", "unfamiliarity": 0.64}
_REFUSAL = unknown_format("song.mid")
_UNDECODABLE = (_REFUSAL.code, str(_REFUSAL))
_BATCH = {
    "results": [
        {"file": "song.wav", **_CLASSIFICATION},
        {"file": "song.mid", "error": dict(zip(("code", "message"), _UNDECODABLE, strict=True))},
    ]
}
_MODEL_INFO = {
    **_MODEL,
    "architecture": "efficient",
    "labels": ["blues", "jazz", "rock"],
    "segment_seconds": 3.0,
    "sample_rate": 22050,
    "abstain_below": 0.4,
    "familiarity": {"refuse_above": 0.37, "tracks": 200, "share": 0.05},
    "metrics": {"test_track_accuracy": 0.81},
    "lineage": {"git": "0f3c2d1"},
    "hash": "5b1f0c",
}

# Description and example of each error, by status.
_ERRORS = {
    400: ("Malformed request.", ("malformed_request", "The field 'audio' must be a file; got text.")),
    401: (
        "The token is missing or wrong.",
        ("unauthorised", "The header 'Authorization: Bearer <token>' is required."),
    ),
    403: (
        "Sent by a page of another site, or to a name that is none of the service.",
        ("forbidden_origin", "Requests from pages of other sites are refused; got one from 'https://other.example'."),
    ),
    408: ("The upload stalled.", ("timeout", "The body must arrive without pauses of 15 s.")),
    413: ("Too large, too long or too many files.", ("too_long", "song.wav: must be at most 900 s long; got more.")),
    415: ("Not decodable.", _UNDECODABLE),
    422: ("Decodable, but unusable.", ("unusable", "song.wav: must contain sound; got silence.")),
    429: ("Too many concurrent requests.", ("overloaded", "Too many concurrent requests (limit 32); retry after 1 s.")),
    500: ("Internal error.", ("internal", "Internal error; the log has the details.")),
    503: ("Too few resources.", ("no_resources", "The service has too few resources at the moment; retry later.")),
    504: ("Not answered in time.", ("too_slow", "The request could not be answered in time.")),
    507: ("No space to store the upload.", ("storage_full", "The service has no space to store the upload.")),
}
# Those of /feedback that differ; it uploads no audio.
_FEEDBACK_ERRORS = {
    400: ("Malformed request.", ("malformed_request", "Genre: field required.")),
    404: (
        "No such prediction.",
        ("unknown_prediction", "prediction_id: must be one of an answer that is kept; got one that has expired."),
    ),
    409: ("Other feedback was given before.", ("already_given", "prediction_id: must be one without feedback.")),
    413: ("Too large.", ("too_large", "The body must be at most 0.016 MB.")),
    422: ("Unknown genre.", ("unknown_genre", "genre: must be one of blues, jazz, rock, or null; got 'polka'.")),
    507: ("No space.", ("storage_full", "The service has no space to store feedback; retry later.")),
}
_FEEDBACK = {
    "prediction_id": _CLASSIFICATION["prediction_id"],
    "genre": "blues",
    "comment": "",
    "time": "2026-01-31T20:15:00+00:00",
}
_REQUEST_ID = "X-Request-ID"
_RESPONSE_HEADERS = {
    _REQUEST_ID: {"schema": {"type": "string"}, "description": "As sent by the client, or generated; the log has it."}
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_ERROR_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
_BENTOML_ROUTES = {
    "/livez": "Liveness probe.",
    "/healthz": "Liveness probe, under its older name.",
    "/readyz": "Readiness probe.",
    "/metrics": "Metrics in Prometheus' text format.",
}


def describe(service: bentoml.Service[Any], settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a service: classify, classify_batch and model, and feedback where it is taken.

    Parameters
    ----------
    service : bentoml.Service
        The docstrings of its routes are their summaries.
    settings : Settings
    """
    files = {"type": "array", "items": _FILE, "minItems": 1, "maxItems": settings.max_files}
    operations = {
        "classify": _operation(
            Classification,
            {"genre": _CLASSIFICATION, "uncertain": _UNCERTAIN, "unfamiliar": _UNFAMILIAR},
            errors=tuple(_ERRORS),
            form=_form("classify", "audio", _FILE),
        ),
        "classify_batch": _operation(
            BatchClassification,
            {"results": _BATCH},
            errors=tuple(status for status in _ERRORS if status not in (415, 422)),  # these are in the results
            form=_form("classify_batch", "audios", files),
        ),
        "model": _operation(ModelInfo, {"model": _MODEL_INFO}, errors=(401, 403, 429, 500, 503)),
    }
    security: list[dict[str, list[str]]] = [{"token": []}] if settings.token else []
    routes = {
        f"/{name}": {
            "post": {"operationId": name, "summary": service.apis[name].doc or "", "security": security, **operation}
        }
        for name, operation in operations.items()
    }
    if settings.feedback_dir:
        routes[PATH] = {"post": {"operationId": "feedback", "summary": _SUMMARY, "security": security, **_feedback()}}
    probes = {
        path: {"get": {"summary": summary, "responses": {"200": {"description": "OK."}}}}
        for path, summary in _BENTOML_ROUTES.items()
    }
    _, schemas = models_json_schema(
        [(model, "serialization") for model in (*_MODELS, *((FeedbackOutput,) if settings.feedback_dir else ()))],
        ref_template=_REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "description": service.description or "", "version": genreflow.__version__},
        "servers": [{"url": "."}],
        "paths": routes | probes,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _feedback() -> dict[str, Any]:
    """Return the operation of /feedback."""
    operation = _operation(
        FeedbackOutput,
        {"feedback": _FEEDBACK},
        errors=(400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 507),
        descriptions=_ERRORS | _FEEDBACK_ERRORS,
    )
    example = {name: _FEEDBACK[name] for name in ("prediction_id", "genre")}
    command = f"curl --json '{json.dumps(example)}' http://127.0.0.1:3000/feedback"
    content = {"application/json": {"schema": FeedbackInput.model_json_schema(), "example": example}}
    body = {"required": True, "description": f"For example: {command}", "content": content}
    return operation | {"requestBody": body}


def _form(route: str, field: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"type": "object", "properties": {field: schema}, "required": [field], "additionalProperties": False}
    example = f"For example: curl -F {field}=@song.mp3 http://127.0.0.1:3000/{route}"
    return {"required": True, "description": example, "content": {"multipart/form-data": {"schema": content}}}


def _operation(
    model: type[BaseModel],
    examples: dict[str, Any],
    *,
    errors: tuple[int, ...],
    form: dict[str, Any] | None = None,
    descriptions: dict[int, tuple[str, tuple[str, str]]] = _ERRORS,
) -> dict[str, Any]:
    """Return an operation: its response `model` with examples by title, the statuses of its errors, and its form."""
    responses = {"200": _response("OK.", model, examples)}
    for status in errors:
        description, (code, message) = descriptions[status]
        error = {"error": {"code": code, "message": message}}
        responses[str(status)] = _response(description, ErrorBody, {code: error}, _ERROR_HEADERS.get(status))
    parameter = {"name": _REQUEST_ID, "in": "header", "schema": {"type": "string"}, "example": "my-request-1"}
    operation: dict[str, Any] = {"parameters": [parameter], "responses": responses}
    return operation | ({"requestBody": form} if form else {})


def _response(
    description: str, model: type[BaseModel], examples: dict[str, Any], headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _RESPONSE_HEADERS | (headers or {}),
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model=model.__name__)},
                "examples": {title: {"value": value} for title, value in examples.items()},
            }
        },
    }
