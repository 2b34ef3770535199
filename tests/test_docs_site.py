"""The documentation site: built strictly, complete, and without requests to other hosts. The plots of DVC likewise."""

import functools
import http.server
import importlib.util
import re
import subprocess
import sys
import threading

import pytest
import yaml

from chromium import TIMEOUT_MS, expect, horizontal_overflow, is_dark, launch, needs_chromium, visits
from conftest import ROOT
from pipeline import Project

pytestmark = pytest.mark.slow
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="mkdocs is not installed; `make install` installs it",
)

# What the theme's script would load if it were missing. Mermaid is loaded before it (docs/theme/main.html), and
# browsers have had the other for years.
NEVER_LOADED = {"https://unpkg.com/mermaid@11/dist/mermaid.min.js", "https://unpkg.com/resize-observer-polyfill"}
LOADED = re.compile(r"<(?:script|img|iframe|source|audio|video)\b[^>]*?\bsrc=[\"']?([^\"' >]+)|<link\b([^>]*)>")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy of the repository: pages are generated beside the others."""
    project = Project(tmp_path_factory.mktemp("docs") / "project", left_out=())
    project.run(sys.executable, "docs/make_reference.py")
    environment = project.environment | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    built = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return project.folder / "site"


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def loaded_addresses(html: str) -> list[str]:
    """Addresses that a browser requests when it opens a page."""
    found = []
    for source, link in LOADED.findall(html):
        href = re.search(r"\bhref=[\"']?([^\"' >]+)", link)
        relation = re.search(r"\brel=[\"']?([^\"'>]+)", link)
        if source or (href and relation and relation[1].strip() not in ("canonical", "prev", "next")):
            found.append(source or href[1])
    return found


def test_the_scan_sees_what_pages_load():
    html = (
        '<script src="https://a.example/x.js"></script><link rel=stylesheet href=//b.example/y.css><a href="https://c">'
    )
    assert loaded_addresses(html) == ["https://a.example/x.js", "//b.example/y.css"]


@needs_mkdocs
def test_pages_load_nothing_from_other_hosts(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = loaded_addresses(page.read_text("utf-8"))
        assert loaded
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text("utf-8")) == [], sheet
    scripts = site.glob("assets/javascripts/*.js")
    named = {
        url
        for script in scripts
        for url in re.findall(r"https://[\w.-]+/[\w@./-]+\.?js\b|https://unpkg[^\"'`]+", script.read_text("utf-8"))
    }
    assert named <= NEVER_LOADED


@needs_mkdocs
def test_the_reference_has_every_parameter_stage_and_command(site):
    from genreflow.cli import cli

    reference = site / "reference"
    parameters = (reference / "parameters.html").read_text("utf-8")
    names = {name for section in yaml.safe_load((ROOT / "params.yaml").read_text()).values() for name in section}
    assert [name for name in names if f"<code>{name}</code>" not in parameters] == []
    stages = (reference / "stages.html").read_text("utf-8")
    names = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [name for name in names if f"<td><code>{name}</code></td>" not in stages] == []
    command_line = (reference / "command-line.html").read_text("utf-8")
    assert [name for name in cli.commands if f'id="genreflow-{name}"' not in command_line] == []
    python = (reference / "python.html").read_text("utf-8")
    assert "genreflow.features.logmel.LogMel" in python
    assert "POST /classify" in (reference / "http.html").read_text("utf-8")


@needs_mkdocs
@needs_chromium
def test_the_site_in_a_browser(address, tmp_path):
    with launch() as browser, visits(browser) as visit:
        for scheme in ("light", "dark"):
            page = visit(address, "/index.html", color_scheme=scheme)
            expect(page, "h1").to_have_text(re.compile("genreflow"))
            assert is_dark(page) == (scheme == "dark")
            page.screenshot(path=tmp_path / f"{scheme}.png")
        for name in ("index", "reference/parameters", "benchmarks", "architecture"):
            phone = visit(address, f"/{name}.html", viewport={"width": 390, "height": 800})
            assert horizontal_overflow(phone) == 0, name
        diagram = visit(address, "/explanation/features.html").locator("div.mermaid")
        diagram.wait_for()
        assert diagram.bounding_box()["height"] > 50


@needs_chromium
def test_plots_of_dvc_need_no_network(tmp_path):
    project = Project(tmp_path / "project")
    reports = project.folder / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "learning_curves.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,val_track_accuracy\n1,2,0.3,2,0.3,0.3\n2,1,0.6,1.5,0.5,0.6\n"
    )
    (reports / "confusion.csv").write_text("actual,predicted\nrock,rock\nrock,pop\npop,pop\n")
    project.run("dvc", "plots", "show")
    with launch() as browser:
        page, requests = browser.new_page(), []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: requests.append(request.url))
        page.goto((project.folder / "dvc_plots/index.html").as_uri())
        page.locator(".vega-embed canvas, .vega-embed svg").nth(2).wait_for()
        assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
        assert "vega.github.io" not in page.locator("body").inner_html()
