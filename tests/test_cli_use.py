"""`genreflow use`: the music of the project, written to params.yaml without a change of anything else."""

import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner
from PIL import Image

from genreflow import cli
from genreflow.errors import ParameterError
from genreflow.file_names import utf8_name
from genreflow.params import PARAMS_FILE, load_params
from pipeline import Project, write_music

SHIPPED = {
    "source": "demo",
    "path": "data/demo.yaml",
    "tracks": "data/tracks.csv",
    "genres": [],
    "subset": None,
    "sources": [],
}


@pytest.fixture
def project(tmp_path, root, monkeypatch):
    """A folder with params.yaml and an empty table of tracks, which is the working directory."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for name in ("params.yaml", "data/tracks.csv", "data/demo.yaml"):
        (folder / name).write_bytes((root / name).read_bytes())
    monkeypatch.chdir(folder)
    return folder


def music(folder, *names):
    for name in names or ("jazz/a.wav", "jazz/b.wav", "metal/c.wav"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 22050)
    return folder


def use(*arguments):
    result = CliRunner().invoke(cli.cli, ["use", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def data():
    return yaml.safe_load(PARAMS_FILE.read_text("utf-8"))["data"]


@pytest.mark.parametrize(
    "name",
    [
        "music", "my music", "a,b", "a[b]", "{x}", "it's", 'say "hi"', "a=b", "a$b", "a${b}", "müsik ♫ 𝄞", "#x", "a #b",
        " lead", "trail ", "a\\b", "a: b", "-dash", "on", "null", "1e3", "0o17", "a%20b", "tab\tx", "nl\nx", "a\x85b",
        "a\u2028b", "~", "~nobody",
    ],
)  # fmt: skip
def test_the_path_is_read_back_as_it_is_and_nothing_else_changes(project, name):
    before = PARAMS_FILE.read_text("utf-8").splitlines()
    folder = music(project.parent / "there" / name)
    printed = use(folder)
    assert "folder" in printed
    assert data() == {**SHIPPED, "source": "folder", "path": str(folder)}
    assert load_params().data.path == folder
    from dvc.utils.serialize import load_yaml

    assert load_yaml("params.yaml")["data"]["path"] == str(folder)
    after = PARAMS_FILE.read_text("utf-8").split("\n")[:-1]
    assert len(after) == len(before)
    changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert [before[number].split(":")[0].strip() for number in changed] == ["source", "path", "registered_model"]
    for number in changed:
        assert after[number].endswith(before[number][before[number].index("# ") :])


def test_demo_restores_the_shipped_file(project, root):
    music(project / "demo")
    use("./demo")
    assert data()["path"] == "demo"
    use("demo")
    assert PARAMS_FILE.read_bytes() == (root / "params.yaml").read_bytes()


def test_genres_subset_and_combination_of_the_previous_source_are_removed(project, root):
    text = PARAMS_FILE.read_text()
    text = text.replace("genres: []     ", "genres: [a, b] ").replace("subset: null ", "subset: small")
    text = text.replace(
        "  sources: []  ", "  sources:\n    - {source: gtzan, path: g}\n    - source: fma\n      path: f\n#"
    )
    PARAMS_FILE.write_text(text)
    assert len(data()["sources"]) == 2
    use("demo")
    assert data() == SHIPPED


@pytest.mark.parametrize(
    "section",
    [
        "data: {source: demo, path: x, tracks: t.csv, genres: [], subset: null, sources: []}  # all\n",
        "data:\n  source: demo\n  path:\n  tracks: t.csv\n  genres:\n  # none\n  - a\n  - b\n\n  # more\n  sources: []",
        "data:\r\n  source: demo   # x\r\n  path: >-\r\n    a\r\n    b\r\n  genres: []\r\n",
        'data:\n  "source": demo\n  path: "x"# not a comment\n'.replace('"# not a comment', '" # c'),
    ],
)
def test_other_layouts_of_the_section_are_kept(project, section):
    PARAMS_FILE.write_text("\ufeff# top\n" + section + "\nsplit: {valid: 0.2} # end\n", encoding="utf-8", newline="")
    from genreflow.params_edit import use_source

    use_source("folder", "/m u, [s]")
    text = PARAMS_FILE.read_bytes().decode()
    assert {**data(), "path": "/m u, [s]", "source": "folder"} == data()
    assert not data().get("genres")
    assert text.startswith("\ufeff# top\n")
    assert text.endswith("\nsplit: {valid: 0.2} # end\n")
    assert text.count("\r\n") in (0, section.count("\r\n"), section.count("\r\n") - 2)


def test_a_path_inside_of_the_project_is_relative_and_others_are_absolute(project):
    music(project / "music")
    use(project / "music")
    assert data()["path"] == "music"
    music(project.parent / "other")
    use("../other")
    assert data()["path"] == str(project.parent / "other")


def test_the_home_folder_is_expanded(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project.parent))
    music(project.parent / "music")
    use("~/music")
    assert data()["path"] == str(project.parent / "music")


def test_the_tracks_of_each_genre_are_counted(project):
    printed = json.loads(use(music(project / "music"), "--json"))
    assert (printed["source"], printed["path"]) == ("folder", "music")
    assert printed["genres"] == {"jazz": 2, "metal": 1}


def gtzan(folder):
    return music(folder, "blues/blues.00000.wav", "jazz/jazz.00001.wav")


def fma(folder):
    (folder / "fma_metadata").mkdir(parents=True)
    (folder / "fma_small" / "000").mkdir(parents=True)
    return folder


def npz(folder):
    folder.mkdir()
    arrays = {"spectrogram": np.zeros((2, 8, 20), np.uint8), "track": ["a", "b"], "genre": ["jazz", "metal"]}
    np.savez(folder / "clips.npz", **arrays)
    return folder


def images(folder):
    for genre in ("jazz", "metal"):
        (folder / genre).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 20), np.uint8)).save(folder / genre / "a.png")
    return folder


@pytest.mark.parametrize(
    ("make", "below", "source"),
    [
        (gtzan, "", "gtzan"),
        (lambda folder: gtzan(folder / "Data" / "genres_original").parents[1], "", "gtzan"),
        (lambda folder: music(gtzan(folder), "techno/x.wav"), "", "folder"),
        (fma, "", "fma"),
        (npz, "", "spectrograms"),
        (npz, "clips.npz", "spectrograms"),
        (images, "", "spectrograms"),
        (lambda folder: music(images(folder)), "", "folder"),
    ],
)
def test_the_source_is_detected(project, make, below, source):
    path = make(project / "there") / below
    assert json.loads(use(path, "--json"))["source"] == data()["source"] == source


@pytest.mark.parametrize("there", [True, False])
def test_a_published_dataset_can_be_downloaded_into_an_empty_folder(project, there):
    if there:
        (project / "empty").mkdir()
    use("empty", "--source", "gtzan")
    assert (data()["source"], data()["path"]) == ("gtzan", "empty")


@pytest.mark.parametrize("source", ["gtzan", "fma", "spectrograms"])
def test_a_folder_of_another_source_is_refused(project, source):
    music(project / "x")
    before = PARAMS_FILE.read_bytes()
    with pytest.raises(ParameterError, match="x"):
        CliRunner().invoke(cli.cli, ["use", "x", "--source", source], catch_exceptions=False)
    assert PARAMS_FILE.read_bytes() == before


def empty(project):
    (project / "x").mkdir()


def flat(project):
    music(project / "x", "a.wav", "b.wav")


def one_genre(project):
    music(project / "x", "jazz/a.wav")


def a_file(project):
    (project / "x").write_text("not music")


def damaged_npz(project):
    (project / "x.npz").write_bytes(b"PK\3\4 damaged")
    (project / "x").symlink_to("x.npz")


def other_table(project):
    music(project / "x")
    (project / "data" / "tracks.csv").write_text("path,genre\nelsewhere/y.wav,jazz\n")


def no_table(project):
    music(project / "x")
    (project / "data" / "tracks.csv").unlink()


def duplicate_key(project):
    music(project / "x")
    PARAMS_FILE.write_text(PARAMS_FILE.read_text().replace("  subset: null ", "  source: demo\n  subset: null "))


def no_params(project):
    music(project / "x")
    PARAMS_FILE.unlink()


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (lambda project: None, "x"),
        (empty, "no audio files"),
        (flat, "genre"),
        (one_genre, "jazz"),
        (a_file, "x"),
        (damaged_npz, "x"),
        (other_table, "tracks.csv"),
        (no_table, "data.tracks"),
        (duplicate_key, "source"),
        (no_params, "params.yaml"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_used_changes_nothing(project, prepare, named):
    prepare(project)
    before = PARAMS_FILE.read_bytes() if PARAMS_FILE.exists() else None
    with pytest.raises(ParameterError, match=named):
        CliRunner().invoke(cli.cli, ["use", "x"], catch_exceptions=False)
    assert before == (PARAMS_FILE.read_bytes() if PARAMS_FILE.exists() else None)


@pytest.mark.parametrize("path", [".", "..", "data/raw", "data"])
def test_a_folder_that_holds_the_raw_data_is_refused(project, path):
    music(project / "data" / "raw")
    with pytest.raises(ParameterError, match=r"data\.path"):
        CliRunner().invoke(cli.cli, ["use", path], catch_exceptions=False)


def test_a_name_that_is_not_utf_8_is_refused(project):
    folder = music(project / "x")
    name = os.fsdecode(b"m\xfcsik")
    folder.rename(project / name)
    with pytest.raises(ParameterError, match="UTF-8"):
        CliRunner().invoke(cli.cli, ["use", name], catch_exceptions=False)


def test_a_link_to_params_yaml_stays_a_link_and_the_mode_stays(project):
    PARAMS_FILE.rename("shared.yaml")
    os.chmod("shared.yaml", 0o640)
    PARAMS_FILE.symlink_to("shared.yaml")
    use(music(project / "music"))
    assert PARAMS_FILE.is_symlink()
    assert os.stat("shared.yaml").st_mode & 0o777 == 0o640


def test_without_git_the_next_step_is_git_init(project, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert "git init" in use("demo")
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert "git init" not in use("demo")


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"source": "folder", "path": "~/music"}, "genreflow use"),
        ({"source": "gtzan", "path": "~/gtzan"}, "genreflow use"),
        ({"source": "folder", "path": "/nowhere/music"}, "/nowhere/music"),
        ({"source": "demo", "path": "nowhere.yaml"}, "nowhere.yaml"),
        ({"source": "gtzan", "path": "data/tracks.csv/x"}, "data.path"),
        ({"source": "gtzan", "path": "a\0b"}, "data.path"),
        ({"tracks": "nowhere.csv"}, "data.tracks"),
        ({"tracks": "data"}, "data.tracks"),
    ],
)
def test_the_stage_check_reports_a_missing_path(project, section, named):
    params = yaml.safe_load(PARAMS_FILE.read_text())
    params["data"] |= section
    PARAMS_FILE.write_text(yaml.safe_dump(params))
    done = subprocess.run([sys.executable, "-m", "genreflow.stages", "check"], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert named in line
    assert not (project / "~").exists()


UNREADABLE = {
    "broken.wav": lambda path: path.symlink_to("nowhere"),
    "loop.wav": lambda path: path.symlink_to("loop.wav"),
    "pipe.wav": os.mkfifo,
    ".hidden": os.mkfifo,
    "zero.txt": lambda path: path.symlink_to("/dev/zero"),
    "socket.wav": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    os.fsdecode(b"caf\xe9.wav"): lambda path: path.touch(),
    os.fsdecode(b"\xe9/a.wav"): lambda path: (path.parent.mkdir(), path.touch()),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_dvc_cannot_read_is_reported_before_it_tries(project, name):
    """DVC waits for a named pipe, reads a device for ever, and fails without naming a file that is not UTF-8."""
    UNREADABLE[name](music(project / "music") / "jazz" / name)
    before = PARAMS_FILE.read_bytes()
    with pytest.raises(ParameterError, match=re.escape(f"music/jazz/{utf8_name(name)} (")):
        CliRunner().invoke(cli.cli, ["use", "music"], catch_exceptions=False)
    assert PARAMS_FILE.read_bytes() == before
    params = yaml.safe_load(before)
    params["data"] |= {"source": "folder", "path": "music"}
    PARAMS_FILE.write_text(yaml.safe_dump(params))
    done = subprocess.run([sys.executable, "-m", "genreflow.stages", "check"], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert utf8_name(name) in line


def test_links_to_files_and_folders_can_be_read(project):
    folder = music(project / "music")
    (folder / "jazz" / "link.wav").symlink_to("a.wav")
    (folder / "jazz" / "up").symlink_to("..")
    use("music")


def test_a_pipe_instead_of_a_file_is_reported(project):
    os.mkfifo("demo.yaml")
    params = yaml.safe_load(PARAMS_FILE.read_text())
    PARAMS_FILE.write_text(yaml.safe_dump(params | {"data": params["data"] | {"path": "demo.yaml"}}))
    done = subprocess.run(
        [sys.executable, "-m", "genreflow.stages", "check"], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, "demo.yaml" in done.stderr) == (2, True)


def test_make_run_without_git_says_git_init(tmp_path, root, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "Makefile").write_bytes((root / "Makefile").read_bytes())
    done = subprocess.run(["make", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "git init" in done.stderr.splitlines()[0]
    assert os.listdir(tmp_path) == ["Makefile"]


@pytest.mark.slow
def test_dvc_ingests_a_folder_with_any_name(tmp_path):
    folder = tmp_path / "my, [music] {a}=${b} 'c' \"d\" # ü\u2028"
    write_music(folder, artists=1)
    project = Project(tmp_path / "project")
    project.run("genreflow", "use", str(folder))
    project.repro("ingest")
    tracks = json.loads((project.folder / "data" / "manifest.json").read_text())["tracks"]
    assert len(tracks) == 6
    assert "up to date" in project.repro("ingest")
    write_music(folder, artists=2)
    project.repro("ingest")
    assert len(json.loads((project.folder / "data" / "manifest.json").read_text())["tracks"]) == 12


def registered_model():
    return yaml.safe_load(PARAMS_FILE.read_text("utf-8"))["gate"]["registered_model"]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("music", "genre-classifier-music"),
        ("My Music/2026", "genre-classifier-2026"),
        ("müsik ♫ 𝄞", "genre-classifier-müsik"),
        ("{♫}", "genre-classifier-music"),
        ("x" * 200, f"genre-classifier-{'x' * 60}"),
    ],
)
def test_other_music_gets_a_registered_model_of_its_own(project, name, model):
    printed = use(music(project.parent / "there" / name))
    assert model in printed
    assert registered_model() == load_params().gate.registered_model == model
    assert load_params().gate.model_name("folder") == model


def test_the_name_of_the_registered_model_stays_with_the_same_music(project):
    folder = music(project.parent / "there")
    use(folder)
    text = PARAMS_FILE.read_text()
    PARAMS_FILE.write_text(text.replace("genre-classifier-there", "my own name"))
    use(folder)
    assert registered_model() == "my own name"
    assert json.loads(use(folder, "--json"))["registered_model"] == "my own name"
    use("demo")
    assert registered_model() is None
