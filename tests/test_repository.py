"""Rules that hold for the whole repository: dependencies, import side effects, names, platforms."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

# Imported by what the service needs, but only inside functions that the service does not call.
OPTIONAL_FOR_INFERENCE = {
    "joblib": "features.store computes features in parallel (ingest), and reads them without it",
    "pyarrow": "classify --output FILE.parquet",
    "distributed": "classify --scheduler",
}
# Dependencies that are not imported by name.
NOT_IMPORTED = {
    "python-multipart": "Starlette parses forms with it",
    "tf2onnx": "Keras exports ONNX with it",
    "psycopg": "SQLAlchemy connects to PostgreSQL with it",
}
# Names of modules that occur in several packages. Any other name is unique, so that a file is found by its name.
REPEATED_NAMES = {
    "calibration": "evaluation: temperature and threshold from logits; training: of a fitted model",
    "charts": "of the study, and of the evaluation",
    "checks": "audit: of tracks; evaluation: of the arguments of metrics",
    "data": "training: arrays of a project; reporting: a study or an evaluation as the report draws it",
    "drift_reference": "what a bundle has, and the stage that makes it",
    "featurize": "the stage, and what it calls",
    "manifest": "the manifest, and its audit",
    "metrics": "evaluation: of predictions; serving: of the service, for Prometheus",
    "options": "training: of a fit; datasets: of an ingest",
    "page": "of the audit, the study, the evaluation and a check for drift",
    "params": "the parameter model of each package",
    "settings": "of the service, and of the demo music",
    "source": "of GTZAN, and of FMA",
    "split": "the stage, and what it calls",
    "store": "of features, of embeddings, and of MLflow",
    "study": "the study, and its MLflow run",
    "summary": "of an audit, and of a study's MLflow run",
}
# What importing genreflow changes outside genreflow, and why.
SIDE_EFFECTS = {
    "genreflow": {
        "BENTOML_DO_NOT_TRACK": "read by BentoML when a command starts",
        "MLFLOW_DISABLE_TELEMETRY": "read by MLflow at import",
        "ORT_DISABLE_TELEMETRY": "read by ONNX Runtime at import",
        "DO_NOT_TRACK": "read by DVC when a command starts",
    },
}
# Packages whose import takes seconds; modules that import them at module level are checked by a slow test.
HEAVY = {"bentoml", "keras", "mlflow", "optuna", "tensorflow", "librosa", "matplotlib", "pandas", "dvc", "mirdata"}


def canonical(name: str) -> str:
    """A distribution's normalised name, without version and extras."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", name)[0]).lower()


def declared(*extras: str) -> set[str]:
    project = PYPROJECT["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {canonical(requirement) for group in groups for requirement in group}


def modules() -> dict[str, Path]:
    """All modules of the package by name."""
    found = {}
    for path in sorted((SOURCE / "genreflow").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("genreflow", include_external_packages=True, cache_dir=None)


def external_imports(names: set[str]) -> dict[str, set[str]]:
    """External packages by the modules of `names` that import them, anywhere in the module."""
    found: dict[str, set[str]] = {}
    for name in names:
        for imported in graph().find_modules_directly_imported_by(name):
            if not imported.startswith("genreflow") and imported not in sys.stdlib_module_names:
                found.setdefault(imported, set()).add(name)
    return found


def module_level_imports(path: Path) -> set[str]:
    """Top-level packages that a module imports when it is itself imported."""
    found, pending = set(), list(ast.parse(path.read_text("utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            pending += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)
            ]
    return found


def service_modules() -> set[str]:
    """The modules that the service and `genreflow classify` can import."""
    roots = {name for name in modules() if name.startswith(("genreflow.serving", "genreflow.inference"))}
    return {name for root in roots for name in {root, *graph().find_upstream_modules(root)} if "genreflow" in name}


@cache
def provided(name: str) -> set[str]:
    """Top-level packages and modules that a distribution installs."""
    return {path.parts[0].split(".")[0] for path in distribution(name).files or ()}


def undeclared(names: set[str], allowed: set[str]) -> dict[str, list[str]]:
    """External packages that `names` import although no distribution of `allowed` installs them."""
    packages = set().union(*map(provided, allowed))
    found = external_imports(names)
    return {package: sorted(importers) for package, importers in found.items() if package not in packages}


def test_what_the_service_imports_is_a_base_dependency():
    found = undeclared(service_modules(), declared())
    assert {package: names for package, names in found.items() if package not in OPTIONAL_FOR_INFERENCE} == {}


def test_optional_packages_are_imported_inside_functions():
    assert {
        name: imported
        for name in service_modules()
        if (imported := module_level_imports(modules()[name]) & set(OPTIONAL_FOR_INFERENCE))
    } == {}


def test_base_dependencies_are_imported_by_the_service_or_the_command_line():
    command_line = {name for name in modules() if name.startswith("genreflow.cli")}
    imported = set(external_imports(service_modules()))
    imported |= set().union(*(module_level_imports(modules()[name]) for name in command_line))
    unused = {name for name in declared() if not provided(name) & imported}
    assert unused <= set(NOT_IMPORTED)


def test_every_declared_distribution_is_used():
    imported = set(external_imports(set(modules())))
    unused = {name for name in declared("train", "dask", "postgres") if not provided(name) & imported}
    assert unused == set(NOT_IMPORTED)


def test_every_imported_distribution_is_declared():
    assert undeclared(set(modules()), declared("train", "dask", "postgres")) == {}


def test_the_service_lock_holds_the_base_dependencies():
    locked = {canonical(line) for line in (ROOT / "requirements-service.lock").read_text().splitlines() if "==" in line}
    assert declared() <= locked
    assert not locked & {"tensorflow", "keras", "mlflow", "optuna", "dvc", "librosa", "pandas"}


def test_only_compiled_kernels_are_exempt_from_annotations():
    """mypy refuses every other function without annotations (disallow_untyped_defs)."""
    mypy = PYPROJECT["tool"]["mypy"]
    assert mypy["disallow_untyped_defs"] is True
    exempt = {
        pattern
        for override in mypy.get("overrides", ())
        if override.get("disallow_untyped_defs") is False
        for pattern in ([override["module"]] if isinstance(override["module"], str) else override["module"])
    }
    for name in exempt:
        tree = ast.parse(modules()[name].read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        untyped = [function.name for function in functions if not (function.returns or _is_compiled(function))]
        assert untyped == [], name


def _is_compiled(function: ast.FunctionDef) -> bool:
    return any(re.search("njit|compiled", ast.unparse(decorator)) for decorator in function.decorator_list)


# Imports modules one after the other, and attributes every change of the environment, of loggers outside genreflow and
# of warning filters to the module whose body was being executed.
PROBE = """
import importlib, importlib.abc, json, logging, os, sys, warnings
from importlib.machinery import SourceFileLoader

names, heavy = json.loads(sys.stdin.read())

class Refused(ImportError): pass

class RefuseHeavy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in heavy:
            raise Refused(name)

def state():
    settings = {"warnings.filters": str(warnings.filters), **os.environ}
    for name, logger in {"root": logging.root, **logging.root.manager.loggerDict}.items():
        if isinstance(logger, logging.Logger) and name.split(".")[0] != "genreflow":
            seen = (logger.level, len(logger.handlers), len(logger.filters), logger.propagate, logger.disabled)
            if seen != (0, 0, 0, True, False):
                settings["logger " + name] = str(seen)
    return settings

changed, running, last = {}, ["__main__"], state()

def attribute():
    global last
    now = state()
    if now != last and running[-1].split(".")[0] == "genreflow":
        keys = {key for key in {*now, *last} if now.get(key) != last.get(key)}
        changed[running[-1]] = sorted(keys.union(changed.get(running[-1], ())))
    last = now

execute = SourceFileLoader.exec_module

def exec_module(self, module):
    attribute()
    running.append(module.__name__)
    try:
        execute(self, module)
    finally:
        attribute()
        running.pop()

SourceFileLoader.exec_module = exec_module
sys.meta_path.insert(0, RefuseHeavy())
imported = 0
for name in names:
    try:
        importlib.import_module(name)
        imported += 1
    except Refused:
        pass
print(json.dumps([imported, changed]))
"""


@pytest.mark.parametrize("heavy", [sorted(HEAVY), pytest.param([], marks=pytest.mark.slow)], ids=["light", "all"])
def test_an_import_changes_nothing_outside_genreflow(heavy):
    environment = {key: value for key, value in os.environ.items() if key not in SIDE_EFFECTS["genreflow"]}
    probe = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([list(modules()), heavy]),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert probe.returncode == 0, probe.stderr
    imported, changed = json.loads(probe.stdout.splitlines()[-1])
    assert imported > len(modules()) / 2 if heavy else imported == len(modules())
    assert changed == {name: sorted(keys) for name, keys in SIDE_EFFECTS.items()}


def test_module_names_are_unique_but_for_a_declared_few():
    names = Counter(path.stem for path in modules().values() if path.stem != "__init__")
    repeated = {name for name, count in names.items() if count > 1}
    assert repeated <= set(REPEATED_NAMES)


def test_windows_is_refused_in_one_sentence():
    program = "import sys; sys.platform = 'win32'; import genreflow"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.search(r"ImportError: genreflow .*Linux.*macOS.*\.$", ended.stderr.strip())


# Calls that Linux has and macOS has not, and the modules that guard them.
LINUX_ONLY = ("os.sched_getaffinity", "os.sched_setaffinity", "prctl")


def test_calls_that_only_linux_has_are_guarded():
    found = {}
    for name, path in modules().items():
        text = path.read_text("utf-8")
        for call in LINUX_ONLY:
            if f"{call}(" in text and "sys.platform" not in text and "hasattr(" not in text:
                found.setdefault(name, []).append(call)
    assert found == {}


def test_functions_have_at_most_60_lines():
    """Without the docstring; longer ones become steps that return what a test can assert."""
    found = {}
    for name, path in modules().items():
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
                if (lines := function.body[-1].end_lineno - first.lineno + 1) > 60:
                    found[f"{name}.{function.name}"] = lines
    assert found == {}


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
)
def test_modules_that_the_documentation_names_exist(page):
    known = {
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    named = re.findall(r"`([\w/.-]+\.py)`", (ROOT / page).read_text("utf-8"))
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in known)] == []


def test_the_workflows_have_the_schema_of_github():
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed; `make install` installs it")
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert workflows
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
