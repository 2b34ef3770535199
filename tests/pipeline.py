"""A temporary project with synthetic music, for tests that run real DVC."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import yaml

ROOT = Path(__file__).resolve().parents[1]
# A study and a refit of seconds, whose model still beats the majority-class baseline, and a gate that compares models
# on the few test tracks that there are.
QUICK = {
    "gate": {"min_tracks": 1},
    "segments": {"seconds": 1.0, "hop_seconds": 0.5},
    "tune": {"trials": 2, "epochs": 2, "architectures": ["parallel_cnn"], "startup_trials": 1, "warmup_epochs": 0},
    "train": {"epochs": 4, "patience": 4, "mixup": 0.0, "band_shift": 0, "stretch": 0.0},
}
# What a project does not need, and outs of runs in this checkout.
NOT_COPIED = ("tests/", "docs/", "benchmarks/", "models/", "reports/", "dvc.lock", "metrics.json")
RATE = 22050


def tone(frequency: float, *, seconds: float = 2.5, seed: int = 0) -> np.ndarray:
    """Return a decaying, slightly noisy tone with overtones, repeated twice a second [shape=(n,)]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * frequency * k * t + rng.uniform(0, 6)) / k for k in (1, 2, 3))
    return (0.2 * wave * np.exp(-4 * (t % 0.5)) + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def write_music(folder: Path, *, artists: int = 5, tracks: int = 2) -> None:
    """Write three genres that are an octave and a half apart; every artist has another pitch."""
    for genre, base in (("bass", 110.0), ("middle", 330.0), ("treble", 990.0)):
        for artist in range(artists):
            for track in range(tracks):
                path = folder / genre / f"{genre} artist {artist}" / f"track {track}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = 100 * artist + track
                soundfile.write(path, tone(base * (1 + 0.04 * artist + 0.01 * track), seed=seed), RATE)


class Project:
    """A copy of this repository with its own git repository, DVC cache, MLflow store and bento store.

    Parameters
    ----------
    folder : Path
    left_out : tuple of str
        Beginnings of the paths that are not copied.
    """

    def __init__(self, folder: Path, *, left_out: tuple[str, ...] = NOT_COPIED) -> None:
        self.folder = folder
        self.bentos = folder.parent / f"{folder.name}-bentos"
        listed = self._capture("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
        for name in listed:
            if (ROOT / name).is_file() and not name.startswith(left_out):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        self.git("init", "--quiet")
        self.commit("start")

    def _capture(self, *command: str, cwd: Path) -> str:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout

    @property
    def environment(self) -> dict[str, str]:
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {
            "PATH": binaries,
            "BENTOML_HOME": str(self.bentos),
            "PYTHONPATH": str(self.folder / "src"),
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }
        return {**os.environ, **own}

    def run(self, *command: str, ok: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Run a command in the project and check its exit code; ``stdout`` has its standard error too."""
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=3600,
            check=False,
        )
        assert (done.returncode == 0) == ok, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def set(self, **sections: dict) -> None:
        """Change parameters in params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            params[section].update(values)
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def repro(self, *arguments: str, ok: bool = True) -> str:
        return self.run("dvc", "repro", *arguments, ok=ok).stdout


def quick_project(folder: Path) -> Project:
    """Return a project with three genres of tones and the parameters in `QUICK`."""
    music = folder / "music"
    write_music(music)
    project = Project(folder / "project")
    project.set(data={"source": "folder", "path": str(music)}, **QUICK)
    return project
