"""An audit as a page for people: one HTML file that asks no other host for anything."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from genreflow.audit.faults import Audit, Fault
from genreflow.audit.kinds import KINDS, Kind
from genreflow.audit.recordings import near_duplicate_message
from genreflow.features.store import FeatureStore
from genreflow.files import write_text
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.reporting.audit import pictures
from genreflow.reporting.audit.pictures import Strip

# Pictures of a kind of fault; the rest is a list. A kind's pictures are up to 0.4 MB.
MOST_PICTURES = 24


@dataclass(frozen=True)
class Item:
    """One fault on the page.

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
    items : list of Item
        As many as there are sentences: tracks of one recording may share one.
    """

    code: str
    kind: Kind
    count: int
    items: list[Item]


def write_page(path: Path, audit: Audit, manifest: Manifest, store: FeatureStore) -> None:
    """Write the page of an audit; the same audit gives the same bytes.

    Parameters
    ----------
    path : Path
    audit : Audit
        Of `manifest`.
    manifest : Manifest
    store : FeatureStore
        Where the pictures are drawn from.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    rates = Counter(track.sample_rate for track in manifest.tracks if track.sample_rate)
    write_text(
        Path(path),
        template.render(
            audit=audit,
            manifest=manifest,
            hours=_hours(manifest, store),
            kinds=KINDS,
            counts={code: audit.counts[code] for code in KINDS if code in audit.counts},
            rates=sorted(rates.items()),
            plots=list(_plots(manifest, store)),
            sections=list(_sections(audit, manifest, store)),
        ),
    )


def _seconds(track: Track, store: FeatureStore) -> float | None:
    """Return how long a track is; of spectrograms, by the feature spec."""
    if track.duration is None and track.hash in store:
        return store.spec.seconds(sum(store.lengths(track.hash)))
    return track.duration


def _hours(manifest: Manifest, store: FeatureStore) -> float:
    return sum(_seconds(track, store) or 0 for track in manifest.tracks) / 3600


def _plots(manifest: Manifest, store: FeatureStore) -> Iterator[tuple[str, str]]:
    seconds = [of for track in manifest.tracks if (of := _seconds(track, store)) is not None]
    if seconds:
        yield "Length", pictures.histogram({"length": seconds}, unit="length [s]")
    heard = [track for track in manifest.tracks if track.peak and track.rms]
    if heard:
        levels = {"peak": [_decibels(of.peak) for of in heard], "RMS": [_decibels(of.rms) for of in heard]}
        yield "Level", pictures.histogram(levels, unit="level [dB of full scale]")


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude)


def _sections(audit: Audit, manifest: Manifest, store: FeatureStore) -> Iterator[Section]:
    by_code = defaultdict(list)
    for fault in audit.faults:
        by_code[fault.code].append(fault)
    for code, kind in KINDS.items():
        if code in by_code:
            faults = by_code[code]
            subjects = _SUBJECTS.get(code, _single)(faults, audit, manifest.by_id)
            items = [
                Item(message, _picture(strips, store) if number < MOST_PICTURES else None)
                for number, (message, strips) in enumerate(subjects)
            ]
            yield Section(code, kind, len(faults), items)


def _picture(strips: list[Strip], store: FeatureStore) -> str | None:
    strips = [strip for strip in strips if strip.key in store]
    return pictures.spectrogram(strips, store) if strips else None


# (faults of a kind, audit, tracks by id) -> the sentences of its section, each with the spectrograms that show it


def _single(faults: list[Fault], audit: Audit, of: dict[str, Track]) -> Iterator[tuple[str, list[Strip]]]:
    for fault in faults:
        yield fault.message, [_strip(of[fault.track])]


def _pairs(faults: list[Fault], audit: Audit, of: dict[str, Track]) -> Iterator[tuple[str, list[Strip]]]:
    shown = {fault.message for fault in faults}
    for pair in audit.pairs:
        first, second = of[pair.first], of[pair.second]
        message = near_duplicate_message(pair, first, second)
        if message in shown:
            yield message, [_strip(first), _strip(second, start=-pair.offset)]


def _conflicts(faults: list[Fault], audit: Audit, of: dict[str, Track]) -> Iterator[tuple[str, list[Strip]]]:
    offsets = {(pair.first, pair.second): pair.offset for pair in audit.pairs}
    by_message = defaultdict(list)
    for fault in faults:
        by_message[fault.message].append(fault.track)
    for message, (first, *others) in by_message.items():
        second = next(name for name in others if of[name].genre != of[first].genre)
        start = -offsets.get((first, second), 0.0)
        yield message, [_strip(of[first], genre=True), _strip(of[second], start=start, genre=True)]


def _artists(faults: list[Fault], audit: Audit, of: dict[str, Track]) -> Iterator[tuple[str, list[Strip]]]:
    for fault in faults:
        yield fault.message, []


def _strip(track: Track, *, start: float = 0.0, genre: bool = False) -> Strip:
    return Strip(track.hash or "", f"{track.id} ({track.genre})" if genre else track.id, start)


_SUBJECTS = {"near_duplicate": _pairs, "conflicting_labels": _conflicts, "artist_in_genres": _artists}
