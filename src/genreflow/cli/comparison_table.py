"""A comparison of two models as lines of text."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from genreflow.errors import counted
from genreflow.file_names import one_line

if TYPE_CHECKING:
    from genreflow.registry.comparison import ComparedTrack, Comparison

# Tracks that are listed of each kind; `--json` has all.
MAX_TRACKS = 20


def comparison_lines(comparison: "Comparison") -> Iterator[str]:
    """Yield the lines of a comparison: all tracks, each genre, and the tracks that changed."""
    first, second = comparison.first, comparison.second
    artists = f" by {counted(comparison.groups, 'artist')}" if comparison.groups_known else ""
    unused = f"; {comparison.excluded} others are known to one of them" if comparison.excluded else ""
    yield f"{counted(comparison.tracks, 'held-out track')}{artists} that both do not know{unused}"
    for accuracy in (first, second):
        yield f"{accuracy.name}: {accuracy}"
    yield (
        f"difference: {comparison.difference:+.1%} (95 %: {comparison.difference_low:+.1%} to "
        f"{comparison.difference_high:+.1%}); probability that {second.name} is better: "
        f"{comparison.probability_second_better:.3f}"
    )
    yield ""
    head = ("genre", "tracks", first.name, second.name, "difference (95 %)")
    yield from _table(
        [
            head,
            *(
                (
                    one_line(row.genre),
                    str(row.tracks),
                    f"{row.first.value:.1%}",
                    f"{row.second.value:.1%}",
                    f"{row.difference:+.1%} ({row.difference_low:+.1%} to {row.difference_high:+.1%})",
                )
                for row in comparison.genres
            ),
        ]
    )
    yield from _changed(f"only {second.name} is correct", comparison.gained)
    yield from _changed(f"only {first.name} is correct", comparison.lost)
    yield from _changed("both are wrong in different ways", comparison.other)


def _changed(title: str, tracks: Sequence["ComparedTrack"]) -> Iterator[str]:
    yield ""
    yield f"{title}: {counted(len(tracks), 'track')}"
    for row in tracks[:MAX_TRACKS]:
        names = f"{one_line(row.first)} -> {one_line(row.second)}"
        yield f"  {one_line(row.track)}: {one_line(row.genre)}, predicted {names}"
    if len(tracks) > MAX_TRACKS:
        yield f"  and {len(tracks) - MAX_TRACKS} more (--json)"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
