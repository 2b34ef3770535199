"""The API page at /docs: `bentoml serve` and a real browser."""

import json
import re
import shlex
import subprocess
import threading

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from chromium import expect, horizontal_overflow, is_dark, launch, needs_chromium, sync_api, unnamed_elements, visits
from genreflow.costs.service_process import served
from genreflow.serving import ui
from service_client import client_of
from serving_toy import write_tone

pytestmark = needs_chromium

TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def service(bento_home):
    with served("genre-classifier:latest", environment={"BENTOML_HOME": bento_home}, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def protected_service(bento_home):
    """A service that requires a token."""
    environment = {"BENTOML_HOME": bento_home, "GENREFLOW_TOKEN": TOKEN}
    with served("genre-classifier:latest", environment=environment, watch=False) as service:
        yield service


@pytest.fixture(scope="module")
def browser():
    with launch() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    with visits(browser) as visit:
        yield visit


@pytest.fixture(scope="module")
def audio_files(tmp_path_factory):
    """A folder with the files that the curl commands of the page upload."""
    folder = tmp_path_factory.mktemp("audio")
    for name, label in {"song.mp3": "bass", "first.mp3": "drone", "second.mp3": "whistle"}.items():
        write_tone(folder / name, label, 5.0, rate=44100)
    return folder


def open_docs(visit, base_url, **options):
    page = visit(base_url, "/docs", **options)
    expect(page, "#overview").to_be_visible()
    return page


def curl_commands(page):
    """The curl command of each route."""
    return {
        card.locator("h2 code").text_content(): card.locator(".code-block:has(.copy) pre").text_content()
        for card in page.locator("section.route").all()
    }


def test_every_route_of_the_document_is_shown(visit, service):
    document = httpx.get(f"{service.url}/docs.json", timeout=300).json()
    page = open_docs(visit, service.url)
    expect(page, "#title").to_contain_text(document["info"]["title"])
    expect(page, "#base-url").to_have_text(service.url)
    expect(page, "#authentication").to_have_text("No token is required.")
    expect(page, "section.route h2 code").to_have_text(list(document["paths"]))
    expect(page, "#contents code").to_have_text(list(document["paths"]))
    for path, item in document["paths"].items():
        [(method, operation)] = item.items()
        card = page.locator("section.route").filter(has=page.locator("h2 code", has_text=re.compile(f"^{path}$")))
        sync_api.expect(card.locator("h2 .method")).to_have_text(method.upper())
        sync_api.expect(card).to_contain_text(operation["summary"])
        sync_api.expect(card.locator(".response .status")).to_have_text(list(operation["responses"]))
        for parameter in operation.get("parameters", []):
            sync_api.expect(card.get_by_role("list", name="Parameters")).to_contain_text(parameter["name"])
    expect(page, "#schemas h3").to_have_text(list(document["components"]["schemas"]))


def test_examples_and_schemas_are_those_of_the_document(visit, service):
    document = httpx.get(f"{service.url}/docs.json", timeout=300).json()
    page = open_docs(visit, service.url)
    responses = document["paths"]["/classify"]["post"]["responses"]
    for status, response in responses.items():
        details = page.locator("#post-classify details").filter(has=page.locator(".status", has_text=status))
        if status != "200":
            sync_api.expect(details.locator("pre").first).to_be_hidden()
            details.locator("summary").click()
        examples = response["content"]["application/json"]["examples"].values()
        shown = [json.loads(text) for text in details.locator("pre").all_text_contents()]
        assert shown == [example["value"] for example in examples]
    schemas = document["components"]["schemas"]
    [(name, schema)] = [(name, each) for name, each in schemas.items() if "start" in each.get("properties", {})]
    fields = page.get_by_role("list", name=f"Properties of {name}").get_by_role("listitem")
    sync_api.expect(fields.locator(".field-name")).to_have_text(list(schema["properties"]))
    sync_api.expect(fields.filter(has_text="confidence")).to_contain_text("number, ≥ 0, ≤ 1, required")
    targets = page.locator("main a[href^='#']").evaluate_all("links => links.map(link => link.hash.slice(1))")
    assert len(targets) > len(document["paths"])
    assert [target for target in targets if page.locator(f"[id='{target}']").count() != 1] == []


def test_curl_commands_work_as_they_are_shown(visit, service, audio_files):
    commands = curl_commands(open_docs(visit, service.url))
    outputs = {path: run_shell(command, audio_files) for path, command in commands.items()}
    assert json.loads(outputs["/classify"])["genre"] == "bass"
    batch = json.loads(outputs["/classify_batch"])["results"]
    assert [result["genre"] for result in batch] == ["drone", "whistle"]
    assert json.loads(outputs["/model"])["name"] == "genre-classifier"
    assert "genreflow_predictions_total" in outputs["/metrics"]


def test_curl_commands_send_the_required_token(visit, protected_service, audio_files):
    page = open_docs(visit, protected_service.url)
    expect(page, "#authentication").to_contain_text("Authorization: Bearer <token>")
    commands = curl_commands(page)
    assert json.loads(run_shell(commands["/classify"], audio_files))["error"]["code"] == "unauthorised"
    assert json.loads(run_shell(f"TOKEN={TOKEN}; {commands['/classify']}", audio_files))["genre"] == "bass"
    assert json.loads(run_shell(f"TOKEN={TOKEN}; {commands['/model']}", audio_files))["name"] == "genre-classifier"
    assert "TOKEN" not in commands["/livez"]


def run_shell(command, folder):
    completed = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_the_copy_button_copies_the_command(visit, service):
    page = open_docs(visit, service.url, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("window.setTimeout = () => 0")  # the button says so for two seconds, which a busy machine may miss
    button = page.get_by_role("button", name="Copy the curl command for /model")
    button.click()
    sync_api.expect(button).to_have_text("Copied")
    expect(page, "#status").to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == curl_commands(page)["/model"]


def test_without_a_clipboard_the_command_is_selected(visit, service):
    page = open_docs(visit, service.url)
    # Browsers have no clipboard on pages that are served over plain HTTP by another host.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy the curl command for /model").click()
    assert page.evaluate("getSelection().toString()").strip() == curl_commands(page)["/model"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_no_horizontal_overflow_in_light_and_dark(visit, service, scheme, width):
    page = open_docs(visit, service.url, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(details => { details.open = true; })")
    assert horizontal_overflow(page) == 0
    assert is_dark(page) == (scheme == "dark")


def test_all_elements_have_accessible_names(visit, service):
    page = open_docs(visit, service.url)
    for role in ("banner", "main", "contentinfo", "navigation"):
        sync_api.expect(page.get_by_role(role)).to_have_count(1)
    assert page.locator("h1").count() == 1
    assert unnamed_elements(page) == []
    page.keyboard.press("Tab")
    expect(page, ".skip-link").to_be_focused()


def test_both_pages_link_to_each_other(visit, service):
    page = visit(service.url, "/ui")
    page.get_by_role("link", name="API documentation").click()
    expect(page, "#overview").to_be_visible()
    assert page.url == f"{service.url}/docs"
    page.get_by_role("link", name="Classify music").click()
    expect(page, "#choose").to_be_visible()
    assert page.url == f"{service.url}/ui/"


def test_a_fragment_leads_to_its_route(visit, service):
    page = visit(service.url, "/docs#post-model")
    expect(page, "#post-model").to_be_in_viewport()


def test_a_missing_document_can_be_requested_again(visit, service):
    page = visit(service.url, "/docs", expected_messages=("502",))
    expect(page, "#overview").to_be_visible()
    statuses = iter([502])
    page.route(
        "**/docs.json",
        lambda route: route.fulfill(status=status) if (status := next(statuses, 0)) else route.continue_(),
    )
    page.reload()
    expect(page, "#notice-text").to_contain_text("502")
    expect(page, "#overview").to_be_hidden()
    page.get_by_role("button", name="Try again").click()
    expect(page, "#overview").to_be_visible()
    expect(page, "#notice").to_be_hidden()


def test_the_page_is_sent_with_and_without_a_slash(service):
    with client_of(service) as client:
        response = client.get("/docs")
        assert response.status_code == 200
        assert "unsafe" not in response.headers["content-security-policy"]
        assert client.get("/docs/", follow_redirects=True).url.path == "/docs"


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Example", "version": "1"},
    "paths": {
        "/notes/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": ["integer", "null"]}}],
            "put": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}},
                "responses": {"204": {"description": "Stored."}},
            },
            "delete": {"security": [{"token": []}], "responses": {"204": {"description": "Deleted."}}},
        }
    },
    "components": {
        "schemas": {
            "Note": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "examples": ["it's <b>bold</b>"]},
                    "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
                    "replies": {"type": "array", "items": {"$ref": "#/components/schemas/Note"}},
                    "scores": {"type": "object", "additionalProperties": {"type": "number"}},
                    "size": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
                },
            }
        }
    },
}


@pytest.fixture(scope="module")
def prefixed_server():
    """The pages under a path prefix, with `DOCUMENT` as OpenAPI document."""

    async def docs_json(request: Request) -> JSONResponse:
        return JSONResponse(DOCUMENT)

    app = Starlette(routes=[Mount("/music", routes=[Route("/docs.json", docs_json), *ui.routes])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/music"
    server.should_exit = True
    thread.join()


def test_any_document_under_a_path_prefix(visit, prefixed_server):
    page = open_docs(visit, prefixed_server)
    expect(page, "section.route .method").to_have_text(["PUT", "DELETE"])
    put, delete = (card.locator("pre").first.text_content() for card in page.locator("section.route").all())
    method, body, url = parse_curl(put)
    assert url == f"{prefixed_server}/notes/{{id}}"
    assert method == "PUT"
    note = json.loads(body)
    assert note["text"] == "it's <b>bold</b>"
    assert note["tags"] == ["a"]
    assert shlex.split(delete)[:5] == ["curl", "-X", "DELETE", "-H", "Authorization: Bearer $TOKEN"]
    expect(page, "#put-notes-id [aria-label=Parameters]").to_contain_text("integer or null, in path, required")
    types = page.get_by_role("list", name="Properties of Note").locator(".field-type")
    sync_api.expect(types).to_have_text(
        ["string", 'array of "a" | "b", at most 3', "array of Note", "object of number", "integer or null"]
    )


def parse_curl(command):
    """Method, JSON body and URL of a curl command."""
    words = shlex.split(command)
    return words[words.index("-X") + 1], words[words.index("-d") + 1], words[-1]
