"""Play the notes of every genre, artist and track of the settings, and write them as FLAC files."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from joblib import Parallel, delayed
from tqdm import tqdm

from genreflow.datasets.demo.artists import Artist, artists_of, borrow, choose, generator, is_due
from genreflow.datasets.demo.drums import DEFAULT_LEVEL, LEVELS, PIECES
from genreflow.datasets.demo.genres import GENRES, Genre
from genreflow.datasets.demo.production import mix
from genreflow.datasets.demo.rhythm import STEPS_PER_BEAT, step_time
from genreflow.datasets.demo.score import PARTS, Note, write_score
from genreflow.datasets.demo.settings import Settings, load_settings
from genreflow.datasets.demo.voices import SAMPLE_RATE, VOICES, frequency
from genreflow.errors import ParameterError


def compose(settings_path: Path, directory: Path, *, n_jobs: int = -1, progress: bool = True) -> None:
    """Compose the demo data into ``directory/<genre>/<artist>/<artist>-<nn>.flac`` (22,050 Hz, mono, 16 bit).

    The folder appears whole or not at all, and the same settings give the same bytes on the same machine.

    Parameters
    ----------
    settings_path : Path
        YAML, see `Settings`.
    directory : Path
        New or empty.
    n_jobs : int
        Processes, as joblib counts them; -1 is one a core.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ParameterError
        The settings are not right, or `directory` holds something already.
    """
    settings = load_settings(settings_path)
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ParameterError(f"{directory} is not empty; remove it, or name a new folder for the demo data.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        jobs = []
        for name, genre in GENRES.items():
            for artist in artists_of(genre, settings):
                folder = partial / name / artist.name
                folder.mkdir(parents=True)
                for number in range(1, settings.tracks_per_artist + 1):
                    path = folder / f"{artist.name}-{number:02d}.flac"
                    jobs.append(delayed(_write)(path, artist, number, settings))
        done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
        for _ in tqdm(done, total=len(jobs), desc="composing", unit="track", disable=not progress):
            pass
        partial.chmod(0o755)
        os.replace(partial, directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(path: Path, artist: Artist, number: int, settings: Settings) -> None:
    soundfile.write(path, track(artist, number, settings), SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def track(artist: Artist, number: int, settings: Settings) -> np.ndarray:
    """Compose and play one track.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32, range=[-1, 1]]
        At `SAMPLE_RATE`.
    """
    rng = generator(settings.seed, artist.name, number)
    genre = artist.genre
    if is_due(artist.number + number - 1, settings.tracks_that_borrow):  # not the same track of every artist
        genre = borrow(rng, genre)
    seconds = settings.seconds * rng.uniform(0.9, 1.1)
    tempo = _near(rng, artist.tempo, genre.pulse.tempo, 0.06)
    swing = float(np.clip(artist.swing, *genre.pulse.swing))
    score = write_score(rng, artist, genre, bars=1 + int(seconds * tempo / 60 / genre.rhythm.beats))
    parts = _play(rng, artist, genre, score, beat=60 / tempo, swing=swing, seconds=seconds)
    return mix(parts, artist.console, rng, echo_seconds=45 / tempo)


def _near(rng: np.random.Generator, favourite: float, limits: tuple[float, float], spread: float) -> float:
    """A tempo about the artist's favourite, inside the genre's range."""
    return float(np.clip(favourite * np.exp(rng.normal(0, spread)), *limits))


def _play(
    rng: np.random.Generator,
    artist: Artist,
    genre: Genre,
    score: list[Note],
    *,
    beat: float,
    swing: float,
    seconds: float,
) -> dict[str, np.ndarray]:
    """Play the notes, each part on a track of its own; `beat` in seconds."""
    n = round(seconds * SAMPLE_RATE)
    parts = {part: np.zeros(n) for part in PARTS}
    voices = {part: _voice(rng, voice, getattr(genre.instruments, part)) for part, voice in artist.voices.items()}
    sounds: dict[tuple, np.ndarray] = {}
    for part, start, length, pitch, velocity in score:
        sound = sounds.get((part, pitch, length))
        if sound is None:
            if part == "drums":
                sound = PIECES[pitch](artist.kit, rng) * LEVELS.get(pitch, DEFAULT_LEVEL)
            else:
                held = max(0.06, length / STEPS_PER_BEAT * beat)
                sound = VOICES[voices[part]](frequency(pitch + artist.tuning), held, artist.tones[part], rng)
            sounds[part, pitch, length] = sound
        first = round((step_time(start, swing) * beat + abs(rng.normal(0, 0.004))) * SAMPLE_RATE)
        if first < n:
            last = min(n, first + sound.size)
            parts[part][first:last] += velocity * sound[: last - first]
    return parts


def _voice(rng: np.random.Generator, own: str, known: dict[str, float]) -> str:
    """The artist's own voice where the (borrowed) instruments have it, else one of theirs."""
    return own if own in known else choose(rng, known)
