"""Published facts about the 1,000 excerpts of GTZAN: artists, a split, faults."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

from genreflow.manifest.track import PARTS, Part

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
PER_GENRE = 100
TRACK_IDS = tuple(f"{genre}.{number:05d}" for genre in GENRES for number in range(PER_GENRE))

FaultKind = Literal["exact", "recording", "version", "distortion"]

_INDEX = "index of B. L. Sturm, 2012-2014, published with arXiv:1306.1461"
_SOURCES: dict[FaultKind, str] = {
    "exact": "B. L. Sturm, arXiv:1306.1461, 2013",
    "recording": "B. L. Sturm, arXiv:1306.1461, 2013",
    "version": _INDEX,
    "distortion": "B. L. Sturm, doi:10.1145/2390848.2390851, 2012",
}


@dataclass(frozen=True, kw_only=True)
class PublishedFault:
    """A published fault of GTZAN.

    Parameters
    ----------
    kind : {"exact", "recording", "version", "distortion"}
        ``exact``: the same excerpt twice; ``recording``: excerpts or copies of one recording; ``version``: the same
        artist and title in the index, which may be another excerpt, another version or a repetition; ``distortion``:
        damaged audio.
    tracks : tuple of str
        Sorted ids of the tracks that repeat each other, or of the damaged track.
    note : str
        Additional information; may be empty.
    source : str
        Publication.
    """

    kind: FaultKind
    tracks: tuple[str, ...]
    note: str
    source: str


@cache
def published_faults() -> tuple[PublishedFault, ...]:
    """Return the published faults of GTZAN that could be confirmed.

    The primary source is the tables in Sturm's papers, which were not available. The faults were confirmed by other
    sources instead:

    - 14 of the 49 sets in ``exact`` hold byte-identical files, according to the hashes of all files of one copy
      (github.com/NazmulPranto76/CSE715_Project, ``results/gtzan_duplicate_audit.json``); their notes say so. All
      share artist and title in Sturm's index, except country 52 and 60, which share the artist.
    - Of every set in ``exact`` and ``recording``, the fault-filtered lists of Kereliuk, Sturm and Larsen (2015) keep
      at most one track. These sets and the one distortion account for all 70 tracks that the lists leave out. Whether
      a set is ``exact`` or ``recording`` is unconfirmed where its files are not identical.
    - ``version`` lists the other tracks that share artist and title in the index, where the artist is known.
    - The ``distortion`` is the only track that the lists leave out and that repeats no other. Sturm (2012) describes
      the damage of one excerpt without its number; it is the only track that GTZAN-Rhythm does not annotate.

    The list is incomplete. Sturm (2012) counts 50 exact replicas (53 here), 22 excerpts from the same recording, 13
    versions, and 43 conspicuous and 63 contentious mislabellings; of the latter, only the recording that is both metal
    and rock is included, since no source with the numbers of the others was available. He also reports distortion in
    further excerpts; the audit measures clipping itself.
    """
    faults = []
    for section, line in _lines("faults.txt"):
        (kind,) = (kind for kind in get_args(FaultKind) if kind == section)
        tracks, _, note = (text.strip() for text in line.partition("|"))
        faults.append(PublishedFault(kind=kind, tracks=tuple(_ids(tracks)), note=note, source=_SOURCES[kind]))
    return tuple(faults)


@cache
def published_artists() -> dict[str, str]:
    """Return the artists according to Sturm's index, by track id: 919 of 1,000.

    For classical, the composers. Artists who are listed together are an artist of their own.
    """
    artists: dict[str, str] = {}
    for genre, line in _lines("artists.txt"):
        name, _, numbers = line.rpartition(": ")
        artists |= dict.fromkeys(_ids(f"{genre} {numbers}"), name)
    return artists


@cache
def published_split() -> dict[str, Part]:
    """Return the fault-filtered split of Kereliuk, Sturm and Larsen (2015): the parts of 930 tracks, by track id."""
    parts: dict[str, Part] = {}
    for genre, line in _lines("split.txt"):
        name, _, numbers = line.partition(": ")
        (part,) = (part for part in PARTS if part == name)
        parts |= dict.fromkeys(_ids(f"{genre} {numbers}"), part)
    return parts


def _lines(name: str) -> Iterator[tuple[str, str]]:
    """Yield section and text of each line of a data file."""
    section = ""
    for line in resources.files(__package__).joinpath(name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            yield section, line


def _ids(text: str) -> Iterator[str]:
    """Yield the ids of a list such as ``blues 0-2, 7, rock 5``; a genre applies until the next."""
    genre = ""
    for word in text.replace(",", " ").split():
        if word in GENRES:
            genre = word
        else:
            first, _, last = word.partition("-")
            yield from (f"{genre}.{number:05d}" for number in range(int(first), int(last or first) + 1))
