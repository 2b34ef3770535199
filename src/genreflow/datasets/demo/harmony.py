"""Scales, chords, voicings and melodies; pitches are MIDI note numbers, chord tones are semitones above the key."""

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
# Semitones that a suffix adds to the triad of the numeral (upper case major, lower case minor).
_ADDED: dict[str, tuple[int, ...]] = {"": (), "7": (10,), "maj7": (11,), "9": (10, 14)}

# Steps of the melody along the scale and their probabilities: mostly small, slightly more down than up.
_MOVES = np.array([-4, -3, -2, -1, 0, 1, 2, 3, 4])
_MOVE_WEIGHTS = np.array([0.02, 0.05, 0.14, 0.28, 0.10, 0.24, 0.11, 0.04, 0.02])


def chord(symbol: str) -> tuple[int, ...]:
    """Return the tones of a chord in roman numerals [semitones above the key], root first.

    Upper case is a major and lower case a minor triad on that degree of the major scale; ``b`` lowers the root.

    Raises
    ------
    ValueError
        `symbol` is not a chord in roman numerals.

    Examples
    --------
    >>> chord("ii7"), chord("bVII"), chord("i5")
    ((2, 5, 9, 12), (10, 14, 17), (0, 7, 12))
    """
    match = _CHORD.fullmatch(symbol)
    if match is None or match[2].lower() not in _NUMERALS:
        raise ValueError(f"symbol must be a chord in roman numerals; got {symbol!r}")
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
    """Return a chord within the octave around `centre`, for smooth voice leading (MIDI numbers, ascending)."""
    low = centre - 6
    return sorted({low + (key + tone - low) % 12 for tone in tones})


def bass_note(tones: Sequence[int], key: int, centre: int, figure: str) -> int:
    """Return the bass note of a figure: ``1 3 5 8`` are chord tones, ``6`` and ``7`` the sixth and flat seventh."""
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
    """Compose a melody: a random walk along the scale, with chord tones on strong beats.

    Parameters
    ----------
    onsets : sequence over bars of (step, strong)
        Onsets of each bar.
    chords : sequence over bars of chord tones [semitones above the key]
    scale : str
        A key of `SCALES`.
    key : int [semitones above C]
    centre : int
        Centre of the register [MIDI number].
    span : int > 0 [semitones]
        Largest distance from `centre`.
    repetition : float in [0, 1]
        Probability that a bar repeats the contour of the second last bar.

    Returns
    -------
    list over bars of list of int
        MIDI number of each onset.
    """
    ladder = [p for p in range(centre - span, centre + span + 1) if (p - key) % 12 in SCALES[scale]]
    position = len(ladder) // 2
    moves_of: list[np.ndarray] = []
    bars = []
    for bar, (bar_onsets, tones) in enumerate(zip(onsets, chords, strict=True)):
        moves = rng.choice(_MOVES, size=len(bar_onsets), p=_MOVE_WEIGHTS)
        if bar >= 2 and len(moves_of[bar - 2]) == len(bar_onsets) and rng.random() < repetition:
            moves = moves_of[bar - 2]
        moves_of.append(moves)
        classes = {(key + tone) % 12 for tone in tones}
        notes = []
        for (_, strong), move in zip(bar_onsets, moves, strict=True):
            position += int(move)
            if not 0 <= position < len(ladder):  # reflect at the limits of the register
                position = min(max(position - 2 * int(move), 0), len(ladder) - 1)
            pitch = ladder[position]
            if strong and pitch % 12 not in classes:
                near = [p for p in range(pitch - 3, pitch + 4) if p % 12 in classes]
                pitch = min(near, key=lambda p: abs(p - pitch)) if near else pitch
            notes.append(pitch)
        bars.append(notes)
    return bars
