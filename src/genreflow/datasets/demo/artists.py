"""Artists: within a genre each has instruments, a touch, a mix, a room, a tuning and habits of their own.

That is what makes the split matter: a classifier that has heard an artist recognises the sound again, and a split that
puts one artist on both sides measures that instead of the genre.
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
    """One artist of a genre.

    Parameters
    ----------
    number : int >= 0
        The place among the artists of the genre.
    genre : Genre
        With what the artist has taken over from other genres already in it.
    tempo, swing : float
        The favourite ones.
    key : int [semitones above C]
    tuning, register : float, int [semitones]
        Off concert pitch, and off the genre's register.
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
    """A random generator of its own for each artist and track, so that adding some changes no other."""
    return np.random.default_rng([seed, *(crc32(str(part).encode()) for part in path)])


def choose(rng: np.random.Generator, weighted: Weighted) -> str:
    weights = np.array(list(weighted.values()), dtype=float)
    return list(weighted)[rng.choice(len(weights), p=weights / weights.sum())]


def borrow(rng: np.random.Generator, genre: Genre) -> Genre:
    """`genre` with one of its traits taken over from one of its neighbours."""
    other = GENRES[genre.neighbours[rng.integers(len(genre.neighbours))]]
    trait = str(rng.choice(TRAITS))
    return replace(genre, **{trait: getattr(other, trait)})


def is_due(number: int, share: float) -> bool:
    """Whether the `number`-th (from 0) is one of the `share` that is picked, evenly spread rather than by chance."""
    return math.floor((number + 1) * share) > math.floor(number * share)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def artists_of(genre: Genre, settings: Settings) -> list[Artist]:
    """The artists of a genre, drawn from the settings' seed."""
    place = list(GENRES).index(genre.name)
    names = generator(settings.seed, "names").permutation(NAMES)[place :: len(GENRES)]
    names = names[: settings.artists_per_genre]
    return [_artist(genre, str(name), number, settings) for number, name in enumerate(names)]


def _artist(genre: Genre, name: str, number: int, settings: Settings) -> Artist:
    rng = generator(settings.seed, genre.name, number)
    if is_due(number, settings.artists_who_borrow):
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
