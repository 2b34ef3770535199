"""Artists: each has instruments, articulation, mix, reverberation, tuning and preferences of their own.

Therefore the split matters: a classifier recognises the sound of artists in its training data, and a split that is not
artist-disjoint measures that instead of the genre.
"""

import math
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from genreflow.datasets.demo.drums import Kit
from genreflow.datasets.demo.genres import GENRES, TRAITS, Genre, Weighted
from genreflow.datasets.demo.production import Console
from genreflow.datasets.demo.settings import Settings
from genreflow.datasets.demo.voices import Tone

_FIRST = (
    "amber brass cedar cobalt copper crooked distant early foggy gentle hidden iron ivory late lunar marble nettle "
    "northern olive paper quiet rusty salt scarlet seventh silver slow tin velvet winter"
)
_SECOND = (
    "anchors badgers bellows bridges cabinets engines ferries foxes gardens herons junctions kettles lanterns larks "
    "ledgers meadows mirrors otters parlours pilots postmen quarries rivers sailors sparrows spindles tailors "
    "thistles towers weavers"
)
NAMES = tuple(f"{first}-{second}" for first in _FIRST.split() for second in _SECOND.split())


@dataclass(frozen=True)
class Artist:
    """An artist of a genre.

    Parameters
    ----------
    name : str
    number : int >= 0
        Index among the artists of the genre.
    genre : Genre
        Includes borrowed traits of other genres.
    voices : dict of str to str
        Voice of each part.
    tones : dict of str to Tone
        Articulation of each part.
    kit : Kit
    console : Console
    tempo : float [beats/min]
    swing : float
        See `genreflow.datasets.demo.rhythm.step_time`.
    key : int [semitones above C]
    tuning : float [semitones]
        Deviation from concert pitch.
    register : int [semitones]
        Deviation from the genre's register.
    """

    name: str
    number: int
    genre: Genre
    voices: dict[str, str]
    tones: dict[str, Tone]
    kit: Kit
    console: Console
    tempo: float
    swing: float
    key: int
    tuning: float
    register: int


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return a generator for an artist or track, so that adding others does not change it."""
    return np.random.default_rng([seed, *(crc32(str(part).encode()) for part in path)])


def choose(rng: np.random.Generator, weighted: Weighted) -> str:
    """Draw a key with probability proportional to its weight."""
    weights = np.array(list(weighted.values()), dtype=float)
    return list(weighted)[rng.choice(len(weights), p=weights / weights.sum())]


def borrow(rng: np.random.Generator, genre: Genre) -> Genre:
    """Return `genre` with one trait replaced by that of a neighbouring genre."""
    other = GENRES[genre.neighbours[rng.integers(len(genre.neighbours))]]
    trait = str(rng.choice(TRAITS))
    return replace(genre, **{trait: getattr(other, trait)})


def is_selected(number: int, share: float) -> bool:
    """Return whether item `number` (from 0) is in an evenly spaced selection of a `share` of all items."""
    return math.floor((number + 1) * share) > math.floor(number * share)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a log-uniform distribution."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def artists_of(genre: Genre, settings: Settings) -> list[Artist]:
    """Return the artists of a genre, which the seed determines."""
    index = list(GENRES).index(genre.name)
    names = generator(settings.seed, "names").permutation(NAMES)[index :: len(GENRES)]
    names = names[: settings.artists_per_genre]
    return [_artist(genre, str(name), number, settings) for number, name in enumerate(names)]


def _artist(genre: Genre, name: str, number: int, settings: Settings) -> Artist:
    rng = generator(settings.seed, genre.name, number)
    if is_selected(number, settings.artists_who_borrow):
        genre = borrow(rng, genre)
    instruments, sound = genre.instruments, genre.sound
    voices = {part: choose(rng, getattr(instruments, part)) for part in ("lead", "chords", "bass")}
    tones = {
        part: Tone(
            brightness=rng.uniform(0.25, 0.8),
            attack=rng.choice([0.0, 0.01, 0.03]),
            vibrato=rng.choice([0.0, 0.15, 0.4]) if part == "lead" else 0.0,
            detune=rng.uniform(0.0, 0.25),
        )
        for part in voices
    }
    kit = Kit(
        tuning=log_uniform(rng, 0.75, 1.4),
        brightness=log_uniform(rng, 0.6, 1.3),
        length=log_uniform(rng, 0.6, 1.8),
        snap=rng.uniform(0.2, 0.9),
    )
    console = Console(
        levels={part: getattr(sound, part) + rng.normal(0, 1.5) for part in ("lead", "chords", "bass", "drums")},
        tilt=rng.uniform(-1.8, 0.8),
        low_cut=log_uniform(rng, 25, 140),
        high_cut=log_uniform(rng, 5500, 12000),
        peak=(log_uniform(rng, 250, 4500), rng.uniform(-6, 6)),
        reverb_seconds=sound.reverb_seconds * log_uniform(rng, 0.6, 1.5),
        reverb=float(np.clip(sound.reverb * log_uniform(rng, 0.5, 1.8), 0, 0.7)),
        echo=sound.echo * rng.uniform(0.5, 1.3),
        drive=sound.drive * rng.uniform(0.4, 1.3),
        hiss=rng.uniform(-80, -62),
        peak_level=rng.uniform(-6, -1),
    )
    return Artist(
        name=name,
        number=number,
        genre=genre,
        voices=voices,
        tones=tones,
        kit=kit,
        console=console,
        tempo=log_uniform(rng, *genre.pulse.tempo),
        swing=rng.uniform(*genre.pulse.swing),
        key=int(rng.integers(12)),
        tuning=rng.uniform(-0.35, 0.35),
        register=int(rng.integers(-4, 5)),
    )
