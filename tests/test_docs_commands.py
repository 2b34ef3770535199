"""Every command of the documentation that needs no container, other machine or network is run, from its page."""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
import soundfile
import yaml
from onnx import helper, numpy_helper

from doc_pages import DOCS, blocks, commands, edits, pages
from genreflow.costs.service_process import reserved_port
from pipeline import Project, quick_project, write_music
from postgresql_server import create_database, postgresql
from s3_server import s3_server

pytestmark = pytest.mark.slow

# `make` would create an environment.
RECIPES = {"make run": "dvc repro"}
SERVERS = {
    "bentoml serve": (3000, "/readyz"),
    "bentoml serve genre-classifier:latest": (3000, "/readyz"),
    "mlflow ui": (5000, "/health"),
    "mlflow server": (5000, "/health"),
}
# Pages that change the code, and what their commands then print.
EXTENSIONS = {
    "add-architecture": "band_pooling",
    "add-source": "listed",
    "add-feature-parameter": "featurize",
    "add-audit-check": "mix.wav: should be at most 1200 s long; got 1260 s",
}
PAGES = [page for page in pages() if commands(page) and page.stem not in EXTENSIONS]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A user's home, with ~/music."""
    home = tmp_path_factory.mktemp("home")
    write_music(home / "music")
    return home


@pytest.fixture(scope="module")
def project(home, tmp_path_factory) -> Project:
    """A project whose pipeline has run on ~/music with parameters of seconds."""
    project = quick_project(tmp_path_factory.mktemp("docs"))
    project.set(data={"path": str(home / "music")})
    (project.folder / ".venv/bin").mkdir(parents=True)
    (project.folder / ".venv/bin/activate").touch()
    shutil.copyfile(next((home / "music").rglob("*.wav")), project.folder / "song.mp3")  # the content decides
    project.commit("quick parameters")
    project.repro()
    project.commit("results")
    return project


class Shell:
    """Runs the scripts of a page in a project, servers in the background on ports of their own."""

    def __init__(self, project: Project, home: Path, stack: ExitStack) -> None:
        self.project, self.stack, self.ports = project, stack, {}
        self.environment = project.environment | {"HOME": str(home)}

    def run(self, script: str) -> str:
        for make, recipe in RECIPES.items():
            script = re.sub(rf"^{make}\b", recipe, script, flags=re.MULTILINE)
        lines = []
        stripped = [line.split("#")[0].strip() for line in script.splitlines()]
        for line, server in zip(script.splitlines(), stripped, strict=True):
            if server.startswith("export ") and SERVERS.keys() & set(stripped):  # for the server
                self.environment |= dict(each.split("=", 1) for each in shlex.split(server)[1:])
            elif server in SERVERS:
                self._serve(server)
            else:
                lines.append(line)
        text = "\n".join(lines)
        for (port, _), own in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}").replace("curl ", "curl --fail --silent ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.project.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def _serve(self, command: str) -> None:
        port = self.stack.enter_context(reserved_port())
        self.ports[SERVERS[command]] = port
        log = self.project.folder.parent / f"{command.split()[0]}.log"
        process = self.stack.enter_context(_running([*command.split(), "--port", str(port)], log, self))
        while not _answers(f"http://127.0.0.1:{port}{SERVERS[command][1]}"):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)


@contextmanager
def _running(command: list[str], log: Path, shell: Shell) -> Iterator[subprocess.Popen]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=shell.project.folder, env=shell.environment, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(300)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def shell(project, home):
    with ExitStack() as stack:
        yield Shell(project, home, stack)
    project.git("checkout", "--", ".")
    project.git("clean", "-fdq", "src", "listed")


def test_pages_name_why_commands_are_not_run():
    reasons = [block.not_run for page in pages() for block in blocks(page) if block.not_run]
    assert reasons
    known = (
        r"container|Prometheus|second machine|once per fold|remote repository|creates the environment|crontab|hours"
        r"|server of its own|fifty tracks"
    )
    assert [reason for reason in reasons if not re.search(known, reason)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page(page, shell, tmp_path):
    if page.stem == "deploy":
        use_servers(shell, tmp_path)
    for script in commands(page):
        shell.run(script)


def use_servers(shell: Shell, folder: Path) -> None:
    """Set the variables of S3 and PostgreSQL that the page expects; without these the test is skipped."""
    s3 = shell.stack.enter_context(s3_server(folder))
    store = create_database(shell.stack.enter_context(postgresql()), "mlflow")
    shell.environment |= s3.environment | {
        "S3_BUCKET": s3.bucket,
        "MLFLOW_BACKEND_STORE_URI": store.replace("postgresql:", "postgresql+psycopg:"),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{s3.bucket}/mlflow",
    }


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_works_as_the_page_says(name, shell, home):
    project, page = shell.project, DOCS / f"how-to/{name}.md"
    start = project.git("rev-list", "--max-parents=0", "HEAD").strip()  # params.yaml has its comments there
    for path, text in edits(page, lambda path: project.git("show", f"{start}:{path}")):
        if path == "params.yaml":
            values = yaml.safe_load((project.folder / path).read_text())["features"]
            new = yaml.safe_load(text)["features"]
            project.set(features={name: value for name, value in new.items() if name not in values})
        else:
            (project.folder / path).write_text(text, encoding="utf-8")
    if prepare := {"add-source": write_list, "add-audit-check": write_mix}.get(name):
        prepare(project.folder, home)
    output = "".join(shell.run(script) for script in commands(page))
    assert EXTENSIONS[name] in output


def write_list(folder: Path, home: Path) -> None:
    """Write the folder ``listed`` with its table."""
    shutil.copytree(home / "music", folder / "listed")
    files = sorted((folder / "listed").rglob("*.wav"))
    rows = [f"{file.relative_to(folder / 'listed')},{file.parts[-3]},{file.parts[-2]}" for file in files]
    (folder / "listed/list.csv").write_text("\n".join(["path,genre,artist", *rows]) + "\n")


def write_mix(_: Path, home: Path) -> None:
    """Write 21 minutes of noise."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1260 * 8000)
    soundfile.write(home / "music/bass/bass artist 0/mix.wav", noise, 8000)


def test_an_embedder_is_imported_as_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    patches = helper.make_tensor_value_info("patches", onnx.TensorProto.FLOAT, ["batch", "frames", 96])
    embeddings = helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["batch", 96])
    axes = numpy_helper.from_array(np.array([1]), "axes")
    mean = helper.make_node("ReduceMean", ["patches", "axes"], ["embeddings"], keepdims=0)
    graph = helper.make_graph([mean], "network", [patches], [embeddings], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "network.onnx")
    program = "\n".join(block.text for block in blocks(DOCS / "how-to/own-embedder.md") if block.language == "python")
    exec(compile(program, "own-embedder.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "(2, 96)"
