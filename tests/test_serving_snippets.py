"""The snippets of the classifier page call a running service as they stand, with its address, and with its token."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from chromium import expect, launch, needs_chromium, visits
from genreflow.costs.service_process import served
from serving_toy import write_tone, write_toy_bundle
from test_serving_ui import enter_token, occupied
from waiting import wait_for

TOKEN = "open sesame".replace(" ", "-")
COMMANDS = {
    "curl": ("bash", "snippet.sh"),
    "Python": (sys.executable, "snippet.py"),
    "JavaScript": ("node", "snippet.mjs"),
}

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """A service without a token that takes one upload at a time, and one with a token."""
    bundle = str(write_toy_bundle(tmp_path_factory.mktemp("bundle")).directory)
    common = {"GENREFLOW_BUNDLE": bundle, "GENREFLOW_PROCESSES": "1", "GENREFLOW_STALL_SECONDS": "300"}
    with (
        served(environment=common | {"GENREFLOW_MAX_UPLOADS": "1"}, watch=False) as public,
        served(environment=common | {"GENREFLOW_TOKEN": TOKEN}, watch=False) as private,
    ):
        yield {False: public, True: private}


def snippet(browser, service, language, *, token):
    """Return the text that the page shows for a language."""
    with visits(browser) as visit:
        page = visit(service.url, "/ui", expected_messages=("401",) if token else ())
        if token:
            enter_token(page, TOKEN)
        page.get_by_text("Use this service from a program").click()
        page.select_option("#snippet-language", language)
        expect(page, "#token-hint").to_be_visible() if token else expect(page, "#token-hint").to_be_hidden()
        return page.locator("#snippet code").text_content()


def run(text, language, folder):
    program, name = COMMANDS[language]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    (folder / name).write_text(text)
    write_tone(folder / "song.wav", "whistle", 3.0).rename(folder / "song.mp3")
    command = [program, name]
    environment = os.environ | {"TOKEN": TOKEN, "BENTOML_DO_NOT_TRACK": "True"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def refusals(service) -> float:
    """Return how often a service has answered that it is busy; it counts before it answers."""
    text = httpx.get(f"{service.url}/metrics", timeout=300).text
    return sum(map(float, re.findall(r'^genreflow_refused_requests_total\{code="overloaded"\} (\S+)', text, re.M)))


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize("language", COMMANDS)
def test_each_snippet_classifies_a_file(browser, services, tmp_path, language, token):
    text = snippet(browser, services[token], language, token=token)
    assert (TOKEN in text, "TOKEN" in text) == (False, token)
    result = run(text, language, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "whistle" in result.stdout


@pytest.mark.parametrize("language", COMMANDS)
def test_each_snippet_tries_again_while_the_service_is_busy(browser, services, tmp_path, language):
    service = services[False]
    text = snippet(browser, service, language, token=False)
    with occupied(service) as release, ThreadPoolExecutor(1) as pool:
        before = refusals(service)

        def release_after_a_refusal() -> None:
            wait_for(lambda: refusals(service) > before)
            release()

        released = pool.submit(release_after_a_refusal)
        result = run(text, language, tmp_path)
        released.result()
    assert result.returncode == 0, result.stderr
    assert "whistle" in result.stdout
