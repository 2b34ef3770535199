"""Synthesise the tracks of every genre and artist, and write them as FLAC files."""

import io
from pathlib import Path

import numpy as np
import soundfile
from joblib import Parallel, delayed
from tqdm import tqdm

from genreflow.datasets.demo.artists import Artist, artists_of, borrow, choose, generator, is_selected
from genreflow.datasets.demo.drums import DEFAULT_LEVEL, LEVELS, PIECES
from genreflow.datasets.demo.genres import GENRES, Genre
from genreflow.datasets.demo.production import mix
from genreflow.datasets.demo.rhythm import STEPS_PER_BEAT, step_time
from genreflow.datasets.demo.score import PARTS, Note, write_score
from genreflow.datasets.demo.settings import Settings, load_settings
from genreflow.datasets.demo.voices import SAMPLE_RATE, VOICES, frequency
from genreflow.errors import ParameterError
from genreflow.files import atomic_directory


def compose(settings_path: Path, directory: Path, *, n_jobs: int = -1, progress: bool = True) -> None:
    """Compose the demo data as ``directory/<genre>/<artist>/<artist>-<nn>.flac`` (22,050 Hz, mono, 16 bit), atomically.

    On the same machine, equal settings give equal bytes.

    Parameters
    ----------
    settings_path : Path
        YAML, see `Settings`.
    directory : Path
        Must not exist, or be empty.
    n_jobs : int
        Number of processes, as in joblib: -1 means one per core.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    ParameterError
        The settings are invalid, or `directory` is not empty.
    """
    settings = load_settings(settings_path)
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ParameterError(f"{directory}: must be empty or not exist, to write the demo data. Move it away.")
    with atomic_directory(directory) as temporary:
        jobs = []
        for name, genre in GENRES.items():
            for artist in artists_of(genre, settings):
                folder = temporary / name / artist.name
                folder.mkdir(parents=True)
                for number in range(1, settings.tracks_per_artist + 1):
                    path = folder / f"{artist.name}-{number:02d}.flac"
                    jobs.append(delayed(_write)(path, artist, number, settings))
        done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
        for _ in tqdm(done, total=len(jobs), desc="composing", unit="track", disable=not progress):
            pass


def _write(path: Path, artist: Artist, number: int, settings: Settings) -> None:
    # Not by libsndfile, which reports a full disk as "System error".
    flac = io.BytesIO()
    soundfile.write(flac, track(artist, number, settings), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path.write_bytes(flac.getvalue())


def track(artist: Artist, number: int, settings: Settings) -> np.ndarray:
    """Compose and synthesise one track.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32, range=[-1, 1]]
        At `SAMPLE_RATE`.
    """
    rng = generator(settings.seed, artist.name, number)
    genre = artist.genre
    if is_selected(artist.number + number - 1, settings.tracks_that_borrow):  # another track number for each artist
        genre = borrow(rng, genre)
    seconds = settings.seconds * rng.uniform(0.9, 1.1)
    tempo = _vary_tempo(rng, artist.tempo, genre.pulse.tempo, 0.06)
    swing = float(np.clip(artist.swing, *genre.pulse.swing))
    score = write_score(rng, artist, genre, bars=1 + int(seconds * tempo / 60 / genre.rhythm.beats))
    parts = _synthesise(rng, artist, genre, score, beat=60 / tempo, swing=swing, seconds=seconds)
    return mix(parts, artist.console, rng, echo_seconds=45 / tempo)


def _vary_tempo(rng: np.random.Generator, tempo: float, limits: tuple[float, float], spread: float) -> float:
    """Return a tempo near the artist's own, within the genre's range."""
    return float(np.clip(tempo * np.exp(rng.normal(0, spread)), *limits))


def _synthesise(
    rng: np.random.Generator,
    artist: Artist,
    genre: Genre,
    score: list[Note],
    *,
    beat: float,
    swing: float,
    seconds: float,
) -> dict[str, np.ndarray]:
    """Synthesise each part of a score [shape=(n,)]; `beat` in seconds. Equal notes of a part share one sound."""
    n = round(seconds * SAMPLE_RATE)
    parts = {part: np.zeros(n) for part in PARTS}
    voices = {part: _voice(rng, voice, getattr(genre.instruments, part)) for part, voice in artist.voices.items()}
    sounds: dict[tuple[str, int | str, float], np.ndarray] = {}
    for note in score:
        key = note.part, note.pitch, note.length
        if key not in sounds:
            sounds[key] = _sound(rng, artist, note, voices, beat=beat)
        sound = sounds[key]
        first = round((step_time(note.start, swing) * beat + abs(rng.normal(0, 0.004))) * SAMPLE_RATE)
        if first < n:
            last = min(n, first + sound.size)
            parts[note.part][first:last] += note.velocity * sound[: last - first]
    return parts


def _sound(rng: np.random.Generator, artist: Artist, note: Note, voices: dict[str, str], *, beat: float) -> np.ndarray:
    if isinstance(note.pitch, str):
        return PIECES[note.pitch](artist.kit, rng) * LEVELS.get(note.pitch, DEFAULT_LEVEL)
    seconds = max(0.06, note.length / STEPS_PER_BEAT * beat)
    voice = VOICES[voices[note.part]]
    return voice(frequency(note.pitch + artist.tuning), seconds, artist.tones[note.part], rng)


def _voice(rng: np.random.Generator, voice: str, available: dict[str, float]) -> str:
    """Return the artist's own voice if the instruments, which may be borrowed, include it, else one of theirs."""
    return voice if voice in available else choose(rng, available)
