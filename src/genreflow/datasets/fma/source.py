"""The FMA as a source: where it lies, which tracks are taken, and of which genre they are."""

import re
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from genreflow.audio.readers import AUDIO_SUFFIXES
from genreflow.datasets.choice import choose
from genreflow.datasets.fma import archives
from genreflow.datasets.fma.archives import SUBSETS
from genreflow.datasets.fma.tables import Genres, Row, read_genres, read_tracks
from genreflow.datasets.folder import measure
from genreflow.datasets.labels import artist_key
from genreflow.datasets.request import Request
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part, Track, singleton_group

LAYOUT = "fma_metadata/ (tracks.csv, genres.csv) beside fma_small/, fma_medium/, fma_large/ or fma_full/"
_PARTS: dict[str, Part] = {"training": "train", "validation": "valid", "test": "test"}
_NONE, _SEVERAL = object(), object()  # in place of a genre


def fma(path: Path, destination: Path, request: Request) -> Manifest:
    """Bring clips of the FMA, with their artists and the published split.

    The genre of a track is its `genre_top`; tracks that have none (of several top genres) are left out. Where genres
    are asked for by name (`data.genres`, or the genre map of a part of a combination) they may be any of genres.csv,
    and a track's own genres decide, with all that stand above them: of two matches, one above the other, the lower
    counts (a track of Metal is no track of Rock); a track that matches two of our genres after that is left out.

    Parameters
    ----------
    path : Path
        `LAYOUT`, or one of these folders of clips with fma_metadata in it, beside it or one further up. If there is
        nothing yet, the archives are downloaded: of ``small``, unless another subset is asked for.
    destination : Path
        Empty folder of raw data.
    request : Request
        `subset` is one of `SUBSETS`, or None for the largest that is there.

    Raises
    ------
    ParameterError
        The dataset is not as it should be, or cannot be downloaded; or the genres asked for are not in it.
    """
    path = Path(path)
    notes = []
    if request.table is not None:
        notes.append("data.tracks was not read: the tables of the FMA say genre, artist and split of its tracks.")
    if _nothing_yet(path, request.subset):
        archives.download(path, request.subset or "small", progress=request.progress)
    metadata, clips, subset = _locate(path, request.subset)
    tracks, more = find(metadata, clips, subset, request)
    chosen = choose(tracks, request, where=str(path))
    measured = measure(chosen, clips, destination, request)
    return Manifest.from_tracks("fma", measured, notes=[*notes, *more])


def find(metadata: Path, clips: Path, subset: str | None, request: Request) -> tuple[list[Track], list[str]]:
    """Return the tracks of `subset` whose clips are there, not yet decoded, and notes.

    Parameters
    ----------
    metadata : Path
        Folder of tracks.csv, which is read row by row, and genres.csv.
    clips : Path
        Folder of clips, ``000/000002.mp3``.
    subset : str or None
        One of `SUBSETS`; None takes the clips that are there.
    request : Request

    Raises
    ------
    ParameterError
        A table cannot be understood, a genre asked for is in none, or no clip is there.
    """
    genre_of = _labeller(read_genres(metadata / "genres.csv"), request, metadata)
    files = _files(clips)
    wanted = SUBSETS[: SUBSETS.index(subset) + 1] if subset else SUBSETS
    tracks, groups, left_out = [], {}, Counter()
    for row in read_tracks(metadata / "tracks.csv"):
        if row.subset not in wanted:
            continue
        name = files.get(row.id)
        if name is None:
            left_out["missing"] += 1
            continue
        genre = genre_of(row)
        if genre in (_NONE, _SEVERAL):
            left_out[genre] += 1
            continue
        track_id = name.rpartition(".")[0]
        artist = row.artist_id or row.artist
        if artist not in groups:  # one name an artist, whatever other spellings follow
            groups[artist] = artist_key(row.artist) or (row.artist_id and f"fma artist {row.artist_id}")
        group = groups[artist]
        tracks.append(
            Track(
                id=track_id,
                genre=genre,
                path=name,
                group=group or singleton_group(track_id),
                group_source="published" if group else "track",
                split=_PARTS.get(row.split),
            )
        )
    if not tracks and not left_out[_NONE] and not left_out[_SEVERAL]:
        raise ParameterError(f"{clips} holds no clip that {metadata / 'tracks.csv'} knows; expected is {LAYOUT}.")
    notes = []
    if subset and left_out["missing"]:
        notes.append(f"{left_out['missing']} tracks of fma_{subset} have no clip in {clips.name}.")
    if left_out[_NONE]:
        why = "are of none of the genres asked for" if request.genre_map or request.genres else "have no genre"
        notes.append(f"{left_out[_NONE]} tracks were left out, since they {why}.")
    if left_out[_SEVERAL]:
        notes.append(f"{left_out[_SEVERAL]} tracks were left out, since they are of several genres.")
    return tracks, notes


def _labeller(genres: Genres, request: Request, metadata: Path) -> Callable[[Row], str | object]:
    """Return the function that gives the genre of a row, `_NONE` or `_SEVERAL`.

    Of genres asked for by name, it is the one that matched; which of ours that is, is for `choose` to say.
    """
    names = list(request.genre_map or request.genres or ())
    if not names:
        return lambda row: row.genre_top or (_SEVERAL if row.genres else _NONE)
    unknown = [name for name in names if name not in genres.titles.values()]
    if unknown and (request.genre_map or not request.partial):
        close = get_close_matches(unknown[0], genres.titles.values(), n=3, cutoff=0.4)
        tops = [title for genre, title in sorted(genres.titles.items()) if not genres.parents[genre]]
        hint = f"near it are {', '.join(close)}; " if close else ""
        raise ParameterError(
            f"The FMA has no genre {unknown[0]}; {hint}its top genres are {', '.join(tops)}, the others are in "
            f"{metadata / 'genres.csv'}."
        )
    wanted = {genre: title for genre, title in genres.titles.items() if title in names}
    upwards = {genre: genres.upwards(genre) for genre in genres.titles}

    def genre_of(row: Row) -> str | object:
        matches = {above for own in row.genres for above in upwards.get(own, ()) if above in wanted}
        lowest = matches - {above for match in matches for above in upwards[match][1:]}
        titles = sorted({wanted[match] for match in lowest})
        if len({request.genre_map.get(title, title) for title in titles}) > 1:
            return _SEVERAL
        return titles[0] if titles else _NONE

    return genre_of


def _nothing_yet(path: Path, subset: str | None) -> bool:
    """Tell whether `path` holds nothing but what `download` leaves there when it is interrupted."""
    if not path.exists():
        return True
    if not path.is_dir():
        return False
    clips = f"fma_{subset or 'small'}"
    ours = {"fma_metadata", *(f"{name}.zip{end}" for name in ("fma_metadata", clips) for end in ("", ".part"))}
    return all(file.name in ours or file.name.startswith(".") for file in path.iterdir())


def _locate(path: Path, subset: str | None) -> tuple[Path, Path, str | None]:
    """Return the folder of tables, that of clips, and the subset of which tracks are expected there."""
    if not path.is_dir():
        raise ParameterError(f"data.path names {path}, which is not a folder; expected is {LAYOUT}.")
    # The 30 s clips of a larger subset do for a smaller one; the full tracks only if there is nothing else.
    candidates = SUBSETS[SUBSETS.index(subset) :] if subset else ("large", "medium", "small", "full")
    clips, found = path, next((name for name in SUBSETS if path.name == f"fma_{name}"), None)
    if not any(re.fullmatch(r"\d{3}", file.name) for file in path.iterdir()):
        found = next((name for name in candidates if (path / f"fma_{name}").is_dir()), None)
        if found is None:
            raise ParameterError(_wanting(f"fma_{subset or 'small'}", path))
        clips = path / f"fma_{found}"
    elif subset and found and found not in candidates:
        raise ParameterError(f"data.subset is {subset}, but {path} holds the smaller subset {found}; give that.")
    metadata = next(
        (place / "fma_metadata" for place in (path, *path.absolute().parents[:2]) if (place / "fma_metadata").is_dir()),
        None,
    )
    if metadata is None:
        raise ParameterError(_wanting("fma_metadata", path if clips != path else path.absolute().parent))
    return metadata, clips, subset or found


def _wanting(name: str, folder: Path) -> str:
    archive = archives.ARCHIVES[name]
    return (
        f"{folder} holds no {name}; expected is {LAYOUT}. Fetch {archives.BASE_URL}/{name}.zip ({archive.gib:.1f} GiB, "
        f"{archive.checksum}) and unpack it in {folder}, or give an empty folder to have all downloaded."
    )


def _files(clips: Path) -> dict[int, str]:
    """Return the clips below `clips`, by track; 156 folders are listed, which is faster than asking for each clip."""
    return {
        int(file.stem): f"{folder.name}/{file.name}"
        for folder in clips.iterdir()
        if re.fullmatch(r"\d{3}", folder.name) and folder.is_dir()
        for file in folder.iterdir()
        if re.fullmatch(r"\d{6}", file.stem) and file.suffix.lower() in AUDIO_SUFFIXES
    }
