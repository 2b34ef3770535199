"""The OpenAPI document put to the test: requests made up from it, right ones and wrong ones, to a real service."""

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
def service(bento_home):
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_STALL_SECONDS": "2"}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def api(service):
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(service.url).port, timeout=60)) as connection:
        connection.request("GET", "/docs.json")
        document = json.loads(connection.getresponse().read())
    refused = {"negative_data_rejection": {"expected-statuses": [400, 413, 415]}}
    config = schemathesis.Config.from_dict({"base-url": service.url, "checks": refused})
    return schemathesis.openapi.from_dict(document, config=config)


quick = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # what fails need not be made small
)
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# Nothing that is sent to /model is wrong.
ASKED = [(path, kind) for path in ("/classify", "/classify_batch") for kind in (RIGHT, WRONG)] + [("/model", RIGHT)]


def check(operation, kind, how) -> None:
    """Ask what is made up, and compare the answer with the document: status, type, schema, headers."""
    # Not every file of any bytes is audio, so that a right form may well be refused, in the words of the document.
    excluded = [schemathesis.checks.positive_data_acceptance]

    @how
    @given(operation.as_strategy(generation_mode=kind))
    def ask(case):
        if isinstance(case.body, dict):  # a field with a list of nothing is not in the form that is sent
            assume(all(sent != [] for field, sent in case.body.items() if not field.startswith("audio")))
        case.call_and_validate(excluded_checks=excluded)

    ask()


@pytest.mark.parametrize(("path", "kind"), ASKED)
def test_what_is_made_up_from_the_document_is_answered_as_it_says(api, path, kind):
    check(api[path]["POST"], kind, quick)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), ASKED)
def test_much_that_is_made_up_from_the_document_is_answered_as_it_says(api, path, kind):
    check(api[path]["POST"], kind, settings(quick, max_examples=1000))
