"""Fixtures and settings that tests of several packages share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Tests must not write to a developer's own servers.
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "GENREFLOW_BUNDLE"):
    os.environ.pop(name, None)

# The same examples in each run, without a limit of time and without what earlier runs left in .hypothesis: a test fails
# for a change of code only. `pytest --hypothesis-profile=default` tries other ones.
settings.register_profile(
    "tests", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of this repository."""
    return ROOT


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory) -> Path:
    """A project folder with a toy model as its champion."""
    from serving_toy import write_toy_project

    return write_toy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def bento(toy_project, tmp_path_factory) -> Path:
    """The bento of `toy_project`; building it takes seconds."""
    from serving_toy import build_bento

    return build_bento(toy_project, tmp_path_factory.mktemp("bentoml"))


@pytest.fixture(scope="session")
def bento_home(bento) -> str:
    """The value of ``BENTOML_HOME`` with which ``genre-classifier:latest`` is `bento`."""
    return str(bento.parents[2])
