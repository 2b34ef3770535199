"""The comparison of two models as one HTML page that makes no network requests."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from genreflow.files import write_text
from genreflow.manifest.manifest import Manifest
from genreflow.registry.comparison import ComparedGenre, ComparedTrack, Comparison
from genreflow.reporting.excerpts import audio_source
from genreflow.reporting.params import ReportParams
from genreflow.reporting.spectrogram import Spectrograms, Strip, draw_spectrograms
from genreflow.reporting.svg import RIGHT, WIDTH, svg, text

_NAMES, _ROW, _TOP = 110, 24, 26


@dataclass(frozen=True)
class ChangedTrack:
    """A track on the page; `picture` is SVG, `audio` the address of a file or its data."""

    track: ComparedTrack
    picture: str | None
    audio: str | None


def write_comparison_page(
    path: Path, comparison: Comparison, manifest: Manifest, params: ReportParams, spectrograms: Spectrograms, raw: Path
) -> None:
    """Write the page of a comparison; the same comparison gives the same bytes.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    comparison : Comparison
    manifest : Manifest
        Of the compared tracks.
    params : ReportParams
        Of each kind of changed tracks, as many have a player as mistakes have in the evaluation report.
    spectrograms : Spectrograms
        Of the tracks, by their hash.
    raw : Path
        Folder of the audio files.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["points"] = lambda share: f"{100 * share:+.1f}"
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))

    def shown(tracks: tuple[ComparedTrack, ...]) -> list[ChangedTrack]:
        return [_changed(track, manifest, params, spectrograms, raw, path) for track in tracks[: params.mistakes]]

    first, second = comparison.first.name, comparison.second.name
    changed = {
        f"Only {second} is correct": (len(comparison.gained), shown(comparison.gained)),
        f"Only {first} is correct": (len(comparison.lost), shown(comparison.lost)),
        "Both are wrong, in different ways": (len(comparison.other), shown(comparison.other)),
    }
    write_text(path, template.render(comparison=comparison, differences=draw_differences(comparison), changed=changed))


def _changed(
    row: ComparedTrack, manifest: Manifest, params: ReportParams, spectrograms: Spectrograms, raw: Path, page: Path
) -> ChangedTrack:
    track = manifest.by_id[row.track]
    drawable = track.hash is not None and track.hash in spectrograms
    picture = draw_spectrograms([Strip(track.hash or "", track.id)], spectrograms) if drawable else None
    return ChangedTrack(row, picture, audio_source(track, raw, page, seconds=params.excerpt_seconds))


def draw_differences(comparison: Comparison) -> str:
    """Draw how much more accurate the second model is, on all tracks and by genre, with 95 % intervals."""
    rows: list[tuple[str, Comparison | ComparedGenre]] = [("all tracks", comparison)]
    rows += [(genre.genre, genre) for genre in comparison.genres]
    bottom = _TOP + _ROW * len(rows)

    def x(difference: float) -> float:
        return _NAMES + (WIDTH - RIGHT - _NAMES - 14) * (difference + 1) / 2

    elements = [f'<path class="ideal" d="M{x(0):.1f} {_TOP - 4}V{bottom}"/>']
    for points in (-100, -50, 0, 50, 100):
        elements.append(text(x(points / 100), _TOP - 10, f"{points:+d}" if points else "0", "middle"))
    for number, (name, row) in enumerate(rows):
        y = _TOP + _ROW * number + _ROW / 2
        low, high = x(row.difference_low), x(row.difference_high)
        label = name if len(name) <= 18 else f"{name[:17]}…"
        elements.append(text(_NAMES - 6, y + 3.5, label, "end"))
        elements.append(
            f'<path class="interval" d="M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 4}v8M{high:.1f} {y - 4}v8"/>'
        )
        elements.append(
            f'<circle class="series0" cx="{x(row.difference):.1f}" cy="{y}" r="4"><title>{100 * row.difference:+.1f} '
            "percentage points</title></circle>"
        )
    return svg(elements, bottom + 8)
