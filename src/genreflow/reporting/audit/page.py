"""An audit as one HTML page that makes no network requests."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from genreflow.audit.faults import Audit, Fault
from genreflow.audit.kinds import KINDS, Kind
from genreflow.audit.recordings import near_duplicate_message
from genreflow.files import write_text
from genreflow.label_errors.label_report import LabelError, LabelReport
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.reporting.audit.histogram import histogram
from genreflow.reporting.excerpts import audio_source
from genreflow.reporting.spectrogram import Spectrograms, Strip, draw_spectrograms

# For each kind of fault; further faults are listed without pictures. These pictures take up to 0.4 MB.
MAX_PICTURES = 24
# Label errors to listen to; an excerpt of 8 s takes 60 kB. Further ones are in the reports only.
MAX_LABEL_ERRORS = 40


@dataclass(frozen=True)
class Item:
    """One fault on the page, or several that share a message.

    Parameters
    ----------
    message : str
    picture : str or None
        SVG.
    """

    message: str
    picture: str | None = None


@dataclass(frozen=True)
class Section:
    """All faults of one kind.

    Parameters
    ----------
    code : str
    kind : Kind
    count : int > 0
        Faults; there may be fewer items.
    items : list of Item
    """

    code: str
    kind: Kind
    count: int
    items: list[Item]


@dataclass(frozen=True)
class LabelErrors:
    """Label errors on the page.

    Parameters
    ----------
    report : LabelReport
    raw : Path
        Folder of the audio files.
    excerpt_seconds : float >= 0 [s]
        Audio of each that the page holds; 0: links to the files.
    """

    report: LabelReport
    raw: Path
    excerpt_seconds: float

    def rows(self, manifest: Manifest, page: Path) -> list[tuple[LabelError, str | None]]:
        """Return the label errors that the page lists, each with the address of its audio."""
        return [
            (row, audio_source(manifest.by_id[row.track], self.raw, page, seconds=self.excerpt_seconds))
            for row in self.report.label_errors[:MAX_LABEL_ERRORS]
        ]


def write_page(
    path: Path,
    audit: Audit,
    manifest: Manifest,
    spectrograms: Spectrograms,
    label_errors: LabelErrors | None = None,
) -> None:
    """Write the page of an audit; the same audit gives the same bytes.

    Parameters
    ----------
    path : Path
        Of the HTML file.
    audit : Audit
        Of `manifest`.
    manifest : Manifest
    spectrograms : Spectrograms
        Of the tracks, by their hash; a fault of a track that is missing there has no picture.
    label_errors : LabelErrors, optional
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    rates = Counter(track.sample_rate for track in manifest.tracks if track.sample_rate)
    durations = [seconds for track in manifest.tracks if (seconds := _duration(track, spectrograms)) is not None]
    write_text(
        Path(path),
        template.render(
            audit=audit,
            manifest=manifest,
            hours=sum(durations) / 3600,
            kinds=KINDS,
            counts={code: audit.counts[code] for code in KINDS if code in audit.counts},
            rates=sorted(rates.items()),
            plots=list(_plots(manifest, durations)),
            sections=list(_sections(audit, manifest, spectrograms)),
            labels=label_errors.report if label_errors else None,
            label_errors=label_errors.rows(manifest, Path(path)) if label_errors else [],
        ),
    )


def _duration(track: Track, spectrograms: Spectrograms) -> float | None:
    """Return the duration of a track [s]; that of imported spectrograms follows from the feature spec."""
    if track.duration is None and track.hash is not None and track.hash in spectrograms:
        return spectrograms.spec.seconds(sum(len(piece) for piece in spectrograms.pieces(track.hash)))
    return track.duration


def _plots(manifest: Manifest, durations: Sequence[float]) -> Iterator[tuple[str, str]]:
    if durations:
        yield "Duration", histogram({"duration": durations}, unit="duration [s]")
    levels = [(track.peak, track.rms) for track in manifest.tracks if track.peak and track.rms]
    if levels:
        decibels = {
            "peak": [_decibels(peak) for peak, _ in levels],
            "RMS": [_decibels(rms) for _, rms in levels],
        }
        yield "Level", histogram(decibels, unit="level [dBFS]")


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude)


def _sections(audit: Audit, manifest: Manifest, spectrograms: Spectrograms) -> Iterator[Section]:
    by_code = defaultdict(list)
    for fault in audit.faults:
        by_code[fault.code].append(fault)
    for code, kind in KINDS.items():
        if code in by_code:
            illustrated = _ILLUSTRATED.get(code, _single_tracks)(by_code[code], audit, manifest.by_id)
            items = [
                Item(message, _picture(strips, spectrograms) if number < MAX_PICTURES else None)
                for number, (message, strips) in enumerate(illustrated)
            ]
            yield Section(code, kind, len(by_code[code]), items)


def _picture(strips: Sequence[Strip], spectrograms: Spectrograms) -> str | None:
    drawable = [strip for strip in strips if strip.key in spectrograms]
    return draw_spectrograms(drawable, spectrograms) if drawable else None


# From the faults of a kind, the audit, and the tracks by ID, to the messages of its section, each with the
# spectrograms that illustrate it.
Illustrated = Iterator[tuple[str, list[Strip]]]


def _single_tracks(faults: Sequence[Fault], audit: Audit, tracks: Mapping[str, Track]) -> Illustrated:
    for fault in faults:
        yield fault.message, [_strip(tracks[fault.track])]


def _near_duplicates(faults: Sequence[Fault], audit: Audit, tracks: Mapping[str, Track]) -> Illustrated:
    """Align the two tracks of each pair."""
    messages = {fault.message for fault in faults}
    for pair in audit.pairs:
        first, second = tracks[pair.first], tracks[pair.second]
        message = near_duplicate_message(pair, first, second)
        if message in messages:
            yield message, [_strip(first), _strip(second, start=-pair.offset)]


def _conflicting_labels(faults: Sequence[Fault], audit: Audit, tracks: Mapping[str, Track]) -> Illustrated:
    """Align two tracks of a recording that have different genres."""
    offsets = {(pair.first, pair.second): pair.offset for pair in audit.pairs}
    by_message = defaultdict(list)
    for fault in faults:
        by_message[fault.message].append(fault.track)
    for message, (first, *others) in by_message.items():
        second = next(other for other in others if tracks[other].genre != tracks[first].genre)
        start = -offsets.get((first, second), 0.0)
        yield message, [_strip(tracks[first], genre=True), _strip(tracks[second], start=start, genre=True)]


def _without_picture(faults: Sequence[Fault], audit: Audit, tracks: Mapping[str, Track]) -> Illustrated:
    for fault in faults:
        yield fault.message, []


def _strip(track: Track, *, start: float = 0.0, genre: bool = False) -> Strip:
    return Strip(track.hash or "", f"{track.id} ({track.genre})" if genre else track.id, start)


_ILLUSTRATED: dict[str, Callable[[Sequence[Fault], Audit, Mapping[str, Track]], Illustrated]] = {
    "near_duplicate": _near_duplicates,
    "conflicting_labels": _conflicting_labels,
    "artist_in_genres": _without_picture,
}
