"""Scales, chords, voicings and melodies; pitches are MIDI note numbers, chord tones semitones above the key note."""

import re
from collections.abc import Sequence

import numpy as np

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}

_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_CHORD = re.compile(r"(b?)([ivIV]+)(maj7|7|5|9|sus)?")
# Semitones that a suffix puts above the triad of the numeral (its case says major or minor).
_ADDED = {"": (), "7": (10,), "maj7": (11,), "9": (10, 14)}

# Steps of the melody along the scale: mostly neighbours, few leaps, slightly more ways down than up.
_MOVES = np.array([-4, -3, -2, -1, 0, 1, 2, 3, 4])
_MOVE_WEIGHTS = np.array([0.02, 0.05, 0.14, 0.28, 0.10, 0.24, 0.11, 0.04, 0.02])


def chord(symbol: str) -> tuple[int, ...]:
    """Semitones above the key note of a chord in roman numerals.

    Upper case is a major and lower case a minor triad on that degree of the major scale, ``b`` lowers the root:
    ``"ii7"`` is (2, 5, 9, 12), ``"bVII"`` (10, 14, 17), ``"i5"`` a bare fifth. The root comes first.

    Raises
    ------
    ValueError
        `symbol` is no such chord.
    """
    match = _CHORD.fullmatch(symbol)
    if match is None or match[2].lower() not in _NUMERALS:
        raise ValueError(f"{symbol!r} is no chord in roman numerals.")
    root = _NUMERALS[match[2].lower()] - len(match[1])
    suffix = match[3] or ""
    if suffix == "5":
        intervals: tuple[int, ...] = (0, 7, 12)
    elif suffix == "sus":
        intervals = (0, 5, 7)
    else:
        intervals = (0, 4 if match[2].isupper() else 3, 7, *_ADDED[suffix])
    return tuple(root + interval for interval in intervals)


def voicing(tones: Sequence[int], key: int, centre: int) -> list[int]:
    """The chord in the octave around `centre`, so that neighbouring chords move little (MIDI numbers, ascending)."""
    low = centre - 6
    return sorted({low + (key + tone - low) % 12 for tone in tones})


def bass_note(tones: Sequence[int], key: int, centre: int, figure: str) -> int:
    """The bass note of a figure: ``1 3 5 8`` are chord tones, ``6`` and ``7`` the sixth and flat seventh."""
    low = centre - 6
    root = low + (key + tones[0] - low) % 12
    third = tones[1] - tones[0]
    return root + {"1": 0, "3": third if third < 5 else 7, "5": 7, "6": 9, "7": 10, "8": 12}[figure]


def melody(
    rng: np.random.Generator,
    onsets: Sequence[Sequence[tuple[int, bool]]],
    chords: Sequence[Sequence[int]],
    *,
    scale: str,
    key: int,
    centre: int,
    span: int = 9,
    repetition: float = 0.5,
) -> list[list[int]]:
    """A melody: a weighted random walk along the scale that meets a chord tone on every strong beat.

    Parameters
    ----------
    onsets : sequence over bars of (step, strong)
        Where the notes of a bar begin.
    chords : sequence over bars of chord tones [semitones above the key note]
    span : int > 0 [semitones]
        Furthest distance from `centre`.
    repetition : float in [0, 1]
        Chance that a bar takes up the contour of the bar two before it, as phrases do.

    Returns
    -------
    list over bars of MIDI numbers, one for each onset
    """
    ladder = [p for p in range(centre - span, centre + span + 1) if (p - key) % 12 in SCALES[scale]]
    position = len(ladder) // 2
    moves_of: list[np.ndarray] = []
    bars = []
    for bar, (places, tones) in enumerate(zip(onsets, chords, strict=True)):
        moves = rng.choice(_MOVES, size=len(places), p=_MOVE_WEIGHTS)
        if bar >= 2 and len(moves_of[bar - 2]) == len(places) and rng.random() < repetition:
            moves = moves_of[bar - 2]
        moves_of.append(moves)
        classes = {(key + tone) % 12 for tone in tones}
        notes = []
        for (_, strong), move in zip(places, moves, strict=True):
            position += int(move)
            if not 0 <= position < len(ladder):  # turn back at the edge of the register
                position = min(max(position - 2 * int(move), 0), len(ladder) - 1)
            pitch = ladder[position]
            if strong and pitch % 12 not in classes:
                near = [p for p in range(pitch - 3, pitch + 4) if p % 12 in classes]
                pitch = min(near, key=lambda p: abs(p - pitch)) if near else pitch
            notes.append(pitch)
        bars.append(notes)
    return bars
