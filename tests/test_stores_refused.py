"""A study's storage or an MLflow store that cannot be used: one sentence at once, without a password."""

import time

import pytest

from genreflow.errors import GenreflowError
from genreflow.tracking.store import open_client
from genreflow.tuning.storage import open_storage

# Optuna and MLflow try a database for minutes; a busy machine may take a while to import what a URL needs.
AT_ONCE_S = 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "junk.db").write_text("not a database, but long enough to be taken for one" * 100)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://user:secret@host/db", "postgresql"),
        ("oracle://user:secret@host/db", "postgresql"),
        ("nonsense://x", "sqlite"),
        ("optuna.db", "sqlite:///"),
        ("sqlite:///", "sqlite:///"),
        ("sqlite:///:memory:", "sqlite:///"),
        ("sqlite:////proc/x.db", "/proc"),
        ("sqlite:///junk.db/x.db", "junk.db"),
        ("sqlite:///folder", "folder"),
        ("sqlite:///junk.db", "junk.db"),
        ("sqlite+nonsense:///x.db", "nonsense"),
        ("postgresql://user:secret@127.0.0.1:1/db", "127.0.0.1"),
        ("postgresql://user:secret@host:port/db", "port"),
        ("postgresql+nonsense://user:secret@host/db", "nonsense"),
    ],
)
def test_a_storage_that_cannot_be_used(folder, url, named):
    begin = time.monotonic()
    with pytest.raises(GenreflowError, match="Optuna") as caught:
        open_storage(url)
    assert time.monotonic() - begin < AT_ONCE_S
    assert named in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("./mlruns", "folders"),
        ("file:./mlruns", "folders"),
        ("mlruns", "sqlite:///"),
        ("file:///tmp/mlruns", "sqlite:///"),
        ("nonsense://x", "sqlite:///"),
        ("ftp://host", "http"),
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("http://[::1", "[::1"),
        ("sqlite:////proc/x.db", "/proc"),
        ("sqlite:///junk.db/x.db", "junk.db"),
        ("sqlite:///folder", "folder"),
        ("sqlite:///junk.db", "junk.db"),
        ("postgresql://user:secret@127.0.0.1:1/db", "127.0.0.1"),
        ("mysql+nonsense://user:secret@host/db", "nonsense"),
    ],
)
@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
def test_a_store_of_mlflow_that_cannot_be_used(folder, monkeypatch, variable, uri, named):
    if variable == "MLFLOW_REGISTRY_URI" and uri in ("http://127.0.0.1:9", "sqlite:///junk.db"):
        pytest.skip("found when models are registered")
    monkeypatch.setenv(variable, uri)
    begin = time.monotonic()
    with pytest.raises(GenreflowError, match=r"(?i)mlflow") as caught:
        open_client(folder, timeout=0)
    assert time.monotonic() - begin < AT_ONCE_S
    assert named in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
