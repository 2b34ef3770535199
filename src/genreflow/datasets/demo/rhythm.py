"""Patterns: bars as strings with one character per sixteenth; ``.`` is a rest, others begin a note."""

from collections.abc import Iterator

STEPS_PER_BEAT = 4
# Velocity by character; digits, as in bass and chord patterns, have the default.
_VELOCITY = {"X": 1.0, "x": 0.75, "o": 0.45, "C": 0.95, "c": 0.6}
_DEFAULT_VELOCITY = 0.8


def fit(pattern: str, steps: int) -> str:
    """Repeat or truncate a pattern to `steps`, so that it can be used in another meter."""
    return (pattern * -(-steps // len(pattern)))[:steps]


def hits(pattern: str) -> Iterator[tuple[int, str, float, int]]:
    """Yield (step, character, velocity in (0, 1], steps until the next note or the end) of each note of a bar."""
    steps = [step for step, character in enumerate(pattern) if character != "."]
    for step, following in zip(steps, [*steps[1:], len(pattern)], strict=True):
        yield step, pattern[step], _VELOCITY.get(pattern[step], _DEFAULT_VELOCITY), following - step


def step_time(step: float, swing: float) -> float:
    """Return the time of a step [beats]; `swing` is the share of a beat before its second eighth (0.67: triplets)."""
    beat, phase = divmod(step / STEPS_PER_BEAT, 1.0)
    return beat + (phase * 2 * swing if phase < 0.5 else swing + (phase - 0.5) * 2 * (1 - swing))
