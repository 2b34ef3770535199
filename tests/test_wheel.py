"""The wheel: built from the repository, installed in an environment of its own, and used outside of the project."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from pipeline import Project
from serving_toy import write_tone, write_toy_bundle

pytestmark = pytest.mark.slow
pytest.importorskip("pip", reason="pip is not installed; the wheel is built with it")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    project = Project(folder / "project")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    project.run(*pip, "--wheel-dir", str(folder), ".")
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_every_file_of_the_package(wheel, root):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    listed = subprocess.run(["git", "ls-files", "src"], cwd=root, capture_output=True, text=True, check=True)
    assert {name.removeprefix("src/") for name in listed.stdout.splitlines()} - held == set()
    assert {Path(name).name for name in held if ".dist-info/" in name} >= {"LICENSE", "NOTICE", "entry_points.txt"}


def test_classify_works_in_an_environment_of_its_own(wheel, tmp_path):
    """The dependencies are those of this environment; test_repository.py checks that they are declared."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    install = [sys.executable, "-m", "pip", "--python", environment / "bin/python", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--no-index", wheel], check=True)
    # Without its .pth files, which lead to an editable genreflow.
    program = (
        "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    bundle = write_toy_bundle(tmp_path / "bundle")
    song = write_tone(tmp_path / "song.wav", "bass")
    arguments = ["classify", song, "--bundle", bundle.directory, "--output", tmp_path / "out.jsonl"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = environment / "bin/genreflow"
    done = subprocess.run(
        [environment / "bin/python", "-c", program, sysconfig.get_path("purelib"), script, *arguments],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text())["genre"] == "bass"
    assert (packages / "genreflow/__init__.py").exists()
