"""The score of a track: one chord per bar, accompaniment, bass, melody and drums."""

from typing import NamedTuple

import numpy as np

from genreflow.datasets.demo.artists import Artist, choose
from genreflow.datasets.demo.genres import Genre
from genreflow.datasets.demo.harmony import bass_note, chord, melody, voicing
from genreflow.datasets.demo.rhythm import STEPS_PER_BEAT, fit, hits

PARTS = ("lead", "chords", "bass", "drums")


class Note(NamedTuple):
    """A note; `start` and `length` in steps (sixteenths), `pitch` a MIDI number or, for drums, a piece of the kit."""

    part: str
    start: int
    length: float
    pitch: int | str
    velocity: float


def write_score(rng: np.random.Generator, artist: Artist, genre: Genre, *, bars: int) -> list[Note]:
    """Compose `bars` bars of a genre in the artist's register and near the artist's key.

    The order in which `rng` is used is part of the result: another order gives other music for the same seed.
    """
    steps = genre.rhythm.beats * STEPS_PER_BEAT
    figures, instruments = genre.figures, genre.instruments
    key = artist.key + int(rng.choice([0, 0, 0, 5, 7]))
    progression = str(rng.choice(genre.harmony.progressions)).split()
    chords = [chord(progression[bar % len(progression)]) for bar in range(bars)]
    notes: list[Note] = []

    pattern = fit(str(rng.choice(figures.chords)), steps)
    for bar, tones in enumerate(chords):
        voiced = voicing(tones, key, instruments.chords_centre + artist.register)
        for step, sign, velocity, length in hits(pattern):
            pitches = voiced if sign in "Cc" else [voiced[int(sign) % len(voiced)]]
            notes += [Note("chords", bar * steps + step, length * figures.gate, pitch, velocity) for pitch in pitches]

    pattern = fit(str(rng.choice(figures.bass)), steps)
    for bar, tones in enumerate(chords):
        for step, sign, velocity, length in hits(pattern):
            pitch = bass_note(tones, key, instruments.bass_centre, sign)
            notes.append(Note("bass", bar * steps + step, length * 0.9, pitch, velocity))

    # A phrase is built from two rhythmic motifs; a rest replaces a bar.
    motifs = [list(hits(fit(str(rng.choice(figures.melody)), steps))) for _ in range(2)]
    phrase = [[] if rng.random() < figures.rest else motifs[int(rng.random() < 0.4)] for _ in range(bars)]
    lines = melody(
        rng,
        [[(step, step % STEPS_PER_BEAT == 0) for step, *_ in motif] for motif in phrase],
        chords,
        scale=choose(rng, genre.harmony.scales),
        key=key,
        centre=instruments.lead_centre + artist.register,
    )
    for bar, (motif, line) in enumerate(zip(phrase, lines, strict=True)):
        for (step, _, velocity, length), pitch in zip(motif, line, strict=True):
            notes.append(Note("lead", bar * steps + step, length * 0.92, pitch, velocity))

    drums = genre.rhythm.drums[rng.integers(len(genre.rhythm.drums))]
    for bar in range(bars):
        for piece, bar_pattern in drums.items():
            for step, _, velocity, _ in hits(fit(bar_pattern, steps)):
                notes.append(Note("drums", bar * steps + step, 0, piece, velocity))
    return notes
