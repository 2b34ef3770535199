"""The FMA as a source."""

import re
from collections import Counter
from pathlib import Path

from genreflow.audio.formats import AUDIO_SUFFIXES
from genreflow.datasets.fma import archives
from genreflow.datasets.fma.archives import SUBSETS
from genreflow.datasets.fma.labelling import Unlabelled, make_labeller
from genreflow.datasets.fma.tables import Row, read_genres, read_tracks
from genreflow.datasets.folder import import_tracks
from genreflow.datasets.labels import artist_key
from genreflow.datasets.options import IngestOptions
from genreflow.datasets.selection import select_tracks
from genreflow.errors import ParameterError, counted
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part, Track, singleton_group

LAYOUT = "fma_metadata/ (tracks.csv, genres.csv) and fma_small/, fma_medium/, fma_large/ or fma_full/"
_PARTS: dict[str, Part] = {"training": "train", "validation": "valid", "test": "test"}


def fma(path: Path, destination: Path, options: IngestOptions) -> Manifest:
    """Ingest clips of the FMA, with their artists and the published split.

    Tracks with no genre, or several, are left out; see `genreflow.datasets.fma.labelling.make_labeller`.

    Parameters
    ----------
    path : Path
        A folder with `LAYOUT`, or one of the folders of clips, with fma_metadata inside, beside it or one level above.
        If it does not exist or is empty, the archives are downloaded; the default subset is ``small``.
    destination : Path
        Empty folder for the raw data.
    options : IngestOptions
        `options.subset` is one of `SUBSETS`, or None for the largest that exists.

    Raises
    ------
    ParameterError
        The dataset is incomplete or invalid, cannot be downloaded, or does not have the selected genres.
    """
    path = Path(path)
    notes = []
    if options.table is not None:
        notes.append("data.tracks was ignored: the FMA's own tables have genre, artist and split of its tracks.")
    if _is_empty(path, options.subset):
        archives.download(path, options.subset or "small", progress=options.progress)
    metadata, clips, subset = locate(path, options.subset)
    tracks, track_notes = find_tracks(metadata, clips, subset, options)
    tracks = select_tracks(tracks, options, where=str(path))
    measured = import_tracks(tracks, clips, destination, options)
    return Manifest.from_tracks("fma", measured, notes=[*notes, *track_notes])


def find_tracks(
    metadata: Path, clips: Path, subset: str | None, options: IngestOptions
) -> tuple[list[Track], list[str]]:
    """Return the labelled tracks of a subset that have a clip, not yet decoded, and messages for users.

    Parameters
    ----------
    metadata : Path
        Folder of tracks.csv and genres.csv.
    clips : Path
        Folder of clips, ``000/000002.mp3``.
    subset : str or None
        One of `SUBSETS`; None means all clips that exist.
    options : IngestOptions

    Raises
    ------
    ParameterError
        A table is invalid, a selected genre does not exist, or there is no clip.
    """
    genre_of = make_labeller(read_genres(metadata / "genres.csv"), options, genres_file=metadata / "genres.csv")
    files, notes = _clip_files(clips)
    subsets = SUBSETS[: SUBSETS.index(subset) + 1] if subset else SUBSETS
    tracks = []
    groups: dict[str, str | None] = {}
    unlabelled: Counter[Unlabelled] = Counter()
    without_clip = 0
    for row in read_tracks(metadata / "tracks.csv"):
        if row.subset not in subsets:
            continue
        if row.id not in files:
            without_clip += 1
            continue
        genre = genre_of(row)
        if isinstance(genre, Unlabelled):
            unlabelled[genre] += 1
            continue
        # One group per artist, named after the first spelling.
        group = groups.setdefault(row.artist_id or row.artist, _group(row))
        tracks.append(_track(row, files[row.id], genre, group))
    if not tracks and not unlabelled:
        raise ParameterError(
            f"data.path: must hold {LAYOUT}; got {clips}, which has no clip of the tracks in tracks.csv."
        )
    if subset and without_clip:
        tracks_have = counted(without_clip, f"track of fma_{subset} has", f"tracks of fma_{subset} have")
        notes.append(f"{tracks_have} no clip in {clips.name}.")
    for reason in Unlabelled:
        if number := unlabelled[reason]:
            notes.append(
                counted(number, f"track with {reason.value} was", f"tracks with {reason.value} were") + " left out."
            )
    return tracks, notes


def _group(row: Row) -> str | None:
    """Return the group of an artist; the id distinguishes artists whose name is a placeholder."""
    return artist_key(row.artist) or (f"fma artist {row.artist_id}" if row.artist_id else None)


def _track(row: Row, name: str, genre: str, group: str | None) -> Track:
    track_id = name.rpartition(".")[0]
    return Track(
        id=track_id,
        genre=genre,
        path=name,
        group=group or singleton_group(track_id),
        group_source="published" if group else "track",
        split=_PARTS.get(row.split),
    )


def _is_empty(path: Path, subset: str | None) -> bool:
    """Return whether `path` holds nothing, apart from what an interrupted download leaves."""
    if not path.exists():
        return True
    if not path.is_dir():
        return False
    clips = f"fma_{subset or 'small'}"
    ours = {"fma_metadata", *(f"{name}.zip{end}" for name in ("fma_metadata", clips) for end in ("", ".part"))}
    return all(file.name in ours or file.name.startswith(".") for file in path.iterdir())


def is_fma(path: Path) -> bool:
    """Return whether a folder holds the tables of the FMA or the clips of a subset, or is a folder of such clips."""
    clips = [f"fma_{subset}" for subset in SUBSETS]
    return path.name in clips or any((path / name).is_dir() for name in ("fma_metadata", *clips))


def locate(path: Path, subset: str | None) -> tuple[Path, Path, str | None]:
    """Return the folders of tables and clips, and the subset that the clips belong to.

    Raises
    ------
    ParameterError
        One of the folders does not exist.
    """
    if not path.is_dir():
        raise ParameterError(f"data.path: must be a folder with {LAYOUT}; got {path}.")
    # Clips of a larger subset include those of a smaller one; full tracks are used only if there are no clips.
    candidates = SUBSETS[SUBSETS.index(subset) :] if subset else ("large", "medium", "small", "full")
    if any(re.fullmatch(r"\d{3}", file.name) for file in path.iterdir()):
        clips, found = path, next((name for name in SUBSETS if path.name == f"fma_{name}"), None)
        if subset and found and found not in candidates:
            raise ParameterError(f"data.subset: must be at most {found}, the clips of {path}; got {subset}.")
    else:
        found = next((name for name in candidates if (path / f"fma_{name}").is_dir()), None)
        if found is None:
            raise ParameterError(_missing_archive(f"fma_{subset or 'small'}", path))
        clips = path / f"fma_{found}"
    parents = (path, *path.absolute().parents[:2])
    metadata = next((parent / "fma_metadata" for parent in parents if (parent / "fma_metadata").is_dir()), None)
    if metadata is None:
        raise ParameterError(_missing_archive("fma_metadata", path if clips != path else path.absolute().parent))
    return metadata, clips, subset or found


def _missing_archive(name: str, folder: Path) -> str:
    archive = archives.ARCHIVES[name]
    return (
        f"data.path: must hold {LAYOUT}; got {folder}, which has no {name}. Unpack {archives.BASE_URL}/{name}.zip "
        f"({archive.gib:.1f} GiB, {archive.checksum}) there, or give an empty folder to download everything."
    )


def _clip_files(clips: Path) -> tuple[dict[int, str], list[str]]:
    """Return the clips by track, and messages; listing 156 folders is faster than testing every clip."""
    found = sorted(
        f"{folder.name}/{file.name}"
        for folder in clips.iterdir()
        if re.fullmatch(r"[0-9]{3}", folder.name) and folder.is_dir()
        for file in folder.iterdir()
        if re.fullmatch(r"[0-9]{6}", file.stem) and file.suffix.lower() in AUDIO_SUFFIXES
    )
    files: dict[int, str] = {}
    for name in found:
        files.setdefault(int(Path(name).stem), name)
    others = sorted(set(found) - set(files.values()))
    if not others:
        return files, []
    number = counted(len(others), "file was", "files were")
    return files, [f"{number} ignored, of tracks that have another clip, for example {others[0]}."]
