"""What has been published about the 1,000 excerpts of GTZAN: their artists, a split, their faults."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from genreflow.manifest.track import Part

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
    """A fault of GTZAN that others have found.

    Parameters
    ----------
    kind : {"exact", "recording", "version", "distortion"}
        The same excerpt again; further excerpts or copies of one recording; the same artist and title in the index,
        which may be another part, another version or a repetition; damaged sound.
    tracks : tuple of str
        Ids, sorted; those that repeat each other, or the one that is damaged.
    note : str
        What more is known; may be empty.
    source : str
        Where it was published.
    """

    kind: FaultKind
    tracks: tuple[str, ...]
    note: str
    source: str


@cache
def published_faults() -> tuple[PublishedFault, ...]:
    """Return those published faults of GTZAN that could be confirmed.

    They go back to the tables of Sturm's papers, which were not at hand when this was written. What stands here was
    therefore confirmed from outside:

    - 14 of the 49 sets in ``exact`` hold files that are identical byte by byte, as hashes of all files of one copy show
      (github.com/NazmulPranto76/CSE715_Project, ``results/gtzan_duplicate_audit.json``); their notes say so. All
      share artist and title in Sturm's index, except country 52 and 60, which share the artist.
    - Of every set in ``exact`` and ``recording``, the fault-filtered lists of Kereliuk, Sturm and Larsen (2015) keep
      one track at most. These sets and the one distortion account for all 70 tracks that the lists leave out. That a
      set is ``exact`` rather than ``recording`` is unconfirmed where its files are not identical.
    - ``version`` is what else shares artist and title in the index, where the artist is known.
    - The ``distortion`` is the one track that the lists leave out and that repeats no other. Sturm (2012) says how
      much of one excerpt is useless, without its number; GTZAN-Rhythm annotates all tracks but this.

    It is not complete. Sturm (2012) counts 50 exact replicas, where the sets here make 53; 22 excerpts from the same
    recording; 13 versions; and 43 conspicuous and 63 contentious mislabellings, of which only the recording that is
    both metal and rock is here, since no source of their numbers could be checked. He also finds distortion in further
    excerpts; the audit measures clipping itself.
    """
    faults = []
    for kind, line in _lines("faults.txt"):
        where, _, note = (text.strip() for text in line.partition("|"))
        faults.append(PublishedFault(kind=kind, tracks=tuple(_ids(where)), note=note, source=_SOURCES[kind]))
    return tuple(faults)


@cache
def published_artists() -> dict[str, str]:
    """Return the artist of each track of which Sturm's index names one: 919 of 1,000, by id.

    Composers for classical. Where several artists are named together, their joint name is that of one more artist.
    """
    artists = {}
    for genre, line in _lines("artists.txt"):
        name, _, numbers = line.rpartition(": ")
        artists |= dict.fromkeys(_ids(f"{genre} {numbers}"), name)
    return artists


@cache
def published_split() -> dict[str, Part]:
    """Return the part of each track in the fault-filtered split of Kereliuk, Sturm and Larsen (2015): 930, by id."""
    parts = {}
    for genre, line in _lines("split.txt"):
        part, _, numbers = line.partition(": ")
        parts |= dict.fromkeys(_ids(f"{genre} {numbers}"), part)
    return parts


def _lines(name: str) -> Iterator[tuple[str, str]]:
    """Yield the section and the text of each line of a data file."""
    section = ""
    for line in resources.files(__package__).joinpath(name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            yield section, line


def _ids(text: str) -> Iterator[str]:
    """Yield the ids that ``blues 0-2, 7, rock 5`` names: a genre holds until the next is named."""
    genre = ""
    for word in text.replace(",", " ").split():
        if word in GENRES:
            genre = word
        else:
            first, _, last = word.partition("-")
            yield from (f"{genre}.{number:05d}" for number in range(int(first), int(last or first) + 1))
