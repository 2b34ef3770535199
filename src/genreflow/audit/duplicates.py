"""Near-duplicates: the same recording at another level, offset, codec or slightly other speed."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genreflow.audit.alignment import align
from genreflow.audit.candidates import find_candidates
from genreflow.audit.fingerprint import Fingerprint, band_differences, fingerprint
from genreflow.audit.search_cache import Aligned, SearchCache
from genreflow.audit.votes import Candidate
from genreflow.features.store import FeatureStore
from genreflow.files import remove_leftovers, temporary_path
from genreflow.manifest.track import Track

# Minimum similarity of near-duplicates. Copies of 60 real tracks (1 % faster, 0.7 s off and mp3 of 64 kbit/s combined)
# reach 0.86 or more, 0.69 for spectrograms imported at 12.9 frames per second. Different real tracks reach at most
# 0.09, but two synthetic tracks by one artist, with the same drums, 0.56.
MIN_SIMILARITY = 0.6
# In clusters larger than this, pairs that are already connected through others are skipped: a thousand copies of one
# recording have half a million pairs.
_MAX_PAIRED = 8


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two tracks that are the same recording, or parts of one.

    Time t in `first` corresponds to ``offset + t / speed`` in `second`.

    Parameters
    ----------
    first, second : str
        Track ids, ``first < second``.
    similarity : float in [0, 1]
        Correlation over the overlap.
    offset : float [s]
        How much later the music begins in `second`; negative if its beginning was cut off.
    speed : float > 0
        1.01 if `second` is 1 % faster.
    """

    first: str
    second: str
    similarity: float
    offset: float
    speed: float


def find_near_duplicates(
    tracks: Sequence[Track], store: FeatureStore, *, cache: Path | None = None, progress: bool = True
) -> list[NearDuplicate]:
    """Find pairs of tracks that are the same recording without being exact duplicates.

    Parameters
    ----------
    tracks : sequence of Track
        Exact duplicates, which share a hash, are represented by the one with the first id. Tracks that are not in the
        store are skipped.
    store : FeatureStore
    cache : Path or None
        File of a `SearchCache`, so that only new tracks are fingerprinted and only new candidates aligned.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    list of NearDuplicate
        Sorted by ids. If a recording has many copies, enough pairs to connect all of them. Tracks must overlap by
        `alignment.MIN_OVERLAP` or more, and are compared over their whole overlap: a song within a long mix is found, a
        short sample within a song is not.
    """
    id_of: dict[str, str] = {}
    for track in sorted(tracks, key=lambda track: track.id):
        if track.hash is not None and track.hash in store:
            id_of.setdefault(track.hash, track.id)
    keys = list(id_of)

    @lru_cache(maxsize=8)  # the candidates of a track are consecutive; a track of three hours takes 58 MB
    def differences_of(position: int) -> tuple[np.ndarray, float]:
        return band_differences(_frames(store, keys[position]), store.spec.frame_rate)

    found = []
    cluster_of: dict[int, set[int]] = {}
    alignments: dict[tuple[str, str], Aligned] = {}
    with _search_files(cache) as (file, directory):
        known = SearchCache(file, store.spec)
        _add_fingerprints(keys, store, known, progress)
        for first, second, time, shift in _candidates(keys, known, directory):
            if second in cluster_of.get(first, ()) and len(cluster_of[first]) > _MAX_PAIRED:
                continue
            former = known.alignments.get((keys[first], keys[second]))
            if former is not None and (former.time, former.shift) == (time, shift):
                aligned = former
            else:
                (differences, rate), (other, _) = differences_of(first), differences_of(second)
                aligned = Aligned(time, shift, align(differences, other, rate, time=time, shift=shift))
            alignments[keys[first], keys[second]] = aligned
            alignment = aligned.result
            if alignment and alignment.similarity >= MIN_SIMILARITY:
                found.append(NearDuplicate(first=id_of[keys[first]], second=id_of[keys[second]], **alignment._asdict()))
                merged = cluster_of.get(first, {first}) | cluster_of.get(second, {second})
                cluster_of |= dict.fromkeys(merged, merged)
        if cache is not None and keys:
            known.update(alignments)
    return sorted(found, key=lambda pair: (pair.first, pair.second))


@contextmanager
def _search_files(cache: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield the file of the cache and an empty folder; both are temporary without a cache, else beside it."""
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="genreflow-search-") as temporary:
            (directory := Path(temporary, "search")).mkdir()
            yield Path(temporary, "cache"), directory
    else:
        remove_leftovers(cache.parent, cache.name)
        with temporary_path(cache) as directory:
            directory.mkdir()
            yield cache, directory


def _candidates(keys: list[str], known: SearchCache, directory: Path) -> Iterator[Candidate]:
    position = {key: number for number, key in enumerate(keys)}
    fingerprints = ((position[key], one) for key, one in known.each())
    return find_candidates(fingerprints, directory, n_hashes=sum(known.lengths.values()))


def _frames(store: FeatureStore, key: str) -> np.ndarray:
    ((_, pieces),) = store.each([key])  # it stays mapped no longer than needed
    return _joined(pieces)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _add_fingerprints(keys: list[str], store: FeatureStore, cache: SearchCache, progress: bool) -> None:
    """Have the cache hold the fingerprints of `keys`: those that it lacks are computed, others removed."""
    wanted = set(keys)
    if wanted == cache.lengths.keys():
        return
    new = [key for key in keys if key not in cache.lengths]
    with tqdm(total=len(new), desc="fingerprints", unit="track", disable=not progress) as bar:

        def made() -> Iterator[tuple[str, Fingerprint]]:
            for key, pieces in store.each(new):
                yield key, fingerprint(_joined(pieces), store.spec.frame_rate)
                bar.update()

        kept = ((key, one) for key, one in cache.each() if key in wanted)
        cache.write(chain(kept, made()), cache.alignments)
