"""Property-based test of the OpenAPI document: valid and invalid requests generated from it, sent to a real service."""

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from genreflow.costs.service_process import served

schemathesis = pytest.importorskip("schemathesis")
GenerationMode = schemathesis.GenerationMode


@pytest.fixture(scope="module")
def service(bento_home, tmp_path_factory):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_STALL_SECONDS": "60"}
    environment["GENREFLOW_FEEDBACK_DIR"] = str(tmp_path_factory.mktemp("service") / "feedback")
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def api(service):
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(service.url).port, timeout=300)) as connection:
        connection.request("GET", "/docs.json")
        document = json.loads(connection.getresponse().read())
    checks = {"negative_data_rejection": {"expected-statuses": [400, 413, 415]}}
    config = schemathesis.Config.from_dict({"base-url": service.url, "checks": checks})
    return schemathesis.openapi.from_dict(document, config=config)


QUICK = settings(
    deadline=None,
    derandomize=True,  # each run sends the same requests
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # no shrinking of failing examples
)
VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# /model ignores its body, so no request to it is invalid.
CASES = [(path, mode) for path in ("/classify", "/classify_batch", "/feedback") for mode in (VALID, INVALID)] + [
    ("/model", VALID)
]


def check_responses(operation, mode, hypothesis_settings) -> None:
    """Send generated requests and validate status, media type, schema and headers of the responses."""
    # A valid form usually contains bytes that are not audio, which the service rejects as documented.
    excluded = [schemathesis.checks.positive_data_acceptance]

    @hypothesis_settings
    @given(operation.as_strategy(generation_mode=mode))
    def check(case):
        if isinstance(case.body, dict):  # an empty list is not encoded at all in multipart/form-data
            assume(all(value != [] for field, value in case.body.items() if not field.startswith("audio")))
        case.call_and_validate(excluded_checks=excluded, timeout=300)

    check()


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_responses_to_generated_requests_conform_to_the_document(api, path, mode):
    check_responses(api[path]["POST"], mode, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "mode"), CASES)
def test_responses_to_many_generated_requests_conform_to_the_document(api, path, mode):
    # The service waits most of a second for the record of a prediction, which no generated ID has.
    examples = 50 if (path, mode) == ("/feedback", VALID) else 1000
    check_responses(api[path]["POST"], mode, settings(QUICK, max_examples=examples))
