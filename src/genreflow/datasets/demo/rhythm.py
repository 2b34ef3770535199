"""Bars as strings, one character a sixteenth: ``.`` rests, anything else begins a note."""

from collections.abc import Iterator

STEPS_PER_BEAT = 4
# Loudness of a character; figures of the bass and chord tones (digits) are plain notes.
_VELOCITY = {"X": 1.0, "x": 0.75, "o": 0.45, "C": 0.95, "c": 0.6}


def fit(pattern: str, steps: int) -> str:
    """Repeat or cut a pattern to a bar of `steps`, so that a pattern of one meter can be borrowed in another."""
    return (pattern * -(-steps // len(pattern)))[:steps]


def hits(pattern: str) -> Iterator[tuple[int, str, float, int]]:
    """Each note of a bar as (step, character, velocity in (0, 1], steps until the next note or the end)."""
    places = [step for step, character in enumerate(pattern) if character != "."]
    for place, following in zip(places, [*places[1:], len(pattern)], strict=True):
        yield place, pattern[place], _VELOCITY.get(pattern[place], 0.8), following - place


def step_time(step: float, swing: float) -> float:
    """Time of a step in beats; `swing` is the share of a beat before its second eighth (0.67: triplets)."""
    beat, phase = divmod(step / STEPS_PER_BEAT, 1.0)
    return beat + (phase * 2 * swing if phase < 0.5 else swing + (phase - 0.5) * 2 * (1 - swing))
