"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A developer's own servers are none of the tests' business.
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "GENREFLOW_BUNDLE"):
    os.environ.pop(name, None)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory) -> Path:
    """A project folder whose champion is a toy."""
    from serving_toy import write_toy_project

    return write_toy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def bento(toy_project, tmp_path_factory) -> Path:
    """The bento of `toy_project`, built once."""
    from serving_toy import build_bento

    return build_bento(toy_project, tmp_path_factory.mktemp("bentoml"))


@pytest.fixture(scope="session")
def bento_home(bento) -> str:
    """What ``BENTOML_HOME`` must be for ``genre-classifier:latest`` to be `bento`."""
    return str(bento.parents[2])
