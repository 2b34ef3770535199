"""Each stage of dvc.yaml depends on exactly the packages whose code can change its outs."""

import re
from collections.abc import Iterator
from functools import cache

import grimp
import pytest
import yaml

from conftest import ROOT
from genreflow.params import Params

# Modules whose imports are not followed, and why a change in them changes no out of a stage.
EXCLUDED = {
    "genreflow": "sets telemetry variables and the version",
    "genreflow.stages": "paths, which dvc.yaml names too, and the handling of errors",
    "genreflow.stages.dvc_cache": "changes modes and times of files in DVC's cache, no content",
    "genreflow.params": "composes the parameter models of all packages; what a stage reads are its DVC params",
    "genreflow.constraints": "validates parameters; a stage with invalid ones writes nothing",
    "genreflow.frozen": "validates parameters; a stage with invalid ones writes nothing",
    "genreflow.errors": "exceptions; a stage that raises one writes nothing",
    "genreflow.files": "writes atomically what it is given",
    "genreflow.file_names": "escapes names that cannot be encoded; others are as before",
    "genreflow.logs": "shows log messages",
    "genreflow.cores": "counts cores; no result depends on their number",
    "genreflow.interruption": "ends a stage, which then writes nothing",
    "genreflow.processes": "finds out whether a process has ended; what it wrote is as before",
    "genreflow.sqlite": "creates and checks databases; what libraries keep in them is as before",
    "genreflow.distributed": "moves jobs to a Dask cluster; results are the same as without one",
}
# MLflow only logs what a stage does, except where the registry is kept in it.
TRACKING, REGISTRY = "genreflow.tracking", "genreflow.registry"
# Code that a stage uses without importing it, with reasons. `tune` starts the service to measure its memory as well:
# it does not depend on `serving`, since HTTP code costs all trials of a study the same.
ENTRY_POINTS = {
    "package": {"genreflow.serving.service": "bentofile.yaml names it: the bento contains and runs it"},
}
# The out of `check` is constant. It runs again if a validation rule may have changed, so that it depends on the modules
# that it and genreflow.params import themselves, file by file: packages as a whole would rerun it on every change.
CHECK = ("genreflow.stages.check", "genreflow.params")

# Sections of params.yaml that a stage reads without listing them, and why they change none of its outs.
UNLISTED_PARAMS = {
    ("featurize", "compute"): "where features are computed",
    ("tune", "compute"): "where trials run",
    ("tune", "data"): "recorded in MLflow; another source has another manifest",
    ("tune", "split"): "recorded in MLflow; another method has another split.json",
    ("train", "data"): "recorded; another source has another manifest",
    ("embed", "compute"): "how many cores compute embeddings",
    ("tune", "embedding"): "whether there is an own embedder; another one gives other embeddings",
}


def test_every_excluded_module_exists():
    assert set(EXCLUDED) <= graph().modules
    assert {TRACKING, REGISTRY} <= graph().modules


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_the_packages_that_it_imports(stage):
    listed = {dep for dep in stages()[stage]["deps"] if dep.startswith("src/")}
    derived = check_deps() if stage == "check" else package_deps(stage)
    missing = [f"add       - {dep}" for dep in sorted(derived - listed)]
    unused = [f"remove    - {dep}" for dep in sorted(listed - derived)]
    assert not missing + unused, "\n".join(
        [f"dvc.yaml: the deps of {stage} must be those of its imports:", *missing, *unused]
    )


def test_a_stage_runs_the_module_that_its_deps_are_derived_from():
    for stage, content in stages().items():
        assert module_of(stage) in graph().modules
        assert content["cmd"] == f"python -m genreflow.stages {stage}"


@pytest.mark.parametrize("stage", [stage for stage in stages() if stage != "check"])
def test_a_stage_lists_the_params_that_it_reads(stage):
    own = [dep for dep in package_deps(stage) if dep.startswith("src/genreflow/stages/")]
    code = "\n".join((ROOT / path).read_text() for path in own)
    read = set(re.findall(r"(?:\bparams|\bload_params\(\))\.(\w+)", code)) & Params.model_fields.keys()
    unlisted = {section for of, section in UNLISTED_PARAMS if of == stage}
    listed = {name.partition(".")[0] for name in stages()[stage].get("params", ())}  # of tune.architectures: tune
    assert listed == read - unlisted
    assert unlisted <= read


def test_stages_that_draw_are_no_dependency_of_others():
    """A change in drawing code must rerun no fit: nothing but the reports may depend on it."""
    drawn = [stage for stage, content in stages().items() if "src/genreflow/reporting" in content["deps"]]
    assert drawn == ["audit-report", "study-report", "evaluation-report"]
    outs = {next(iter(out)) if isinstance(out, dict) else out for stage in drawn for out in stages()[stage]["outs"]}
    for content in stages().values():
        assert not outs & set(content["deps"])


@cache
def graph() -> grimp.ImportGraph:
    """Imports inside functions count, those for type checkers do not."""
    return grimp.build_graph("genreflow", exclude_type_checking_imports=True, cache_dir=None)


def module_of(stage: str) -> str:
    return f"genreflow.stages.{stage.replace('-', '_')}"


def package_deps(stage: str) -> set[str]:
    """Return the paths of the packages in the import closure of a stage and of its entry points."""
    modules = set(closure(module_of(stage), excluded=set(EXCLUDED)))
    for entry_point in ENTRY_POINTS.get(stage, ()):
        # The out is the code itself, so that none of the reasons above applies.
        modules |= set(closure(entry_point, excluded=set()))
    return {path_of(module) for module in modules}


def check_deps() -> set[str]:
    """Return the paths of the modules that check params.yaml."""
    validators = {imported for module in CHECK for imported in graph().find_modules_directly_imported_by(module)}
    unrelated = {"genreflow.stages", "genreflow.files", "genreflow.errors"}
    return {file_of(module) for module in {*CHECK, *validators} - unrelated}


def closure(module: str, *, excluded: set[str]) -> Iterator[str]:
    """Yield a module and all that it imports, directly or not, with the packages that contain them."""
    found, queue = set(), [module]
    while queue:
        importer = queue.pop()
        if importer in found or importer in excluded:
            continue
        found.add(importer)
        yield importer
        for imported in graph().find_modules_directly_imported_by(importer):
            if within(imported, TRACKING) and not (within(importer, TRACKING) or within(importer, REGISTRY)):
                continue
            parts = imported.split(".")
            queue += [".".join(parts[: n + 1]) for n in range(len(parts))]


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def path_of(module: str) -> str:
    """Return the folder of a module's package; of a module of its own or of a stage, the file."""
    parts = module.split(".")
    return file_of(".".join(parts[:3] if parts[1:2] == ["stages"] else parts[:2]))


def file_of(module: str) -> str:
    path = "src/" + module.replace(".", "/")
    if module == "genreflow":
        return f"{path}/__init__.py"
    return path if (ROOT / path).is_dir() else f"{path}.py"


def test_paths():
    assert path_of("genreflow.audio.decode") == "src/genreflow/audio"
    assert path_of("genreflow.files") == "src/genreflow/files.py"
    assert path_of("genreflow.stages.inputs") == "src/genreflow/stages/inputs.py"
